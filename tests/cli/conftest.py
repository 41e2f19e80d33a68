"""The command line, run in this process and in one of its own, with a model of a few hundred weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from backplate.cli import app
from PIL import Image
from safetensors.torch import save_file
from tiny_models import compact
from typer.testing import CliRunner, Result

ROOT = Path(__file__).resolve().parents[2]

# Loads the pack by its name from where it lies, installed or not.
LOADING = f"""
import importlib.util, runpy, sys
spec = importlib.util.spec_from_file_location("backplate", {str(ROOT / "__init__.py")!r},
                                              submodule_search_locations=[{str(ROOT)!r}])
module = importlib.util.module_from_spec(spec)
sys.modules["backplate"] = module
spec.loader.exec_module(module)
sys.argv[0] = "backplate"
"""
PROGRAM = f"""{LOADING}
runpy.run_module("backplate.cli", run_name="__main__", alter_sys=False)
"""


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model folders, locale or width of the person who runs the tests."""
    for name in ("BACKPLATE_MODELS", "COMFYUI_PATH", "BACKPLATE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def backplate() -> Callable[..., Result]:
    """``backplate("upscale", path, "-o", path)``: the command in this process. With ``code`` and ``says``, it ends with
    that exit code and has that text on stderr."""

    def run(*words: object, code: int | None = None, says: str = "") -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert code in (None, result.exit_code), result.stderr
        assert says in result.stderr
        return result

    return run


@pytest.fixture
def loading() -> str:
    """The first lines of a program that uses the pack."""
    return LOADING


@pytest.fixture
def program() -> Callable[..., subprocess.Popen[str]]:
    """The command in a process of its own, in which the modules ``without`` cannot be imported."""

    def start(*words: object, without: Sequence[str] = ()) -> subprocess.Popen[str]:
        missing = f"import sys\nsys.modules.update(dict.fromkeys({list(without)!r}))\n"
        return subprocess.Popen(
            [sys.executable, "-c", missing + PROGRAM, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights that doubles pictures and adds a texture of about one level of 255."""
    path = tmp_path_factory.mktemp("models") / "tiny_x2.safetensors"
    state = compact(seed=1, scale=2)
    for name in list(state)[-2:]:
        state[name] *= 0.05
    save_file(state, path)
    return path


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[..., Path]:
    """``drawn("name.png", (width, height))``: a picture file with a smooth gradient."""

    def draw(name: str, size: tuple[int, int] = (12, 9), mode: str = "RGB", **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ramp = Image.linear_gradient("L").resize(size)
        Image.merge("RGB", [ramp, ramp.rotate(180), ramp]).convert(mode).save(path, **options)
        return path

    return draw
