from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from backplate.model_loader.blend import blend_models
from backplate.model_loader.errors import BlendError
from backplate.model_loader.loaded import LoadedModel, describe_foreign, load_model

Make = Callable[..., LoadedModel]


@pytest.fixture
def make(networks, tmp_path) -> Make:
    def build(name: str, network: Callable[[], torch.nn.Module] = networks.Compact, seed: int = 0) -> LoadedModel:
        path = tmp_path / f"{name}.pth"
        torch.save(networks.seeded(network, seed).state_dict(), path)
        return load_model(path)

    return build


def state_of(model: LoadedModel) -> dict[str, torch.Tensor]:
    return model.descriptor.model.state_dict()


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("kind", ["Compact", "RRDBNet"])
def test_every_tensor_lies_in_between(networks, make, weight, kind):
    a, b = (make(name, getattr(networks, kind), seed) for seed, name in enumerate("ab"))
    before = [copy.deepcopy(state_of(model)) for model in (a, b)]
    blended = blend_models(a, b, weight)
    for key, value in state_of(blended).items():
        expected = (1 - weight) * before[0][key].double() + weight * before[1][key].double()
        torch.testing.assert_close(value.double(), expected, rtol=0, atol=1e-7)
    for model, old in zip((a, b), before, strict=True):
        assert all(torch.equal(value, old[key]) for key, value in state_of(model).items())


@pytest.mark.parametrize("weight", [0, 1])
def test_the_ends_are_the_models_themselves(make, picture, weight):
    a, b = make("a", seed=1), make("b", seed=2)
    blended = blend_models(a, b, weight)
    assert torch.equal(blended.descriptor(picture), (a, b)[weight].descriptor(picture))


def test_the_blend_stands_on_its_own(make):
    a, b = make("a", seed=1), make("b", seed=2)
    blended = blend_models(a, b, 0.0)
    for value in state_of(blended).values():
        value.zero_()
    assert all(value.abs().max() > 0 for value in state_of(a).values())


def test_facts_of_a_blend(make):
    a, b = make("a", seed=1), make("b", seed=2)
    facts = blend_models(a, b, 0.3).facts
    assert facts.name == "a + b @ 0.30"
    same = {field.name: getattr(a.facts, field.name) for field in dataclasses.fields(a.facts)}
    same.update(name=facts.name, sha256=facts.sha256)
    assert dataclasses.asdict(facts) == same
    hashes = [blend_models(a, b, 0.3), blend_models(a, b, 0.3001), blend_models(b, a, 0.3), blend_models(a, a, 0.3)]
    assert len({model.facts.sha256 for model in hashes} | {a.facts.sha256, b.facts.sha256}) == 6
    assert hashes[0].facts.sha256 == facts.sha256


BSD, NON_COMMERCIAL, UNKNOWN = ("BSD-3-Clause", True), ("CC-BY-NC-SA-4.0", False), (None, None)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (BSD, BSD, BSD),
        (BSD, NON_COMMERCIAL, ("BSD-3-Clause AND CC-BY-NC-SA-4.0", False)),
        (UNKNOWN, NON_COMMERCIAL, (None, False)),
        (BSD, UNKNOWN, UNKNOWN),
        (UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_the_stricter_licence_rules(make, first, second, expected):
    a, b = (
        dataclasses.replace(
            model, facts=dataclasses.replace(model.facts, licence=licence[0], commercial_use=licence[1])
        )
        for model, licence in ((make("a", seed=1), first), (make("b", seed=2), second))
    )
    facts = blend_models(a, b, 0.5).facts
    assert (facts.licence, facts.commercial_use) == expected


def test_a_foreign_model_in_fp16_blends_in_float32(make):
    a, b = make("a", seed=1), make("b", seed=2)
    half = copy.deepcopy(a.descriptor)
    half.model.half()
    blended = blend_models(describe_foreign(half), b, 0.5)
    assert {value.dtype for value in state_of(blended).values()} == {torch.float32}
    assert {value.dtype for value in half.model.state_dict().values()} == {torch.float16}
    for key, value in state_of(blended).items():
        torch.testing.assert_close(value, (state_of(a)[key].half().float() + state_of(b)[key]) / 2)


@pytest.mark.parametrize("weight", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_weight_outside_of_the_range(make, weight):
    a, b = make("a", seed=1), make("b", seed=2)
    with pytest.raises(BlendError, match=rf"weight of a blend is {weight}, and must lie between 0 .* and 1"):
        blend_models(a, b, weight)


def test_another_architecture(networks, make):
    a, b = make("a"), make("b", networks.RRDBNet)
    with pytest.raises(
        BlendError, match="a and b cannot be blended: one is RealESRGAN Compact x4, the other ESRGAN x4"
    ):
        blend_models(a, b, 0.5)


def test_another_scale(networks, make):
    a, b = make("a"), make("b", lambda: networks.Compact(scale=2))
    with pytest.raises(BlendError, match="one is RealESRGAN Compact x4, the other RealESRGAN Compact x2"):
        blend_models(a, b, 0.5)


def test_another_width_names_the_first_tensor(networks, make):
    a, b = make("a"), make("b", lambda: networks.Compact(features=6))
    with pytest.raises(BlendError, match=r"tensor body\.0\.weight is 8x3x3x3 in the first and 6x3x3x3 in the second"):
        blend_models(a, b, 0.5)


@pytest.mark.parametrize("order", [1, -1])
def test_another_depth_names_the_first_tensor(networks, make, order):
    pair = [make("a", lambda: networks.RRDBNet(blocks=1)), make("b", lambda: networks.RRDBNet(blocks=2))][::order]
    with pytest.raises(BlendError, match=r"tensor model\.1\.sub\.1\.\S+ is \S+ in the first and \S+ in the second"):
        blend_models(*pair, 0.5)


@pytest.mark.real_weights
def test_the_real_denoising_pair(real_weights, picture):
    plain, denoising = (load_model(real_weights(f"realesr-general{name}-x4v3")) for name in ("", "-wdn"))
    ends = [model.descriptor(picture) for model in (plain, denoising)]
    middle = blend_models(plain, denoising, 0.5)
    assert middle.facts.name == "realesr-general-x4v3 + realesr-general-wdn-x4v3 @ 0.50"
    result = middle.descriptor(picture)
    apart = (ends[0] - ends[1]).abs().mean()
    assert apart > 0.01
    assert max((result - end).abs().mean() for end in ends) < apart
