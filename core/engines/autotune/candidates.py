"""The ways in which PyTorch may run a model on a device, for the measured plan to choose from."""

from __future__ import annotations

from dataclasses import replace

import torch

from ....model_loader.precision import Precision, may_gain_from_half
from ..plan import Candidate, EngineRequest, RunPlan
from ..pytorch.eager import EagerUpscaler, default_plan, usable_dtype
from ..pytorch.half_check import is_unfit
from .timing import STREAM_WIDTH

STREAM_PIXELS = (12_288, 49_152)
CPU_TILES = (192, 256)
ACCELERATOR_TILES = ((512, 1), (1024, 1), (256, 4))
"""Side of a tile, context included, and tiles in one forward."""


def pytorch_candidates(request: EngineRequest) -> list[Candidate]:
    """The default first; on the CPU other portions and the other memory layout, on an accelerator other tiles, and
    single precision where half of it is free to be chosen."""
    model, device, precision = request.model, request.device, request.precision
    dtype, _ = usable_dtype(precision, model, device)
    default = default_plan(model.descriptor, device, dtype)
    if device.type != "cpu":
        plans = [default, *(replace(default, max_tile_pixels=s * s, batch_size=n) for s, n in ACCELERATOR_TILES)]
    elif EagerUpscaler(model, device, precision).stream_height(STREAM_WIDTH):
        plans = [default, *(replace(default, stream_min_pixels=pixels) for pixels in STREAM_PIXELS)]
    else:
        default = replace(default, stream_min_pixels=0)
        plans = [default, *(replace(default, max_tile_pixels=side * side) for side in CPU_TILES)]
    plans.append(replace(default, channels_last=False))
    found = [_candidate(request, plan, dtype) for plan in plans]
    if precision is Precision.AUTO and dtype != torch.float32:
        found.append(_candidate(replace(request, precision=Precision.FP32), default, torch.float32))
    half = may_gain_from_half(model.facts, device)
    if precision is Precision.AUTO and half and not is_unfit(model.facts.sha256, half, device):
        found.append(_candidate(request, replace(default, stream_min_pixels=0), half))
    return found


def _candidate(request: EngineRequest, plan: RunPlan, dtype: torch.dtype) -> Candidate:
    plan = replace(plan, dtype=str(dtype).removeprefix("torch."))
    return Candidate(
        name=describe_plan(plan),
        plan=plan,
        open=lambda: EagerUpscaler(request.model, request.device, request.precision, request.place, plan),
        half=dtype != torch.float32,
    )


def describe_plan(plan: RunPlan) -> str:
    """A plan in a few words."""
    if plan.stream_min_pixels:
        portion = f"rows of {plan.stream_min_pixels:,} pixels at a time"
    else:
        side = round(plan.max_tile_pixels**0.5)
        portion = f"tiles of {side}x{side}" + (f", {plan.batch_size} at a time" if plan.batch_size > 1 else "")
    layout = "channels last" if plan.channels_last else "channels first"
    return f"{plan.engine}, {portion}, {plan.dtype}, {layout}"
