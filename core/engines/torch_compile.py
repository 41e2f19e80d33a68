"""Runs a model through ``torch.compile``: pointwise layers are fused into the loops and kernels of their neighbours.

On the CPU one compilation serves every size. On CUDA each shape that comes back is compiled for itself and recorded as
a CUDA graph (mode ``reduce-overhead``); shapes that come once run as they are.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn

from ...model_loader.loaded import LoadedModel
from ...model_loader.precision import Precision
from ..out_of_memory import is_out_of_memory
from ..types import Size
from ..upscaler import Upscaler
from .fuse import fuse_for_export
from .pytorch.eager import EagerUpscaler, default_plan, usable_dtype
from .registry import EngineRequest, EngineUnusable
from .shape_counter import RepeatedShapes
from .spec import Descriptor, model_spec, suits_channels_last
from .verify import verify

logger = logging.getLogger(__name__)

MOST_SHAPES = 4
"""Shapes that are compiled on CUDA: corners, borders and middle of a picture in tiles. PyTorch gives up at eight."""

UNEQUAL = Size(56, 40)
"""Of the picture that the one compilation for every size is made with."""

_COMPILERS = ("cl",) if sys.platform == "win32" else ("g++", "clang++", "c++")


@dataclass(frozen=True, kw_only=True)
class CompiledSettings:
    """In the terms of ``torch.compile``. ``dynamic``: one compilation for every size; otherwise one for each of at most
    ``most_shapes`` shapes that come back."""

    mode: str = "default"
    dynamic: bool = True
    most_shapes: int = MOST_SHAPES


class CompiledNetwork:
    """A network that no other engine holds, compiled on its first call; see ``CompiledSettings``."""

    def __init__(self, model: nn.Module, settings: CompiledSettings) -> None:
        self.model = model
        self._settings = settings
        self._shapes = RepeatedShapes(settings.most_shapes)
        compiled = torch.compile(model, mode=settings.mode, dynamic=settings.dynamic)
        self._compiled = cast("Callable[[torch.Tensor], torch.Tensor]", compiled)

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, H*scale, W*scale), 0 to 1, in memory that the next call leaves alone."""
        with torch.inference_mode():
            if self._settings.dynamic:
                # One by one: another number of pictures would be compiled anew, and gains nothing on the CPU.
                singles = [self._compiled(batch[index : index + 1]) for index in range(len(batch))]
                return torch.cat(singles).clamp(0, 1)
            run = self._compiled if self._shapes.pick(batch.shape) else self.model
            return run(batch).clamp(0, 1)


class CompiledUpscaler(EagerUpscaler):
    """An ``Upscaler`` that behaves as ``EagerUpscaler`` does on a private copy of the model, compiled."""

    def __init__(
        self, model: LoadedModel, device: torch.device, precision: Precision, settings: CompiledSettings
    ) -> None:
        def place(descriptor: Descriptor, device: torch.device) -> Descriptor:
            weights = next(descriptor.model.parameters())
            network = fuse_for_export(descriptor.model).to(device, weights.dtype)
            if suits_channels_last(network):
                network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            return cast("Descriptor", CompiledNetwork(network, settings))

        plan = replace(
            default_plan(model.descriptor, device, usable_dtype(precision, model, device)[0]),
            engine="compiled",
            stream_min_pixels=0,
        )
        super().__init__(model, device, precision, place, plan)


def unusable() -> str | None:
    """See ``EngineModule``."""
    reasons = [_missing("cpu"), _missing("cuda") if torch.cuda.is_available() else "no CUDA device"]
    return reasons[0] if all(reasons) else None


def open_model(request: EngineRequest) -> Upscaler:
    """See ``EngineModule``. Compiles at once, which takes seconds to a minute, so that nobody waits later."""
    model, device = request.model, request.device
    if reason := _missing(device.type):
        raise EngineUnusable(reason)
    # The halo, known to all engines from here on, is found without compiling for its shapes.
    model_spec(model.facts, model.descriptor, device=device, max_tile_pixels=0)
    request.progress.check()
    request.progress.begin(1, "compiling")
    upscaler = _compiled(request, settings_for(device))
    request.progress.advance()
    if upscaler.note:
        request.progress.note(upscaler.note)
    return upscaler


def settings_for(device: torch.device) -> CompiledSettings:
    """One compilation on the CPU; CUDA graphs on CUDA."""
    return CompiledSettings(mode="reduce-overhead", dynamic=False) if device.type == "cuda" else CompiledSettings()


def _compiled(request: EngineRequest, settings: CompiledSettings) -> CompiledUpscaler:
    try:
        upscaler = CompiledUpscaler(request.model, request.device, request.precision, settings)
        half = upscaler.dtype != torch.float32 or request.precision is Precision.TF32
        if settings.dynamic:
            # Sides that are equal the first time would be taken for always equal.
            size = upscaler.spec.size_rule.padded(UNEQUAL)
            upscaler(torch.zeros(1, upscaler.spec.input_channels, size.height, size.width))
        # On CUDA the second call with a shape is the compiled one.
        for _ in range(1 if settings.dynamic else 2):
            verify(upscaler, request.model, half=half)
    except EngineUnusable:
        raise
    except Exception as error:
        # The parts of the compiler have error types of their own; all that matters is that the model runs without it.
        if is_out_of_memory(error):
            raise EngineUnusable("the device ran out of memory while compiling; free memory there") from error
        raise EngineUnusable(f"torch.compile failed ({_first_line(error)})") from error
    return upscaler


def _missing(device_type: str) -> str | None:
    """What ``torch.compile`` needs for a device and does not find, as a clause."""
    if device_type == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "Triton, which torch.compile needs on CUDA, is not installed; pip install triton (triton-windows)"
        return None
    if device_type != "cpu":
        return f"torch.compile is used on the CPU and CUDA devices, and this is {device_type}"
    named = os.environ.get("CXX", "")
    if any(shutil.which(name) for name in (named, *_COMPILERS) if name):
        return None
    return (
        f"torch.compile needs a C++ compiler on the CPU, and there is no {' or '.join(_COMPILERS)}; install one, or "
        "name it in the variable CXX"
    )


def _first_line(error: BaseException) -> str:
    """Of the innermost reason: the outer ones only say that compiling failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:200]
