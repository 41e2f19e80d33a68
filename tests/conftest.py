"""Loads the pack under its installed name, the way ComfyUI loads it: from the path of its root file."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import sys
from collections.abc import Callable

# Idle threads of PyTorch's pool wait quietly: several test processes may share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Trials of speed have tests of their own; elsewhere they would cost seconds and decide by chance.
os.environ.setdefault("BACKPLATE_TUNE", "0")

import pytest
from expected import absent

ROOT = pathlib.Path(__file__).resolve().parents[1]
SHARED = pathlib.Path(os.environ.get("BACKPLATE_SHARED", ROOT.parent / "shared"))

# The root must not be importable by itself: its `nodes` folder would shadow ComfyUI's module of that name.
sys.path[:] = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != ROOT]
if "backplate" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "backplate", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["backplate"] = module
    spec.loader.exec_module(module)


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """A folder with `images/`, `weights/` and `video/` of the Real-ESRGAN project, if there is one."""
    if not SHARED.is_dir():
        absent("shared", f"no sample pictures and weights at {SHARED} (set BACKPLATE_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def real_weights(shared: pathlib.Path) -> Callable[[str], pathlib.Path]:
    """Path of a real Real-ESRGAN weights file by name without suffix, or a skip that says which is missing."""

    def find(name: str) -> pathlib.Path:
        path = shared / "weights" / f"{name}.safetensors"
        if not path.is_file():
            absent("shared", f"real weights {path} are not there")
        return path

    return find


@pytest.fixture(scope="session")
def hundred(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """100 pictures, three of them broken."""
    from drawn_folder import draw_folder

    return draw_folder(tmp_path_factory.mktemp("hundred") / "in", plain=93)


@pytest.fixture
def ten(tmp_path: pathlib.Path) -> pathlib.Path:
    """10 pictures, three of them broken."""
    from drawn_folder import draw_folder

    return draw_folder(tmp_path / "in", plain=3)


@pytest.fixture
def data_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Of this user, for the test."""
    folder = tmp_path / "data"
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_, **__: str(folder))
    return folder
