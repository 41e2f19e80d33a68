"""Models run as they are, tiled like untiled, and go back as they came."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from backplate.core.engines.influence import peak_bytes
from backplate.core.engines.memory import translated_out_of_memory
from backplate.core.engines.pytorch import eager
from backplate.core.engines.pytorch.eager import EagerUpscaler, _Mode
from backplate.core.errors import OutOfMemory
from backplate.core.media.picture.read import read_picture
from backplate.core.tiled.pipeline import TileSettings, upscale
from backplate.core.types import Size
from backplate.model_loader.loaded import LoadedModel, load_model
from backplate.model_loader.precision import Precision
from devices import noise

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["compact", "rrdbnet", "rrdbnet x2"])
@pytest.mark.parametrize("size", [(1, 1), (1, 64), (64, 1), (33, 65), (90, 75)], ids=str)
def test_tiles_equal_the_model_on_the_whole_picture(
    build: Callable[[str], LoadedModel], name: str, size: tuple[int, int]
):
    model, picture = build(name), noise(*size)
    upscaler = EagerUpscaler(model, CPU)
    expected = model.descriptor(picture)
    exact = upscaler.spec.halo.exact
    for tile in (0, 32, 40):
        result = upscale(picture, upscaler, TileSettings(size=tile))
        assert result.shape == expected.shape
        assert (result - expected).abs().max() < (1e-5 if exact else 0.5 / 255)


@pytest.mark.real_weights
@pytest.mark.parametrize("name", ["realesr-general-x4v3", "realesr-animevideov3"])
def test_no_seams_with_real_weights(real_weights: Callable[[str], Path], shared: Path, name: str):
    """ComfyUI's own node differs by 0.033 to 0.049 here."""
    picture = read_picture(shared / "images/realesrgan/OST_009.png").picture[:, :, 40:240, 60:300]
    model = load_model(real_weights(name))
    upscaler = EagerUpscaler(model, CPU)
    expected = model.descriptor(picture)
    for tile in (0, 64, 100):
        assert (upscale(picture, upscaler, TileSettings(size=tile)) - expected).abs().max() <= 1e-4


def test_the_shared_model_is_neither_cast_nor_moved_nor_changed(build: Callable[[str], LoadedModel]):
    model = build("compact")
    before = {key: value.clone() for key, value in model.descriptor.model.state_dict().items()}
    strides = [p.stride() for p in model.descriptor.model.parameters()]
    for precision in Precision:
        upscale(noise(20, 20), EagerUpscaler(model, CPU, precision))
    after = model.descriptor.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [p.stride() for p in model.descriptor.model.parameters()] == strides


def test_half_precision_is_not_used_on_the_cpu_and_that_is_said(build: Callable[[str], LoadedModel]):
    upscaler = EagerUpscaler(build("compact"), CPU, Precision.FP16)
    assert upscaler.dtype == torch.float32
    assert upscaler.note is not None
    assert "fp16" in upscaler.note


def test_two_upscalers_of_one_model_share_their_copy(build: Callable[[str], LoadedModel]):
    model = build("compact")
    first, second = EagerUpscaler(model, CPU), EagerUpscaler(model, CPU)
    assert first._mode.runner is second._mode.runner
    assert first._mode.runner.model is not model.descriptor.model


def test_a_host_that_takes_weights_off_the_device_is_asked_to_bring_them_back(build: Callable[[str], LoadedModel]):
    """As ComfyUI does when a second model needs the room; ``meta`` stands for where it puts them."""
    model, picture = build("compact"), noise(8, 8)
    upscaler = EagerUpscaler(model, CPU, place=lambda _, __: copy.deepcopy(model.descriptor))
    upscaler._mode.runner.model.to("meta")
    assert torch.allclose(upscaler(picture), model.descriptor(picture), atol=1e-5)


def test_a_host_is_not_asked_again_while_the_weights_are_there(build: Callable[[str], LoadedModel]):
    """Nor under another name of the device, as "cuda" is for what tensors call "cuda:0"."""
    asked: list[torch.device] = []

    def place(descriptor: object, device: torch.device) -> object:
        asked.append(device)
        return descriptor

    upscaler = EagerUpscaler(build("compact"), torch.device("cpu", 0), place=place)
    for _ in range(3):
        upscaler(noise(8, 8))
    assert asked == [CPU]


