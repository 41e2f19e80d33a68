"""Facts about models, ours and other people's."""

from __future__ import annotations

import copy
import dataclasses
import gc
import hashlib
import os
import weakref

import pytest
import safetensors.torch
import spandrel
import torch
from backplate.model_loader import loaded
from backplate.model_loader.catalogue import CATALOGUE
from backplate.model_loader.errors import DamagedModelError, WrongModelError
from backplate.model_loader.loaded import describe_foreign, load_model
from backplate.model_loader.safe_load import build_model, read_model
from spandrel.architectures.LaMa import LaMa
from spandrel.architectures.SPAN import SPAN


def test_facts_of_a_file(compact_file):
    model = load_model(compact_file)
    facts = model.facts
    assert model.path == compact_file
    assert (facts.name, facts.architecture, facts.tags) == ("tiny", "RealESRGAN Compact", ("8nf", "2nc"))
    assert (facts.purpose, facts.scale, facts.input_channels, facts.output_channels) == ("SR", 4, 3, 3)
    assert (facts.supports_half, facts.supports_bfloat16, facts.tiling) == (True, True, "supported")
    assert (facts.minimum_size, facts.multiple_of, facts.square) == (0, 1, False)
    count = (27 + 1 + 1) * 8 + 2 * (72 + 1 + 1) * 8 + (72 + 1) * 48
    assert (facts.parameters, facts.size_bytes) == (count, 4 * count)
    assert facts.sha256 == hashlib.sha256(compact_file.read_bytes()).hexdigest()
    assert (facts.licence, facts.commercial_use) == (None, None)


def test_facts_of_a_model_with_a_size_rule(networks, tmp_path):
    path = tmp_path / "2x.pth"
    torch.save(networks.seeded(lambda: networks.RRDBNet(scale=2)).state_dict(), path)
    facts = load_model(path).facts
    assert (facts.scale, facts.minimum_size, facts.multiple_of) == (2, 4, 4)
    assert "input at least 4 pixels a side, a multiple of 4; tiling supported" in facts.text().splitlines()


def test_the_text_is_short_and_says_what_matters(compact_file):
    facts = load_model(compact_file).facts
    assert facts.text().splitlines() == [
        "tiny: RealESRGAN Compact 8nf 2nc, x4, RGB to RGB",
        "4,920 parameters, 19680 bytes, fp16 yes, bf16 yes",
        "input of any size; tiling supported",
        "licence not known: see where the model comes from",
        f"SHA-256 {facts.sha256}",
    ]
    known = dataclasses.replace(facts, licence="CC-BY-NC-SA-4.0", commercial_use=False)
    assert "licence CC-BY-NC-SA-4.0: commercial use NOT allowed" in known.text()


def test_a_published_hash_brings_its_licence(compact_file, monkeypatch):
    entry = CATALOGUE[-1]
    monkeypatch.setattr(loaded, "sha256_of", lambda path: entry.sha256)
    facts = load_model(compact_file).facts
    assert (facts.licence, facts.commercial_use) == ("CC-BY-NC-SA-4.0", False)


def test_a_file_that_changes_while_it_is_read(compact_file, monkeypatch):
    def change_and_read(path):
        os.utime(path, ns=(1, 1))
        return read_model(path)

    monkeypatch.setattr(loaded, "read_model", change_and_read)
    with pytest.raises(DamagedModelError, match="changed while it was read"):
        load_model(compact_file)


def test_loaded_twice_is_the_same_model(compact_file):
    assert load_model(compact_file) is load_model(str(compact_file))


def test_a_foreign_model_is_only_read(compact_file):
    descriptor = read_model(compact_file)
    descriptor.patcher = object()
    descriptor.model.half()
    before = copy.deepcopy(descriptor.model.state_dict())
    model = describe_foreign(descriptor)
    assert model.descriptor is descriptor
    assert model.path is None
    assert model.facts.name == f"RealESRGAN Compact x4 {model.facts.sha256[:8]}"
    assert model.facts.size_bytes == 2 * model.facts.parameters
    after = descriptor.model.state_dict()
    assert all(value.dtype == torch.float16 and torch.equal(value, before[key]) for key, value in after.items())


