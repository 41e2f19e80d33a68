"""An export is written only when it computes what PyTorch computes; a changed file is noticed when it is run."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from backplate.core.engines.export.export import export_model
from backplate.core.engines.export.files import file_module, open_engine_file, record_path
from backplate.core.engines.ncnn import engine as ncnn_engine
from backplate.core.engines.ncnn import pnnx as pnnx_convert
from backplate.core.engines.ncnn.param import read_param
from backplate.core.engines.onnx.export import OnnxSettings
from backplate.core.engines.registry import EngineUnusable
from backplate.core.errors import InputError
from backplate.core.jobs.export import drawn_pictures, export_proved
from backplate.core.jobs.model_info import model_of_file
from backplate.core.progress import Cancelled, Progress
from backplate.core.tiled.pipeline import TileSettings, upscale
from backplate.core.types import Size
from backplate.model_loader.blend import blend_models
from backplate.model_loader.licences import allows_commercial_use
from backplate.model_loader.loaded import LoadedModel
from backplate.model_loader.precision import Precision
from devices import noise
from recorder import Recorder
from torch import nn

CPU = torch.device("cpu")
needs_ncnn = pytest.mark.skipif(importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed")
needs_pnnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("ncnn", "pnnx")), reason="ncnn and pnnx are not installed"
)
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are not all installed",
)


@needs_ncnn
@pytest.mark.parametrize(
    ("licences", "expected", "allowed"),
    [
        (("BSD-3-Clause", "CC-BY-NC-SA-4.0"), "BSD-3-Clause AND CC-BY-NC-SA-4.0", False),
        (("BSD-3-Clause", "MIT"), "BSD-3-Clause AND MIT", True),
        (("BSD-3-Clause", None), "", None),
    ],
)
def test_an_exported_blend_keeps_both_licences(
    build: Callable[[str], LoadedModel],
    out: Path,
    licences: tuple[str | None, str | None],
    expected: str,
    allowed: bool | None,
):
    model = build("compact")
    first, second = (
        replace(model, facts=replace(model.facts, licence=each, commercial_use=allows_commercial_use(each)))
        for each in licences
    )
    export_proved(blend_models(first, second, 0.5), out / "m.param", OnnxSettings())
    found = model_of_file(open_engine_file(out / "m.param", CPU), Precision.AUTO)
    assert (found.licence, found.commercial_use) == (expected, allowed)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@needs_ncnn
@pytest.mark.parametrize("name", ["compact", "rrdbnet x2", "span"])
@pytest.mark.parametrize("half", [False, True])
def test_an_ncnn_export_runs_from_its_files(build: Callable[[str], LoadedModel], out: Path, name: str, half: bool):
    model = build(name)
    exported = export_proved(model, out / "m.param", OnnxSettings(half=half))
    assert names(out) == ["m.bin", "m.param", "m.param.json"]
    assert exported.difference.largest <= (5e-3 if half else 1e-4)
    assert f"{exported.difference.largest:.1e}" in exported.text()
    opened = open_engine_file(out / "m.param", CPU)
    picture = noise(37, 50)
    expected = model.descriptor(picture)
    result = upscale(picture, opened.upscaler, TileSettings(size=32))
    bar = 5e-3 if half or not opened.upscaler.spec.halo.exact else 1e-4
    assert (result - expected).abs().max() < bar


@needs_ncnn
def test_half_precision_halves_the_weights(build: Callable[[str], LoadedModel], out: Path):
    for half in (False, True):
        export_proved(build("rrdbnet"), out / f"{half}.param", OnnxSettings(half=half))
    assert (out / "True.bin").stat().st_size < 0.6 * (out / "False.bin").stat().st_size


@needs_onnx
def test_an_onnx_export_runs_from_its_file(build: Callable[[str], LoadedModel], out: Path):
    model = build("rrdbnet x2")
    export_proved(model, out / "m.onnx", OnnxSettings())
    assert names(out) == ["m.onnx", "m.onnx.json"]
    picture = noise(37, 50)
    result = upscale(picture, open_engine_file(out / "m.onnx", CPU).upscaler, TileSettings())
    assert (result - model.descriptor(picture)).abs().max() < 1e-4
    record_path(out / "m.onnx").unlink()
    upscaler = open_engine_file(out / "m.onnx", CPU).upscaler
    assert (upscaler.spec.scale, upscaler.spec.input_channels, upscaler.spec.alignment) == (2, 3, 2)
    picture = noise(36, 48)
    assert (upscale(picture, upscaler, TileSettings()) - model.descriptor(picture)).abs().max() < 1e-4


@needs_ncnn
@pytest.mark.parametrize("name", ["compact", "rrdbnet x2"])
def test_a_pair_without_a_record_is_tried_out(build: Callable[[str], LoadedModel], out: Path, name: str):
    """As the releases of realesrgan-ncnn-vulkan come."""
    model = build(name)
    export_proved(model, out / "m.param", OnnxSettings())
    record_path(out / "m.param").unlink()
    upscaler = open_engine_file(out / "m.param", CPU).upscaler
    assert upscaler.spec.scale == model.facts.scale
    assert upscaler.spec.input_channels == 3
    picture = noise(44, 48)
    exact = upscaler.spec.halo.exact
    result = upscale(picture, upscaler, TileSettings(size=32))
    assert (result - model.descriptor(picture)).abs().max() < (1e-4 if exact else 0.5 / 255)


@needs_ncnn
def test_names_of_the_blobs_are_read_from_the_file(build: Callable[[str], LoadedModel], out: Path):
    """As pnnx names them."""
    export_proved(build("compact"), out / "m.param", OnnxSettings())
    record_path(out / "m.param").unlink()
    text = (out / "m.param").read_text().replace(" data", " in0").replace(" output", " out0")
    (out / "m.param").write_text(text)
    graph = read_param(out / "m.param")
    assert (graph.input, graph.output, graph.channels, graph.values_per_pixel) == ("in0", "out0", 3, 12)
    assert open_engine_file(out / "m.param", CPU).upscaler(noise(8, 9)).shape == (1, 3, 16, 18)


@needs_ncnn
@pytest.mark.parametrize("name", ["m.param", "m.bin"])
def test_a_flipped_byte_is_noticed(build: Callable[[str], LoadedModel], out: Path, name: str):
    export_proved(build("compact"), out / "m.param", OnnxSettings())
    content = bytearray((out / name).read_bytes())
    content[-20] ^= 1
    (out / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} has changed since it was exported"):
        open_engine_file(out / "m.param", CPU)


@needs_ncnn
def test_what_cannot_be_run_is_a_sentence(build: Callable[[str], LoadedModel], out: Path):
    export_proved(build("compact"), out / "m.param", OnnxSettings())
    with pytest.raises(InputError, match="already exists"):
        export_proved(build("compact"), out / "m.param", OnnxSettings())
    export_proved(build("compact"), out / "m.param", OnnxSettings(), overwrite=True)
    record_path(out / "m.param").write_text("{}")
    with pytest.raises(InputError, match="not the record"):
        open_engine_file(out / "m.param", CPU)
    record_path(out / "m.param").unlink()
    shutil.move(out / "m.bin", out / "elsewhere.bin")
    with pytest.raises(InputError, match=r"no file .*m\.bin"):
        open_engine_file(out / "m.param", CPU)
    shutil.move(out / "elsewhere.bin", out / "m.bin")
    (out / "m.param").write_text("7767517\n")
    with pytest.raises(InputError, match="not the graph"):
        open_engine_file(out / "m.param", CPU)
    with pytest.raises(InputError, match=r"\.onnx or \.param"):
        export_proved(build("compact"), out / "m.engine", OnnxSettings())


class Doubled(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x) * 1.001


@needs_ncnn
def test_a_result_over_the_bar_is_refused_and_not_written(
    build: Callable[[str], LoadedModel], out: Path, monkeypatch: pytest.MonkeyPatch
):
    fuse = ncnn_engine.fuse_for_export
    monkeypatch.setattr(ncnn_engine, "fuse_for_export", lambda network: Doubled(fuse(network)))
    with pytest.raises(InputError, match=r"compact is not exported: the architecture .*Compact .*differ.*1e-04"):
        export_proved(build("compact"), out / "m.param", OnnxSettings())
    assert names(out) == []
    export_proved(build("compact"), out / "m.param", OnnxSettings(half=True))


@needs_ncnn
@pytest.mark.parametrize("checks", [0, 3])
def test_a_cancelled_export_leaves_nothing(build: Callable[[str], LoadedModel], out: Path, checks: int):
    with pytest.raises(Cancelled):
        export_proved(build("compact"), out / "m.param", OnnxSettings(), Recorder(checks))
    assert names(out) == []


@needs_onnx
def test_a_file_for_one_size_is_proved_at_that_size_and_not_run_by_tiles(
    build: Callable[[str], LoadedModel], out: Path
):
    export_proved(build("compact"), out / "m.onnx", OnnxSettings(dynamic=False, tile=40))
    assert json.loads(record_path(out / "m.onnx").read_text())["tile"] == 40
    with pytest.raises(InputError, match="takes only pictures of 40x40 pixels"):
        open_engine_file(out / "m.onnx", CPU)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_are_drawn_for_every_model(channels: int):
    pictures = drawn_pictures(Size(20, 16), channels)
    assert len(pictures) >= 5
    assert all(picture.shape == (1, channels, 16, 20) for picture in pictures)
    assert all(0 <= float(picture.min()) <= float(picture.max()) <= 1 for picture in pictures)
    assert any(float(picture.std()) > 0.1 for picture in pictures)


# -- pnnx, for what our own writer does not know ----------------------------------------------------------------------


@needs_pnnx
def test_pnnx_converts_what_is_not_known_here(
    build: Callable[[str], LoadedModel], out: Path, monkeypatch: pytest.MonkeyPatch
):
    """Our writer is made to refuse a network that it does know, because pnnx gets real networks of Spandrel."""

    def refuse(*_: object, **__: object) -> None:
        raise ncnn_engine.NotWritable("the layer Something")

    monkeypatch.setattr(ncnn_engine, "ncnn_files", refuse)
    model = build("compact")
    export_proved(model, out / "m.param", OnnxSettings())
    assert "in0" in (out / "m.param").read_text()
    picture = noise(20, 30)
    assert (open_engine_file(out / "m.param", CPU).upscaler(picture) - model.descriptor(picture)).abs().max() < 1e-4


@needs_ncnn
def test_a_pnnx_that_fails_silently_is_noticed(
    build: Callable[[str], LoadedModel], out: Path, monkeypatch: pytest.MonkeyPatch
):
    model = build("compact")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(EXEC_PATH="/bin/true"))
    with pytest.raises(EngineUnusable, match=r"Compact needs a thing.*pnnx failed on it \(it wrote no files\)"):
        pnnx_convert.convert_with_pnnx(model, out / "m.param", "a thing", Progress())


def test_without_pnnx_it_is_named(build: Callable[[str], LoadedModel], out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineUnusable, match="pip install pnnx"):
        pnnx_convert.convert_with_pnnx(build("compact"), out / "m.param", "a thing", Progress())


@needs_ncnn
def test_a_missing_package_is_named(build: Callable[[str], LoadedModel], out: Path, monkeypatch: pytest.MonkeyPatch):
    export_proved(build("compact"), out / "m.param", OnnxSettings())
    monkeypatch.setattr(ncnn_engine, "unusable", lambda: "ncnn is not installed; pip install ncnn")
    assert file_module(out / "m.param").unusable() is not None
    with pytest.raises(InputError, match=r"m\.param cannot be run, .*: ncnn is not installed; pip install ncnn\."):
        open_engine_file(out / "m.param", CPU)
    with pytest.raises(InputError, match="compact is not exported: ncnn is not installed"):
        export_model(build("compact"), out / "n.param", OnnxSettings(), drawn_pictures)
