"""What travels to a machine with a card."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]
TAKEN = ("comfy/utils.py", "comfy_extras/nodes_upscale_model.py", "folder_paths.py", "LICENSE")
NAME = "realesr-general-x4v3.safetensors"
LEFT = ("comfy/large.json", "comfy_extras/nodes_audio.py", "comfy/__pycache__/utils.pyc", "models/large.safetensors")


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    home = tmp_path / "ComfyUI"
    for name in (*TAKEN, *LEFT):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(name)
    return home


def test_of_comfyui_only_what_its_node_is_made_of_is_taken(script: Script, comfyui: Path, tmp_path: Path):
    script("gather_for_gpu").pack_comfyui(comfyui, tmp_path / "ComfyUI.zip")
    with zipfile.ZipFile(tmp_path / "ComfyUI.zip") as archive:
        found = {name for name in archive.namelist() if not name.endswith("/")}
    assert found == {*TAKEN, "comfy_extras/__init__.py"}


def test_too_much_is_refused_with_its_parts_and_nothing_stays(
    script: Script, comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gather = script("gather_for_gpu")
    monkeypatch.setenv("COMFYUI_PATH", str(comfyui))
    monkeypatch.setattr(gather, "download", lambda folder, *_, **__: folder.mkdir(exist_ok=True))
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "unused.safetensors").write_bytes(b"x")
    with (weights / NAME).open("wb") as file:
        file.truncate(49 * 2**20)
    with pytest.raises(gather.Refused, match=r"bundle would be 49\.0 MiB, and 48 may travel \(weights 49\.0"):
        gather.gather(tmp_path / "bundle", weights)
    assert not (tmp_path / "bundle").exists()
    (weights / NAME).unlink()
    with pytest.raises(gather.Refused, match="none of realesr-general-x4v3"):
        gather.gather(tmp_path / "bundle", weights)
    (weights / NAME).write_bytes(b"x")
    assert gather.gather(tmp_path / "bundle", weights) < 2**20
    assert (tmp_path / "bundle" / "weights" / NAME).is_file()
    assert len(list((tmp_path / "bundle" / "weights").iterdir())) == 1


def test_a_folder_that_is_no_comfyui_is_refused(script: Script, tmp_path: Path):
    gather = script("gather_for_gpu")
    with pytest.raises(gather.Refused, match="no ComfyUI"):
        gather.copy_comfyui(tmp_path, tmp_path / "copy")


def test_only_packages_that_are_missing_are_unpacked(script: Script, tmp_path: Path):
    (tmp_path / "wheels").mkdir()
    for name in ("numpy", "absent_package"):
        with zipfile.ZipFile(tmp_path / "wheels" / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "")
    assert script("gpu_drill").unpack_missing(tmp_path, tmp_path / "packages") == ["absent_package"]
    assert [path.name for path in (tmp_path / "packages").iterdir()] == ["absent_package"]


def test_empty_modules_are_gone_afterwards(script: Script):
    comfy = script("drill.comfy")
    with comfy.empty_in_place_of(["absent_package", "json"]) as missing:
        import absent_package.inner as inner  # type: ignore[import-not-found]

        assert isinstance(inner.Anything, type)
    assert missing == ["absent_package"]
    assert not any(name.startswith("absent_package") for name in sys.modules)
    with pytest.raises(ModuleNotFoundError):
        import absent_package  # noqa: F401