@pytest.mark.parametrize("where", ["upload", "check", "download", "copy"])
def test_out_of_memory_anywhere_on_the_device_is_a_smaller_tile(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch, where: str
):
    model = build("compact")
    upscaler = EagerUpscaler(model, CPU)
    monkeypatch.setattr(upscaler, "_mode", _Mode(torch.float16, upscaler._mode.runner))
    monkeypatch.setattr(upscaler, "_transfers", Tight(where))
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 108.00 MiB")
    if where == "check":
        real = eager.is_degenerate

        def check(result: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
            if result.shape[-1] > 100:
                raise full
            return real(result, source)

        monkeypatch.setattr(eager, "is_degenerate", check)
    picture = noise(40, 96)
    if where == "copy":
        broken = Raising(upscaler._mode.runner, lambda p: torch.zeros(1, 3, p.shape[2] * 2, p.shape[3] * 2))
        monkeypatch.setattr(upscaler, "_mode", _Mode(torch.float16, broken))
        monkeypatch.setattr(eager, "private_copy", lambda *_, **__: raise_(full))
        monkeypatch.setattr(eager, "_copies", weakref.WeakKeyDictionary())
        with pytest.raises(OutOfMemory, match="CUDA out of memory"):
            upscaler(picture)
        return
    result = upscale(picture, upscaler, TileSettings(size=96))
    assert torch.allclose(result, model.descriptor(picture), atol=1e-5)


def raise_(error: Exception) -> None:
    raise error


class Tight:
    """Copies of a device that is full for wide tiles."""

    def __init__(self, where: str) -> None:
        self.where = where

    def upload(self, picture: torch.Tensor) -> torch.Tensor:
        if self.where == "upload" and picture.shape[-1] > 50:
            raise torch.AcceleratorError("CUDA error: out of memory")
        return picture.clone()

    def download(self, result: torch.Tensor) -> Callable[[], torch.Tensor]:
        if self.where == "download" and result.shape[-1] > 100:
            raise RuntimeError("CUDA error: out of memory (cudaHostAlloc)")
        return lambda: result


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=lambda error: f"{type(error).__name__} {error}"[:40],
)
def test_every_form_of_out_of_memory_is_translated(error: Exception):
    with pytest.raises(OutOfMemory), translated_out_of_memory(CPU):
        raise error


@pytest.mark.parametrize(
    "message", ["[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory", "CUDA out of memory"]
)
def test_out_of_memory_is_told_from_other_errors(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch, message: str
):
    upscaler = EagerUpscaler(build("compact"), CPU)
    error = torch.OutOfMemoryError(message) if "CUDA" in message else RuntimeError(message)

    def fail(picture: torch.Tensor) -> torch.Tensor:
        raise error

    monkeypatch.setattr(upscaler, "_mode", _Mode(torch.float32, Raising(upscaler._mode.runner, fail)))
    with pytest.raises(OutOfMemory):
        upscaler(noise(8, 8))


def test_other_errors_pass_through(build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch):
    upscaler = EagerUpscaler(build("compact"), CPU)

    def fail(picture: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(upscaler, "_mode", _Mode(torch.float32, Raising(upscaler._mode.runner, fail)))
    with pytest.raises(RuntimeError, match="shapes"):
        upscaler(noise(8, 8))


def test_nan_in_half_precision_is_redone_in_single(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    model = build("compact")
    upscaler = EagerUpscaler(model, CPU)
    broken = Raising(upscaler._mode.runner, lambda p: torch.full_like(p, float("nan")))
    monkeypatch.setattr(upscaler, "_mode", _Mode(torch.float16, broken))
    picture = noise(8, 8)
    assert torch.allclose(upscaler(picture), model.descriptor(picture), atol=1e-5)
    assert upscaler.dtype == torch.float32
    assert "fp32" in caplog.text


class Raising:
    """A descriptor whose call is replaced."""

    def __init__(self, runner: object, call: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.model = runner.model  # type: ignore[attr-defined]
        self.call = call

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        return self.call(picture)


def test_tiles_of_a_device_follow_its_memory(build: Callable[[str], LoadedModel]):
    """Known answer: the widest layer of this network has 8 channels, two planes of which are held at once."""
    descriptor = build("compact").descriptor
    single, half = (eager.pass_bytes(descriptor, dtype) for dtype in (torch.float32, torch.float16))
    assert single == pytest.approx(2 * half, rel=0.2)
    sides = [eager.accelerator_pixels(descriptor, memory, torch.float16) ** 0.5 for memory in (10**6, 10**9, 10**12)]
    assert sides[0] == eager.LEAST_ACCELERATOR_SIDE
    assert sides[2] == eager.MOST_ACCELERATOR_SIDE
    assert sides[0] < sides[1] <= sides[2]
    assert all(side % 64 == 0 for side in sides)


@pytest.mark.real_weights
def test_memory_of_a_forward_on_paper_is_that_of_a_real_one(real_weights: Callable[[str], Path]):
    descriptor = load_model(real_weights("realesr-animevideov3")).descriptor
    real = peak_bytes(descriptor, Size(128, 128), 3) / 128**2
    assert eager.pass_bytes(descriptor, torch.float32) == pytest.approx(real, rel=0.1)
