"""A compiled model computes what the model computes, and PyTorch takes over where it cannot be compiled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from backplate.core.engines import torch_compile as compiled_engine
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.engines.registry import Engine, open_upscaler
from backplate.core.engines.shape_counter import RepeatedShapes
from backplate.core.engines.torch_compile import CompiledNetwork, CompiledSettings, CompiledUpscaler
from backplate.core.progress import Cancelled
from backplate.core.tiled.pipeline import TileSettings, upscale
from backplate.model_loader.loaded import LoadedModel
from recorder import Recorder
from torch import nn

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(compiled_engine._missing("cpu") is not None, reason="no C++ compiler")


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(5))


@needs_compiler
def test_it_computes_what_the_model_computes_at_every_size(build: Callable[[str], LoadedModel]):
    model, progress = build("compact"), Recorder()
    upscaler = open_upscaler(model, CPU, engine=Engine.COMPILED, progress=progress)
    assert isinstance(upscaler, CompiledUpscaler)
    assert progress.labels == ["compiling"]
    assert progress.notes == []
    picture = noise(1, 3, 90, 71)
    # Compiled once, for every size.
    counters = torch._dynamo.utils.counters["stats"]
    before = counters["unique_graphs"]
    assert before > 0
    assert (upscale(picture, upscaler, TileSettings(size=32)) - model.descriptor(picture)).abs().max() < 1e-4
    assert upscaler(noise(3, 3, 20, 20)).shape == (3, 3, 40, 40)
    assert counters["unique_graphs"] == before
    with torch.inference_mode():
        kept = upscaler(picture[..., :40])
        copy = kept.clone()
        upscaler(1 - picture[..., :40])
    assert torch.equal(kept, copy)


def fallback(model: LoadedModel) -> str:
    progress = Recorder()
    upscaler = open_upscaler(model, CPU, engine=Engine.COMPILED, progress=progress)
    assert type(upscaler) is EagerUpscaler
    (note,) = progress.notes
    assert note.startswith("compact runs in PyTorch instead of compiled: ")
    return note


def test_without_a_compiler_pytorch_takes_over(build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "needs a C++ compiler" in fallback(build("compact"))


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., object]], None]:
    """Puts a function in the place of ``torch.compile``."""

    def put(compile_it: Callable[..., object]) -> None:
        monkeypatch.setattr(compiled_engine, "_missing", lambda device_type: None)
        monkeypatch.setattr(torch, "compile", compile_it)

    return put


def test_a_compiler_that_fails_gives_its_reason(
    build: Callable[[str], LoadedModel], backend: Callable[[Callable[..., object]], None]
):
    def fail(batch: torch.Tensor) -> torch.Tensor:
        try:
            raise FileNotFoundError("no such compiler: g++\nlong story")
        except FileNotFoundError as error:
            raise RuntimeError("backend failed") from error

    backend(lambda model, **_: fail)
    assert fallback(build("compact")).endswith("torch.compile failed (FileNotFoundError: no such compiler: g++).")


def test_a_device_that_is_full_while_it_is_compiled_for_runs_pytorch(
    build: Callable[[str], LoadedModel], backend: Callable[[Callable[..., object]], None]
):
    def fail(batch: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 108.00 MiB")

    backend(lambda model, **_: fail)
    assert "ran out of memory while compiling" in fallback(build("compact"))


def test_a_compiler_that_computes_something_else_is_not_used(
    build: Callable[[str], LoadedModel], backend: Callable[[Callable[..., object]], None]
):
    backend(lambda model, **_: lambda batch: model(batch) * 1.01)
    assert "differs by" in fallback(build("compact"))


def test_it_can_be_stopped_before_it_begins(
    build: Callable[[str], LoadedModel], backend: Callable[[Callable[..., object]], None]
):
    def stop() -> None:
        raise Cancelled

    backend(lambda model, **_: pytest.fail("compiled all the same"))
    progress = Recorder()
    progress.check = stop
    with pytest.raises(Cancelled):
        open_upscaler(build("compact"), CPU, engine=Engine.COMPILED, progress=progress)


def test_only_shapes_that_come_back_are_compiled(backend: Callable[[Callable[..., object]], None]):
    compiled: list[tuple[int, ...]] = []

    def watch(model: nn.Module, **options: object) -> Callable[[torch.Tensor], torch.Tensor]:
        assert options == {"mode": "reduce-overhead", "dynamic": False}

        def run(batch: torch.Tensor) -> torch.Tensor:
            compiled.append(tuple(batch.shape))
            return model(batch)

        return run

    backend(watch)
    settings = CompiledSettings(mode="reduce-overhead", dynamic=False, most_shapes=1)
    network = CompiledNetwork(nn.Conv2d(3, 3, 1), settings)
    for side in (8, 9, 9, 8, 8, 9):
        network(noise(1, 3, side, side))
    assert compiled == [(1, 3, 9, 9), (1, 3, 9, 9)]


def test_a_shape_that_was_announced_is_picked_at_once():
    shapes = RepeatedShapes(2, expected=(1, 3, 8, 8))
    asked = [(1, 3, 8, 8), (1, 3, 4, 4), (1, 3, 4, 4), (1, 3, 5, 5), (1, 3, 5, 5)]
    assert [shapes.pick(shape) for shape in asked] == [True, False, True, False, False]


@pytest.mark.cuda
def test_graphs_compute_what_the_model_computes(build: Callable[[str], LoadedModel]):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = build("compact")
    upscaler = open_upscaler(model, torch.device("cuda"), engine=Engine.COMPILED)
    pictures = [noise(1, 3, 64, 64), 1 - noise(1, 3, 64, 64), noise(1, 3, 64, 64).flip(3)]
    results = [upscaler(picture) for picture in pictures]
    for picture, result in zip(pictures, results, strict=True):
        assert (result.cpu() - model.descriptor(picture)).abs().max() < 5e-3


def test_other_devices_are_named():
    assert "this is mps" in str(compiled_engine._missing("mps"))
    assert compiled_engine.settings_for(torch.device("cuda")) == CompiledSettings(mode="reduce-overhead", dynamic=False)
    assert SimpleNamespace(**vars(compiled_engine.settings_for(CPU))).dynamic
