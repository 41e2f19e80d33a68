"""Sharpens a picture, or adds the fine detail of another one to it, without halos.

An unsharp mask whose result is kept within the local range of the base picture, with separate treatment of ink
lines and flat paint (``lines``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..progress import Progress
from .colour import luma
from .filters import gaussian, local_maximum, local_minimum
from .lines import STEPS, find_structure, steepen
from .validate import check_alpha, check_picture

RANGES = {
    "amount": (0.0, 5.0),
    "radius": (0.1, 100.0),
    "threshold": (0.0, 1.0),
    "halo_limit": (0.0, 1.0),
    "protect_lines": (0.0, 1.0),
}
FULLY_ACTED = 1 / 64
"""Change, in picture values (4 levels of 255), from which ``acted`` is 1."""


@dataclass(frozen=True, kw_only=True)
class SharpenSettings:
    """How ``sharpen_blend`` sharpens.

    amount: 0 to 5. Strength; with a detail picture, 1 replaces the base's high frequencies by the detail's.
    radius: 0.1 to 100 pixels. Standard deviation of the Gaussian that separates high from low frequencies.
    threshold: 0 to 1, picture values. High frequencies weaker than this are left alone, stronger ones are
        reduced by it (soft threshold).
    halo_limit: 0 to 1, picture values. How far a pixel may leave the range of the base picture in the square
        of ceil(radius) pixels around it: 0 is no overshoot at all, 1 is no limit.
    luma_only: change the BT.601 luma alone, by the same step in R, G and B.
    protect_lines: 0 to 1. At 1, dark lines become steeper within their own range and keep width and darkness,
        and flat paint is not sharpened; between, the two results are mixed.

    Raises InputError for a value out of its range.
    """

    amount: float = 0.5
    radius: float = 1.5
    threshold: float = 0.0
    halo_limit: float = 0.0
    luma_only: bool = True
    protect_lines: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value: float = getattr(self, name)
            if not low <= value <= high:
                unit = " pixels" if name == "radius" else ""
                raise InputError(f"{name} is {value:g}{unit}; choose a value from {low:g} to {high:g}{unit}.")


def sharpen_blend(
    base: Tensor,
    settings: SharpenSettings,
    detail: Tensor | None = None,
    mask: Tensor | None = None,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Sharpen ``base`` (B, C, H, W), grey or RGB, and report where that changed it.

    With ``high(x) = x - gaussian(x, radius)`` the change is ``amount * high(base)`` (an unsharp mask), or with a
    ``detail`` picture of the same size ``amount * (high(detail) - high(base))``; the soft threshold applies to the
    factor after ``amount``. It is then limited in this order: in luma (``luma_only``) and in each channel to the
    local range of the base widened by ``halo_limit``, and to 0..1. The range is taken over ceil(radius) pixels
    because that is how far an edge blurred by ``radius`` has to move its values to become steep; one pixel (3x3)
    would hold back all but the finest edges. Equal steps in R, G and B keep the chroma exactly, except where a
    channel meets its own limit.

    ``protect_lines`` mixes in another change. On dark lines up to about 8 * radius pixels wide: steeper slopes
    that turn about their half-depth point, between the line's own darkest value and the paint beside it
    (``lines.steepen``). The width at half depth stays within a quarter of a pixel where the line is blurred by up to
    about 1.5 * radius, the darkness stays, and no halo can appear; ``detail`` has no effect there. Elsewhere: the
    change above, times 1 on edges and 0 in flat paint and its grain.

    ``mask`` (B, 1, H, W), 0 to 1, scales the limited change. A ``detail`` or ``mask`` with batch 1 serves the
    whole batch.

    ``progress`` is called at several steps of each picture, and may stop the work between them.

    Returns the picture (float32, 0 to 1, B, C, H, W) and ``acted`` (B, 1, H, W): 0 where nothing changed, rising
    in proportion to the largest change of any channel, 1 from 1/64 (4 levels of 255) on.

    Raises InputError for an invalid picture, or for a detail or mask whose size or batch does not match.
    """
    check_picture(base, "base")
    if detail is not None:
        check_picture(detail, "detail")
        _check_match(base, detail)
    if mask is not None:
        check_alpha(mask, base, "mask")
    result = torch.empty_like(base, dtype=torch.float32, memory_format=torch.contiguous_format)
    acted = torch.empty_like(result[:, :1])
    progress = progress or Progress()
    progress.begin(base.shape[0] * _steps(settings))
    for i in range(base.shape[0]):  # one at a time: the intermediate planes of a long batch would not fit
        picture = base[i : i + 1].float().clamp(0.0, 1.0)
        sharpened = _sharpen(picture, settings, _sample(detail, i, picture), progress)
        weight = _sample(mask, i, picture)
        if weight is not None:
            sharpened = _mix(picture, sharpened, weight.clamp(0.0, 1.0))
        result[i : i + 1] = sharpened
        acted[i : i + 1] = ((sharpened - picture).abs().amax(1, keepdim=True) / FULLY_ACTED).clamp_max(1.0)
    return result, acted


