"""Compares what an engine computes with what PyTorch computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch

from ...model_loader.loaded import LoadedModel
from ..types import Size
from ..upscaler import Upscaler
from .influence import sample_strip
from .plan import EXACT_BAR
from .registry import EngineUnusable
from .spec import Descriptor, private_copy
from .streamed import WIDTH, streamed, streamed_height, streams

HALF_BAR = 5e-3
"""The same for half precision, on real pictures."""

SAMPLE_SIDE = 48


@dataclass(frozen=True)
class Difference:
    """Between two results, as parts of 1."""

    largest: float
    mean: float


def difference(
    run: Callable[[torch.Tensor], torch.Tensor],
    model: LoadedModel,
    pictures: Iterable[torch.Tensor],
    bar: float = EXACT_BAR,
) -> Difference:
    """Between an engine, which ``run`` calls, and PyTorch, over pictures (B, C, H, W) that meet the model's size rule.

    PyTorch computes in single precision, and in double where the two are further apart than ``bar``, so that its own
    rounding does not count.
    """
    exact: Descriptor | None = None
    largest, total, count = 0.0, 0.0, 0
    for picture in pictures:
        result = run(picture).cpu()
        change = (result - _reference(model.descriptor, picture)).abs()
        if not change.max() <= bar:
            exact = exact or private_copy(model.descriptor, torch.float64)
            change = (result - _reference(exact, picture)).abs()
        # NaN is larger than any bar.
        largest = max(largest, float(torch.nan_to_num(change, nan=torch.inf).max()))
        total, count = total + float(change.double().sum()), count + change.numel()
    return Difference(largest, total / max(count, 1))


def _reference(descriptor: Descriptor, picture: torch.Tensor) -> torch.Tensor:
    """What PyTorch computes, wherever the network is and in its precision; on the CPU."""
    weights = next(descriptor.model.parameters())
    with torch.inference_mode():
        return descriptor(picture.to(weights.device, weights.dtype, copy=True)).float().clamp(0, 1).cpu()


def verify(upscaler: Upscaler, model: LoadedModel, *, half: bool) -> Difference:
    """A quick trial on drawn texture, edges and grain, row by row as well where the engine streams. Raises
    ``EngineUnusable`` if the engine computes something else; in half precision grain may differ more than real pictures
    do, so the bar is ten times as high there."""
    rule, channels = upscaler.spec.size_rule, model.facts.input_channels
    size = rule.padded(Size(SAMPLE_SIDE, SAMPLE_SIDE))
    bar = 10 * HALF_BAR if half else EXACT_BAR
    found = difference(upscaler, model, [sample_strip(size.height, size.width, channels)], bar)
    _refuse(found, bar)
    if streams(upscaler):
        picture = sample_strip(streamed_height(upscaler), WIDTH, channels)[:1]
        _refuse(difference(partial(streamed, upscaler), model, [picture], bar), bar)
    return found


def _refuse(found: Difference, bar: float) -> None:
    if found.largest > bar:
        raise EngineUnusable(
            f"its result there differs by {found.largest:.1e}, and {bar:.0e} is allowed; please report the model"
        )