def test_the_hash_of_weights_depends_on_names_shapes_and_values_alone(networks, tmp_path):
    state = networks.seeded(networks.Compact).state_dict()

    def hash_of(change) -> str:
        copied = {key: value.clone() for key, value in state.items()}
        change(copied)
        return describe_foreign(build_model(copied, "x")).facts.sha256

    same = hash_of(lambda state: None)
    assert hash_of(lambda state: state.update(reversed(list(state.items())))) == same
    assert hash_of(lambda state: state["body.0.bias"][7].mul_(1.001)) != same
    assert len({same, hash_of(lambda state: state["body.0.bias"].copy_(state["body.2.bias"]))}) == 2


def test_values_count_and_not_the_float_type_they_are_held_in(compact_file):
    descriptor = read_model(compact_file)
    descriptor.model.half()
    half = describe_foreign(descriptor).facts.sha256
    descriptor.model.float()
    assert describe_foreign(descriptor).facts.sha256 == half
    assert describe_foreign(read_model(compact_file)).facts.sha256 != half  # not rounded to fp16


def test_the_hash_is_worked_out_once_and_does_not_keep_the_model(compact_file, monkeypatch):
    calls: list[torch.nn.Module] = []
    real = loaded._compute_hash
    monkeypatch.setattr(loaded, "_compute_hash", lambda model: calls.append(weakref.proxy(model)) or real(model))
    descriptor = read_model(compact_file)
    assert describe_foreign(descriptor).facts == describe_foreign(descriptor).facts
    assert len(calls) == 1
    alive = weakref.ref(descriptor.model)
    del descriptor
    gc.collect()
    assert alive() is None


def test_running_a_span_model_does_not_change_its_hash(picture):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)
    first, second = (build_model(network.state_dict(), "span") for _ in range(2))
    before = {key: value.clone() for key, value in second.model.state_dict().items()}
    second(picture)
    assert any(not torch.equal(value, before[key]) for key, value in second.model.state_dict().items())
    assert describe_foreign(first).facts.sha256 == describe_foreign(second).facts.sha256


@pytest.mark.parametrize("thing", [None, "4x-UltraSharp.pth", torch.nn.Conv2d(3, 3, 1)])
def test_things_that_are_no_model(thing):
    with pytest.raises(WrongModelError, match=f"a {type(thing).__name__} was given: load it with a loader of upscale"):
        describe_foreign(thing)


def test_a_foreign_inpainting_model_is_refused():
    with torch.random.fork_rng(devices=[]):
        state = LaMa(in_nc=4, out_nc=3).state_dict()
    descriptor = spandrel.ModelLoader().load_from_state_dict(state)
    with pytest.raises(WrongModelError, match=r"The model LaMa x1 is an inpainting model"):
        describe_foreign(descriptor)


def test_a_foreign_face_restorer_is_refused(compact_file):
    descriptor = read_model(compact_file)
    descriptor._purpose = "FaceSR"
    with pytest.raises(WrongModelError, match="is a face restorer"):
        describe_foreign(descriptor)


def test_two_copies_of_one_network_under_two_names(networks, tmp_path):
    state = networks.seeded(networks.Compact).state_dict()
    for name in ("a", "b"):
        safetensors.torch.save_file(state, tmp_path / f"{name}.safetensors")
    first, second = load_model(tmp_path / "a.safetensors"), load_model(tmp_path / "b.safetensors")
    assert first.facts.sha256 == second.facts.sha256
    assert (first.facts.name, second.facts.name) == ("a", "b")


@pytest.mark.real_weights
def test_the_real_general_model(real_weights):
    facts = load_model(real_weights("realesr-general-x4v3")).facts
    assert (facts.tags, facts.parameters, facts.scale) == (("64nf", "32nc"), 1_213_296, 4)
