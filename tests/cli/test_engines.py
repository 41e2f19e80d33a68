"""``backplate engines``, ``backplate export`` and ``--engine``."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

needs_ncnn = pytest.mark.skipif(importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def levels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_engines_are_listed_with_what_is_missing(backplate, monkeypatch):
    monkeypatch.setattr("backplate.core.engines.ncnn.engine.unusable", lambda: "ncnn is not installed; pip install x")
    text = backplate("engines").stdout
    assert "pytorch" in text
    assert "ncnn is not installed; pip install x" in text
    listing = {row["engine"]: row for row in json.loads(backplate("engines", "--json").stdout)["engines"]}
    assert listing["pytorch"]["usable"]
    assert not listing["ncnn"]["usable"]


@needs_ncnn
def test_an_exported_model_and_the_engine_give_what_pytorch_gives(backplate, drawn, model, tmp_path):
    source = drawn("in.png", (40, 30))
    exported = backplate("export", model, "--to", "ncnn", "-o", tmp_path / "tiny.param", code=0)
    assert "largest difference to PyTorch" in exported.stdout
    told = backplate("info", tmp_path / "tiny.param")
    assert "x2, 3 to 3 channels" in told.stdout
    facts = json.loads(backplate("info", tmp_path / "tiny.param", "--json").stdout)
    assert facts["record"]["scale"] == 2
    for name, words in {
        "pytorch": ["--model", model],
        "engine": ["--model", model, "--engine", "ncnn"],
        "file": ["--model", tmp_path / "tiny.param"],
        "file in vain": ["--model", tmp_path / "tiny.param", "--engine", "onnxruntime"],
    }.items():
        result = backplate("upscale", source, "-o", tmp_path / f"{name}.png", *words, code=0)
        assert "instead of" not in result.stderr
        text = " ".join((result.stdout + result.stderr).split())
        assert ("runs in the engine that it was made for" in text) == (name == "file in vain")
        assert np.abs(levels(tmp_path / f"{name}.png") - levels(tmp_path / "pytorch.png")).max() <= 1


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None or importlib.util.find_spec("tensorrt") is not None,
    reason="tensorrt-rtx is not installed, or tensorrt is too",
)
def test_an_engine_of_tensorrt_is_built_ahead_of_time(backplate, model, tmp_path):
    file = tmp_path / "tiny.engine"
    words = ["export", model, "--to", "tensorrt", "--tile", "64", "--fp16", "-o", file]
    built = backplate(*words, code=0)
    assert file.stat().st_size > 10_000
    (kept,) = (tmp_path / "cache").rglob("*.engine")
    # Wrapped to the width of a terminal or not.
    assert kept.name[-20:] in built.stdout
    assert "half precision" in built.stdout
    assert kept.read_bytes().endswith(file.read_bytes())
    assert json.loads((tmp_path / "tiny.engine.json").read_text())["scale"] == 2
    backplate(*words, code=1, says="already exists")
    backplate("export", model, "--to", "tensorrt", "-o", tmp_path / "tiny.onnx", code=2, says="ends in .engine")


def test_without_tensorrt_the_export_names_the_package(backplate, model, tmp_path, monkeypatch):
    monkeypatch.setattr("backplate.core.engines.tensorrt.package.missing_package", lambda: "pip install something")
    monkeypatch.setattr(
        "backplate.core.engines.tensorrt.export.open_package",
        importlib.import_module("backplate.core.engines.tensorrt.package").open_package.__wrapped__,
    )
    result = backplate("export", model, "--to", "tensorrt", "-o", tmp_path / "tiny.engine", code=1)
    assert "is not exported: pip install something." in result.stderr
    assert list(tmp_path.glob("*.engine")) == []


def test_an_engine_file_that_cannot_run_here_is_one_sentence(backplate, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr("backplate.core.engines.tensorrt.file.unusable", lambda: "pip install something")
    (tmp_path / "tiny.engine").write_bytes(b"engine")
    result = backplate("upscale", drawn("in.png"), "-o", tmp_path / "out.png", "--model", tmp_path / "tiny.engine")
    assert result.exit_code == 1
    assert "tiny.engine cannot be run, and PyTorch cannot run it instead: pip install something." in result.stderr
    assert not (tmp_path / "out.png").exists()


def test_an_engine_that_cannot_run_is_replaced_aloud(backplate, drawn, model, tmp_path, monkeypatch):
    monkeypatch.setattr("backplate.core.engines.ncnn.engine.unusable", lambda: "ncnn is not installed; pip install x")
    words = ["upscale", drawn("in.png"), "-o", tmp_path / "out.png", "--model", model, "--engine", "ncnn"]
    backplate(*words, code=0, says="tiny_x2 runs in PyTorch instead of ncnn: ncnn is not installed; pip install x.")
    assert (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "ncnn", "--tile", "64"], "any size"),
        (["--to", "ncnn", "-o", "x.onnx"], ".param"),
        (["--to", "coreml"], "onnx"),
    ],
)
def test_what_makes_no_sense_is_said(backplate, model, words, said):
    backplate("export", model, *words, code=2, says=said)


@needs_ncnn
def test_a_changed_file_is_noticed(backplate, drawn, model, tmp_path):
    backplate("export", model, "--to", "ncnn", "-o", tmp_path / "tiny.param")
    content = bytearray((tmp_path / "tiny.bin").read_bytes())
    content[100] ^= 1
    (tmp_path / "tiny.bin").write_bytes(content)
    result = backplate("upscale", drawn("in.png"), "-o", tmp_path / "out.png", "--model", tmp_path / "tiny.param")
    assert result.exit_code == 1
    assert "tiny.bin has changed since it was exported" in result.stderr
    assert not (tmp_path / "out.png").exists()
