"""Models exported to ONNX compute what PyTorch computes; what cannot be exported says so and leaves no file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from backplate.core.engines import worker_process as child
from backplate.core.engines.built_cache import artifact_folder
from backplate.core.engines.onnx import engine as onnx_engine
from backplate.core.engines.onnx import export as onnx_export
from backplate.core.engines.onnx.export import OnnxSettings, export_onnx
from backplate.core.engines.pytorch import half_check as precision_check
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.engines.registry import Engine, EngineRequest, EngineUnusable, open_upscaler
from backplate.core.progress import Cancelled
from backplate.core.tiled.pipeline import TileSettings, upscale
from backplate.model_loader.loaded import LoadedModel
from devices import noise
from recorder import Recorder

CPU = torch.device("cpu")
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are not all installed",
)


@needs_onnx
@pytest.mark.parametrize("name", ["compact", "rrdbnet x2", "span"])
def test_any_size_runs_in_onnx_runtime_as_in_pytorch(build: Callable[[str], LoadedModel], name: str):
    model, progress = build(name), Recorder()
    upscaler = open_upscaler(model, CPU, engine=Engine.ONNXRUNTIME, progress=progress)
    assert progress.notes == []
    assert isinstance(upscaler, onnx_engine.OnnxRuntimeUpscaler)
    assert upscaler.provider == "CPUExecutionProvider"
    for size in ((1, 1), (37, 61)):
        picture = noise(*size)
        expected = model.descriptor(picture)
        for tile in (0, 32):
            result = upscale(picture, upscaler, TileSettings(size=tile))
            exact = upscaler.spec.halo.exact or not tile
            assert (result - expected).abs().max() < (1e-4 if exact else 0.5 / 255)
    batch = torch.cat([noise(12, 16), noise(12, 16).flip(3)])
    assert (upscaler(batch) - model.descriptor(batch)).abs().max() < 1e-4


@needs_onnx
def test_the_exported_model_is_kept_until_a_byte_of_it_changes(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
):
    model, exports = build("compact"), list[Path]()

    def counted(model: LoadedModel, output: Path, *rest: object) -> None:
        exports.append(output)
        export_onnx(model, output, *rest)

    monkeypatch.setattr(onnx_engine, "export_onnx", counted)
    request = EngineRequest(model=model, device=CPU, progress=Recorder())
    onnx_engine.open_model(request)
    onnx_engine.open_model(request)
    assert len(exports) == 1
    (kept,) = artifact_folder().iterdir()
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    onnx_engine.open_model(request)
    assert len(exports) == 2
    assert len(request.progress.notes) == 1
    assert "built again" in request.progress.notes[0]


def children_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@needs_onnx
def test_a_cancelled_export_leaves_no_file_and_no_process(
    build: Callable[[str], LoadedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    processes: list[child.subprocess.Popen[bytes]] = []
    start = child.subprocess.Popen

    def started(*arguments: object, **options: object) -> child.subprocess.Popen[bytes]:
        processes.append(start(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(child.subprocess, "Popen", started)
    model = build("compact")
    before = children_of(tmp_path)
    with pytest.raises(Cancelled):
        export_onnx(model, tmp_path / "model.onnx", progress=Recorder(checks=2))
    assert children_of(tmp_path) == before
    (process,) = processes
    assert process.returncode is not None


CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
RAISE = "raise RuntimeError('aten::roll is not known')"


@needs_onnx
@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize(("script", "said"), [(CRASH, "signal 9"), (RAISE, "RuntimeError: aten::roll is not known")])
def test_an_exporter_that_dies_leaves_no_file_and_pytorch_takes_over(
    build: Callable[[str], LoadedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
):
    monkeypatch.setattr(child, "SCRIPT", script)
    model = build("compact")
    with pytest.raises(EngineUnusable, match=f"the architecture RealESRGAN Compact .*{said}"):
        export_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
    progress = Recorder()
    assert isinstance(open_upscaler(model, CPU, engine=Engine.ONNXRUNTIME, progress=progress), EagerUpscaler)
    assert len(progress.notes) == 1
    assert said in progress.notes[0]


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install onnxruntime" in str(onnx_engine.unusable())
    assert onnx_export.missing_packages() == "onnx and onnxscript not installed; pip install onnx onnxscript"


@needs_onnx
def test_a_package_without_a_provider_for_the_card_is_named():
    with pytest.raises(EngineUnusable, match=r"no provider for cuda.*onnxruntime-gpu"):
        onnx_engine.settings_for(torch.device("cuda"))


def test_half_precision_that_broke_before_is_not_exported_again(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(precision_check, "_unfit", set())
    monkeypatch.setattr("backplate.core.engines.pytorch.eager.choose_dtype", lambda *_: (torch.float16, None))
    progress = Recorder()
    request = EngineRequest(model=build("compact"), device=CPU, progress=progress)
    assert onnx_engine.half_wanted(request)
    precision_check.blacklist_dtype(request.model.facts.sha256, torch.float16, CPU)
    assert not onnx_engine.half_wanted(request)
    (note,) = progress.notes
    assert "broken pictures in float16" in note


def test_a_provider_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch):
    session = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    fake = SimpleNamespace(
        SessionOptions=SimpleNamespace,
        InferenceSession=lambda *_, **__: session,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setattr(onnx_engine, "runtime", lambda: fake)
    settings = onnx_engine.settings_for(torch.device("cuda:1"))
    assert (settings.providers, settings.device) == (("CUDAExecutionProvider",), 1)
    with pytest.raises(EngineUnusable, match="CUDAExecutionProvider did not start"):
        onnx_engine.open_session(b"", settings)


@needs_onnx
def test_content_that_is_no_model_is_refused():
    with pytest.raises(EngineUnusable, match="cannot read"):
        onnx_engine.open_session(b"not a model", onnx_engine.OnnxRuntimeSettings())


@needs_onnx
def test_a_fixed_size_is_a_tile_that_the_model_takes(build: Callable[[str], LoadedModel], tmp_path: Path):
    export_onnx(build("rrdbnet x2"), tmp_path / "m.onnx", OnnxSettings(dynamic=False, tile=34, half=True))
    session = onnx_engine.open_session((tmp_path / "m.onnx").read_bytes(), onnx_engine.OnnxRuntimeSettings())
    assert session.get_inputs()[0].shape == [1, 3, 36, 36]
    assert session.get_outputs()[0].shape == [1, 3, 72, 72]
    assert session.get_inputs()[0].type == "tensor(float)"
