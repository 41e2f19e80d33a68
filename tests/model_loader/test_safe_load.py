"""Weights in every container and key layout, and files that try to run code."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from backplate.model_loader.errors import DamagedModelError, ModelError, UnsafeModelError
from backplate.model_loader.safe_load import read_model, read_state_dict

Save = Callable[[object, Path], None]


def save_zip(content: object, path: Path) -> None:
    torch.save(content, path)


def save_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def assert_same_network(path: Path, reference: torch.nn.Module, picture: torch.Tensor) -> None:
    descriptor = read_model(path)
    with torch.inference_mode():
        expected = reference(picture).clamp(0, 1)
        found = descriptor(picture)
    assert expected.std() > 0.002  # far from flat, measured in units of the tolerance
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("save", [save_zip, save_legacy])
@pytest.mark.parametrize("wrapper", [None, "params", "params_ema", "state_dict", "generator"])
@pytest.mark.parametrize("prefix", ["", "module.", "net_g."])
def test_containers_wrappers_and_prefixes(networks, tmp_path, picture, save, wrapper, prefix):
    network = networks.seeded(networks.Compact)
    state = {prefix + key: value for key, value in network.state_dict().items()}
    path = tmp_path / "model.pth"
    save(state if wrapper is None else {wrapper: state, "iter": 1000}, path)
    assert_same_network(path, network, picture)


def test_the_averaged_weights_win_over_the_last_ones(networks, tmp_path, picture):
    averaged, last = networks.seeded(networks.Compact, 1), networks.seeded(networks.Compact, 2)
    path = tmp_path / "model.pth"
    torch.save({"params": last.state_dict(), "params_ema": averaged.state_dict()}, path)
    assert_same_network(path, averaged, picture)


@pytest.mark.parametrize("suffix", [".safetensors", ".sft", ".pth"])
def test_safetensors_under_any_name(networks, tmp_path, picture, suffix):
    network = networks.seeded(networks.Compact)
    path = tmp_path / f"model{suffix}"
    safetensors.torch.save_file(network.state_dict(), path)
    assert_same_network(path, network, picture)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".safetensors"])
def test_torch_weights_under_any_name(networks, tmp_path, picture, suffix):
    network = networks.seeded(networks.Compact)
    path = tmp_path / f"model{suffix}"
    torch.save(network.state_dict(), path)
    assert_same_network(path, network, picture)


def test_a_file_saved_without_checksums(networks, tmp_path, picture):
    network = networks.seeded(networks.Compact)
    path = tmp_path / "model.pth"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(network.state_dict(), path)
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(path) as archive:
        assert not any(info.CRC for info in archive.infolist())
    assert_same_network(path, network, picture)


@pytest.mark.parametrize("blocks", [1, 2, 6, 23])
@pytest.mark.parametrize("layout", ["new", "old"])
def test_rrdbnet_in_both_key_layouts(networks, tmp_path, picture, blocks, layout):
    network = networks.seeded(lambda: networks.RRDBNet(blocks=blocks, features=4))
    state = network.state_dict()
    path = tmp_path / "model.pth"
    torch.save(networks.old_layout(state, blocks) if layout == "old" else {"params_ema": state}, path)
    assert_same_network(path, network, picture)


@pytest.mark.parametrize(("scale", "shuffle"), [(2, 2), (1, 4)])
def test_rrdbnet_that_unshuffles_its_input(networks, tmp_path, picture, scale, shuffle):
    network = networks.seeded(lambda: networks.RRDBNet(scale=scale))
    path = tmp_path / "model.pth"
    torch.save({"params_ema": network.state_dict()}, path)
    descriptor = read_model(path)
    assert (descriptor.scale, descriptor.input_channels, descriptor.output_channels) == (scale, 3, 3)
    assert descriptor.size_requirements.multiple_of % shuffle == 0
    assert_same_network(path, network, picture)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(networks, tmp_path, dtype):
    state = networks.seeded(networks.Compact).to(dtype).state_dict()
    path = tmp_path / "model.pth"
    torch.save(state, path)
    model = read_model(path).model
    assert {value.dtype for value in read_state_dict(path).values()} == {dtype}
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert not model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key].float())


def test_loading_leaves_the_random_state_alone(compact_file):
    before = torch.random.get_rng_state()
    read_model(compact_file)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_loaded_in_inference_mode_are_ordinary_tensors(compact_file):
    with torch.inference_mode():
        model = read_model(compact_file).model
    assert not any(parameter.is_inference() for parameter in model.parameters())


@pytest.mark.real_weights
def test_the_real_weights(real_weights):
    descriptor = read_model(real_weights("realesr-animevideov3"))
    assert (descriptor.architecture.id, descriptor.scale, descriptor.tags) == ("Compact", 4, ["64nf", "16nc"])


class Call:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.recipe = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.recipe


def save_plain_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def save_new_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=4))


def save_zip_protocol_4(content: object, path: Path) -> None:
    torch.save(content, path, pickle_protocol=4)


ATTACKS = {
    "os.system": lambda marker: Call(os.system, f"echo > {marker}"),
    "builtins.exec": lambda marker: Call(exec, f"open({str(marker)!r}, 'w').close()"),
    "builtins.open": lambda marker: Call(open, str(marker), "w"),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("save", [save_zip, save_legacy, save_zip_protocol_4, save_plain_pickle, save_new_pickle])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".safetensors"])
def test_a_pickle_that_calls_something_is_refused_by_name_and_nothing_runs(tmp_path, name, save, suffix):
    marker, path = tmp_path / "marker", tmp_path / f"model{suffix}"
    attack = ATTACKS[name](marker)
    save({"params": {"body.0.weight": [0.0], "body.1.weight": attack}}, path)
    # io in Python 3.11, _io in 3.13.
    shown = f"{open.__module__}.open" if name == "builtins.open" else name
    with pytest.raises(UnsafeModelError, match=rf"^model\{suffix} asks to load {shown},"):
        read_model(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(attack))
    assert marker.exists(), "the attack does nothing, so the test proves nothing"


def test_a_name_that_other_code_declared_safe_is_still_refused(tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "model.pth"
    torch.save({"weight": ATTACKS["builtins.exec"](marker)}, path)
    with torch.serialization.safe_globals([exec]):
        with pytest.raises(UnsafeModelError, match=r"asks to load builtins\.exec,"):
            read_model(path)
        assert not marker.exists()
        torch.load(path, weights_only=True)
        assert marker.exists(), "PyTorch alone refuses it too, so the test proves nothing"


def test_a_whole_pickled_network_is_refused_with_the_name_of_its_class(networks, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3)), path)
    with pytest.raises(UnsafeModelError, match=r"torch\.nn\.modules\.container\.Sequential.*state_dict"):
        read_model(path)


@pytest.mark.filterwarnings("ignore:.*is deprecated")
def test_torchscript_is_refused_unopened(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 4, 4)), path)

    def must_not_run(*_: object, **__: object) -> None:
        raise AssertionError("torch.jit.load was called")

    monkeypatch.setattr(torch.jit, "load", must_not_run)
    with pytest.raises(UnsafeModelError, match=r"TorchScript archive.*choose the plain weights"):
        read_model(path)


def rewrite(path: Path, **members: bytes) -> None:
    """Replace members of a torch zip archive, named with ``_`` for ``.`` and ``__`` for ``/``."""
    wanted = {key.replace("__", "/").replace("_", "."): value for key, value in members.items()}
    with zipfile.ZipFile(path) as archive:
        content = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, wanted.get(name.partition("/")[2], data))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"data__0": bytes(64)}, "shorter than its 64 elements of 4 bytes"),
        ({"data_pkl": b"\x80\x02ctorch\nSize\n)R(K\x00K\x01u."}, "does not support item assignment"),
    ],
)
def test_a_short_storage_and_items_of_anything_but_dicts_are_refused(tmp_path, member, message):
    path = tmp_path / "model.pth"
    torch.save({"weight": torch.zeros(64)}, path)
    rewrite(path, **member)
    with pytest.raises(DamagedModelError, match=message):
        read_model(path)


def test_an_old_pytorch_is_not_trusted_with_pickles(compact_file, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.5.1+cu124")
    with pytest.raises(UnsafeModelError, match=r"PyTorch 2\.5\.1\+cu124 .* update PyTorch to 2\.6"):
        read_model(compact_file)


def test_an_old_pytorch_is_trusted_with_safetensors(networks, tmp_path, picture, monkeypatch):
    network = networks.seeded(networks.Compact)
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    monkeypatch.setattr(torch, "__version__", "2.5.1+cu124")
    assert_same_network(path, network, picture)


def test_weights_that_are_not_numbers_are_refused(networks, tmp_path):
    state = networks.seeded(networks.Compact).state_dict()
    state["body.2.weight"][0, 0, 0, :2] = torch.nan
    path = tmp_path / "model.pth"
    torch.save(state, path)
    with pytest.raises(DamagedModelError, match=r"2 of 576 values of body\.2\.weight"):
        read_model(path)


@pytest.mark.parametrize("save", [save_zip, save_legacy, save_plain_pickle])
def test_a_pickle_without_weights_is_refused(tmp_path, save):
    path = tmp_path / "model.pth"
    save({"epoch": 3, "best": 27.5}, path)
    with pytest.raises(ModelError, match=r"holds no tensors \(it has epoch, best\)|not written by torch\.save"):
        read_model(path)