def _steps(settings: SharpenSettings) -> int:
    """Of one picture."""
    if settings.amount == 0.0:
        return 0
    return 2 + (2 * STEPS if settings.protect_lines > 0.0 else 0)


def _check_match(base: Tensor, detail: Tensor) -> None:
    batch, channels, height, width = base.shape
    if detail.shape[-2:] != base.shape[-2:]:
        raise InputError(
            f"The detail is {detail.shape[3]}x{detail.shape[2]} but the base is {width}x{height}; "
            "bring them to one size first."
        )
    if detail.shape[1] != channels:
        kinds = {1: "grey (1 channel)", 3: "in colour (3 channels)"}
        raise InputError(
            f"The detail is {kinds[detail.shape[1]]} but the base is {kinds[channels]}; "
            "give both in colour or both grey."
        )
    if detail.shape[0] not in (1, batch):
        raise InputError(
            f"The detail is a batch of {detail.shape[0]} but the base is one of {batch}; give one detail for each "
            "or one for all."
        )


def _sample(batch: Tensor | None, index: int, like: Tensor) -> Tensor | None:
    """One sample of a batch, of a single picture for all, or of None, as float32 on the device of ``like``."""
    if batch is None:
        return None
    start = index if batch.shape[0] > 1 else 0
    return batch[start : start + 1].to(like.device, torch.float32)


def _sharpen(picture: Tensor, settings: SharpenSettings, detail: Tensor | None, progress: Progress) -> Tensor:
    """The limited result for one float32 sample (1, C, H, W)."""
    if settings.amount == 0.0:
        return picture

    def step_done() -> None:
        progress.check()
        progress.advance()

    in_luma = settings.luma_only and picture.shape[1] == 3
    planes = luma(picture) if in_luma else picture
    other = luma(detail) if in_luma and detail is not None else detail
    change = _change(planes, other, settings)
    step_done()
    if settings.protect_lines > 0.0:
        change = _protect(luma(picture), planes, change, settings, step_done)
    if in_luma:
        change = _limit(planes, change, settings) - planes
    result = _limit(picture, change, settings)
    step_done()
    return result


def _change(planes: Tensor, detail: Tensor | None, settings: SharpenSettings) -> Tensor:
    """What unlimited sharpening adds."""
    source = planes if detail is None else detail - planes
    high = source - gaussian(source, settings.radius)
    if settings.threshold > 0.0:
        high = high.sign() * (high.abs() - settings.threshold).clamp_min(0.0)
    return settings.amount * high


def _protect(
    luma_plane: Tensor, planes: Tensor, change: Tensor, settings: SharpenSettings, step_done: Callable[[], None]
) -> Tensor:
    """``change`` with lines steepened in place and flat paint left alone, as far as ``protect_lines`` asks."""
    found = find_structure(luma_plane, settings.radius)
    gain = 1.0 + 2.0 * settings.amount
    steeper = steepen(planes.transpose(0, 1), settings.radius, gain, found.grain, step_done).transpose(0, 1)
    protected = torch.lerp(change * found.edges, steeper - planes, found.lines)
    return torch.lerp(change, protected, settings.protect_lines)


def _limit(base: Tensor, change: Tensor, settings: SharpenSettings) -> Tensor:
    """``base + change`` within the local range of ``base`` widened by ``halo_limit``, and within 0..1."""
    result = base + change
    if settings.halo_limit < 1.0:
        reach = math.ceil(settings.radius)
        low = local_minimum(base, reach) - settings.halo_limit
        high = local_maximum(base, reach) + settings.halo_limit
        result = torch.minimum(torch.maximum(result, low), high)
    return result.clamp(0.0, 1.0)


def _mix(picture: Tensor, sharpened: Tensor, weight: Tensor) -> Tensor:
    """From ``picture`` at weight 0 to ``sharpened`` at 1, never outside the two, not even by a rounding error."""
    mixed = torch.lerp(picture, sharpened, weight)
    return mixed.clamp(torch.minimum(picture, sharpened), torch.maximum(picture, sharpened))
