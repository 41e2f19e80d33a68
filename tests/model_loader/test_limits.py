"""Files of weights that ask for memory or time without end are refused before they get any."""

from __future__ import annotations

import json
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from backplate.model_loader import limits
from backplate.model_loader.errors import ModelError, UnsafeModelError, WrongModelError
from backplate.model_loader.safe_load import build_model, read_model

ROOM = 1 << 30
"""Bytes that reading a file may take beside what the libraries do."""

READER = """
import json, sys
from pathlib import Path
from backplate.model_loader.safe_load import read_model
from backplate.model_loader.errors import ModelError
try:
    import resource
    taken = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (taken + int(sys.argv[1]), -1))
    resource.setrlimit(resource.RLIMIT_CPU, (60, -1))
except (ImportError, OSError):
    pass
for path in sys.argv[2:]:
    try:
        read_model(Path(path))
        said = "loaded"
    except ModelError as error:
        said = str(error)
    print(json.dumps([path, said]), flush=True)
"""


def said_about(files: list[Path]) -> dict[str, str]:
    """What a process with little memory says about each."""
    words = [sys.executable, "-c", READER, str(ROOM), *map(str, files)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return {Path(path).name: said for path, said in map(json.loads, done.stdout.splitlines())}


def archive(path: Path, data_pkl: bytes, *, members: dict[str, bytes] | None = None, how: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", how) as written:
        written.writestr("archive/data.pkl", data_pkl)
        written.writestr("archive/version", "3\n")
        for name, content in (members or {"archive/data/0": bytes(16)}).items():
            written.writestr(name, content)
    return path


def tower(hashed: bytes) -> bytes:
    """A tuple of two of the same, 60 times over: its hash takes 2 to the 60 steps. ``hashed``: what asks for it."""
    return b"\x80\x02}K\x01" + b"2\x86" * 60 + hashed + b"."


def remembered_tower() -> bytes:
    """The same without the step that doubles, which PyTorch does not know."""
    steps = b"".join(b"q\x01h\x01\x86" for _ in range(60))
    return b"\x80\x02}K\x01" + steps + b"K\x01s."


def calls(name: str, argument: bytes) -> bytes:
    return b"\x80\x02}X\x01\x00\x00\x00wc" + name.encode() + b"\n(" + argument + b"tRs."


def number(value: int) -> bytes:
    content = pickle.encode_long(value)
    return b"\x8a" + bytes([len(content)]) + content


PICKLES = {
    "bytes of nothing": calls("builtins\nbytearray", number(8 << 30)),
    "bytes of old": calls("__builtin__\nbytearray", number(8 << 30)),
    "a key": tower(b"K\x01s"),
    "remembered": remembered_tower(),
    "a pair as a key": b"\x80\x02}X\x01\x00\x00\x00aK\x01\x86K\x01s.",
    "a set": calls("builtins\nset", b"]" + tower(b"")[3:-1] + b"a"),
    "a counter": calls("collections\nCounter", b"]" + tower(b"")[3:-1] + b"a"),
    "a frozen set": b"\x80\x04(" + tower(b"")[3:-1] + b"\x91.",
    "a slow encoding": calls("_codecs\nencode", b"X\x04\x00\x00\x00\xc3\xa4\xc3\xa4X\x08\x00\x00\x00punycode"),
    "steps": b"\x80\x02" + b"N0" * 1_500_000 + b"N.",
    "a byte array of a length": b"\x80\x05\x96" + struct.pack("<Q", 8 << 30) + b".",
    "one long string": b"\x80\x02X" + struct.pack("<I", 0xFFFFFFFF) + b".",
    "one number": b"\x80\x02\x8b" + struct.pack("<i", 0x7FFFFFFF) + b".",
}


def test_pickles_that_would_take_all_there_is(tmp_path: Path):
    files = [archive(tmp_path / f"{name}.pth", content) for name, content in PICKLES.items()]
    found = said_about(files)
    assert len(found) == len(PICKLES)
    for name, said in found.items():
        assert said.startswith(f"{name} "), said
        assert "loaded" not in said
        assert "\n" not in said


def compact(networks: object, **options: int) -> dict[str, torch.Tensor]:
    return networks.seeded(lambda: networks.Compact(**options)).state_dict()


def named(state: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    return {key.replace(old, new): value for key, value in state.items()}


CHANGES: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]] = {
    "a block of 10^9": lambda state: named(state, "body.2", "body.1000000000"),
    "a block of 5000": lambda state: named(state, "body.2", "body.5000"),
    "a long number": lambda state: named(state, "body.2", "body." + "9" * 3000),
    "a long name": lambda state: {**state, "a" * 100_000: torch.zeros(1)},
    "many names": lambda state: {**state, **{f"tensor{i}": torch.zeros(1) for i in range(21_000)}},
    "channels of no weights": lambda state: {**state, "body.0.weight": torch.zeros(1 << 33, 0, 3, 3)},
    "features of no weights": lambda state: {**state, "body.0.weight": torch.zeros(50_000_000, 3, 0, 3)},
}


def test_names_and_shapes_with_which_a_network_would_not_end(networks, tmp_path: Path):
    files: list[Path] = []
    for name, change in CHANGES.items():
        files += [tmp_path / f"{name}.safetensors", tmp_path / f"{name}.pth"]
        safetensors.torch.save_file(change(compact(networks)), files[-2])
        torch.save({"params": change(compact(networks))}, files[-1])
    found = said_about(files)
    assert len(found) == len(files)
    assert all(said.startswith(f"{name} ") and "\n" not in said for name, said in found.items()), found


def test_tensors_that_repeat_the_same_few_values(networks, tmp_path: Path):
    state = {key: torch.zeros(()).expand(value.shape) for key, value in compact(networks, features=256).items()}
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(UnsafeModelError, match=r"tensors make 1,[0-9,]+ values of the 11 that"):
        read_model(tmp_path / "model.pth")
    shared = torch.zeros(100_000)
    torch.save({f"{i}": shared.view(-1) for i in range(100)}, tmp_path / "shared.pth")
    with pytest.raises(UnsafeModelError, match="10,000,000 values of the 100,000"):
        read_model(tmp_path / "shared.pth")


@pytest.mark.parametrize("scale", [17, 32])
def test_a_scale_that_no_picture_survives(networks, tmp_path: Path, scale: int):
    torch.save(compact(networks, scale=scale), tmp_path / "model.pth")
    with pytest.raises(WrongModelError, match=f"magnifies {scale} times, and up to 16"):
        read_model(tmp_path / "model.pth")
    torch.save(compact(networks, scale=16), tmp_path / "large.pth")
    assert read_model(tmp_path / "large.pth").scale == 16


def test_one_tensor_under_many_names_is_not_a_network_of_all_of_them(networks, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_BYTES", 1 << 20)
    state = compact(networks, features=64, layers=30)
    read_model(saved(state, tmp_path / "each.pth"))
    one = state["body.2.weight"]
    shared = {key: one if value.shape == one.shape else value for key, value in state.items()}
    with pytest.raises(WrongModelError, match="far more than its weights"):
        read_model(saved(shared, tmp_path / "one.pth"))


def saved(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


def test_an_archive_that_inflates(tmp_path: Path):
    path = archive(
        tmp_path / "model.pth", b"\x80\x02}.", members={"archive/data/0": bytes(64 << 20)}, how=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(UnsafeModelError, match=r"inflate to 67,\d+,\d+"):
        read_model(path)


def test_two_lists_of_tensors_in_one_archive(tmp_path: Path):
    path = archive(tmp_path / "model.pth", b"\x80\x02}.", members={"archiv/data.pkl": b"\x80\x02}."})
    with pytest.raises(UnsafeModelError, match="two members of the same name"):
        read_model(path)


@pytest.mark.parametrize("length", [9 << 20, 1 << 31])
def test_a_table_of_contents_larger_than_any(tmp_path: Path, length: int):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{" + b" " * 4096)
    with pytest.raises(ModelError, match=rf"table of contents has {length:,} bytes"):
        read_model(path)


def test_storages_that_are_longer_than_an_old_file(tmp_path: Path):
    tensors = {f"{i}": torch.zeros(1000) for i in range(4)}
    torch.save(tensors, tmp_path / "model.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "model.pth").read_bytes()
    assert content.count(b"M\xe8\x03") >= 8
    (tmp_path / "model.pth").write_bytes(content.replace(b"M\xe8\x03", b"M\x40\x10"))
    with pytest.raises(ModelError, match="storages are longer than the file"):
        read_model(tmp_path / "model.pth")


def test_building_a_network_is_refused_before_memory_is_taken(networks):
    state = compact(networks)
    state["body.0.weight"] = torch.zeros(1 << 33, 3, 0, 3)
    with pytest.raises(ModelError, match=r"takes more than 0\.5 GB|does not fit"):
        build_model(state, "model")


def test_an_old_file_that_names_a_storage_it_does_not_hold(tmp_path: Path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "model.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "model.pth").read_bytes()
    key = str(next(iter(storage_keys(content))))
    last = content.rindex(key.encode())
    (tmp_path / "model.pth").write_bytes(content[:last] + b"X" * len(key) + content[last + len(key) :])
    with pytest.raises(ModelError, match="damaged"):
        read_model(tmp_path / "model.pth")


def storage_keys(content: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"\d{8,}", content)]
