"""The picture nearest to an enlarged one that, reduced to its source's size, is the source.

Iterative back-projection (Irani and Peleg, "Improving resolution by image registration", CVGIP 53, 1991): what the
reduced result differs from the source is enlarged and taken off, again and again. Detail finer than a source pixel,
which the source says nothing about, stays. Between the rounds every pixel is held within the range of the source around
it, so that nothing rings more than the source did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import InputError
from ..progress import Progress
from ..types import Size
from .canvas import inside
from .crop_resize import resize_part
from .filters import gaussian, local_maximum, local_minimum
from .fit import FitPlan
from .register import Found, registered
from .resize import resize
from .tiling import Edge
from .validate import check_picture

LEAST_SIDE = 16
"""Source pixels; too few to tell a shift or a colour from the motif below that."""
COARSEST = 64.0
ROUNDS = 40
"""At most; where a round gains less than ``LEAST_GAIN`` of the error, none follows."""
LEAST_GAIN = 0.01
RIGHT = 1.2 / 255
"""Root mean square error at which the picture is the source, 46.5 dB; nearer than that, edges begin to show a ripple
that cancels the one of the filter that reduces."""
ENOUGH = 1.43 / 255
"""The same for a picture that comes in, 45 dB: it is handed back as it is."""
STUCK = 1.5 / 255
"""Difference of a source pixel that the limits keep from its source: in texture, where they are widened."""
REACH = 1
"""Source pixels around a pixel whose range holds it."""
BEYOND = 0.03
"""Share of that range by which a pixel that was beyond it may stay so: lines finer than a source pixel."""


@dataclass(frozen=True, kw_only=True)
class LockSettings:
    """``strength`` 0 (nothing) to 1 (the source exactly). ``coarser_than``: source pixels; only differences over larger
    distances are taken off, 0 for all. ``register``: whether a shift of up to two source pixels and a colour that moved
    everywhere are looked for and taken off first, as other programs make them.

    Raises ``InputError`` for a value out of its range.
    """

    strength: float = 1.0
    coarser_than: float = 0.0
    register: bool = True

    def __post_init__(self) -> None:
        for name, most in (("strength", 1.0), ("coarser_than", COARSEST)):
            value: float = getattr(self, name)
            if not 0 <= value <= most:
                raise InputError(f"{name} is {value:g}; choose a value from 0 to {most:g}.")


@dataclass(frozen=True)
class Locked:
    """``picture`` (B, C, H, W), float32, 0 to 1. ``before`` and ``after``: PSNR in dB of each picture, reduced to its
    source's size, to the source; infinity if they are equal. ``found``: what was taken off each before."""

    picture: Tensor
    before: tuple[float, ...]
    after: tuple[float, ...]
    found: tuple[Found, ...]

    @property
    def note(self) -> str:
        """The figures in words, means over the batch."""
        before, after = (_decibels(figures) for figures in (self.before, self.after))
        return f"reduced to the source's size it agrees with the source to {after}, and did to {before}"


def fidelity_lock(
    result: Tensor, source: Tensor, settings: LockSettings | None = None, progress: Progress | None = None
) -> Locked:
    """Locks each enlarged picture (B, C, H, W) to its source (B or 1, C, h, w), RGB or grey, 0 to 1.

    The sizes may have any ratio of at least 1 as long as the aspect is the same within a source pixel. Alpha is not
    looked at: hand over colours that are continued under transparent pixels (``alpha.bleed``), and keep the alpha.

    Raises ``InputError`` with the figure for a result that is smaller, of another shape, shifted by more than two
    source pixels or of something else, and for a source under 16 pixels a side.
    """
    settings, progress = settings or LockSettings(), progress or Progress()
    check_sizes(result, source)
    progress.begin(len(result) * 2 * ROUNDS, "rounds")
    locked = torch.empty_like(result, dtype=torch.float32, memory_format=torch.contiguous_format)
    before: list[float] = []
    after: list[float] = []
    found: list[Found] = []
    for index in range(len(result)):
        one = result[index : index + 1].float().clamp(0, 1)
        small = source[index % len(source)][None].to(one.device, torch.float32).clamp(0, 1)
        before.append(_psnr(small - _reduced(one, small)))
        one, taken = registered(one, small) if settings.register and settings.strength else (one, Found())
        one = _locked(one, small, settings, progress)
        locked[index : index + 1] = one
        after.append(_psnr(small - _reduced(one, small)))
        found.append(taken)
    return Locked(locked, tuple(before), tuple(after), tuple(found))


def lock_fitted(canvas: Tensor, source: Tensor, plan: FitPlan | None, strength: float, progress: Progress) -> str:
    """Locks the picture on its ``canvas`` (B, C, H, W), in place, to the part of the source that ``plan`` shows; None
    is the whole. What was made smaller than its source has nothing to be locked. Returns a note."""
    if plan is None:
        place, part = canvas, source
    else:
        box, place = plan.source_box, inside(canvas, plan.placed)
        size = Size(max(1, round(box.width)), max(1, round(box.height)))
        part = resize_part(source, box, size, Edge.PLAIN)
    if place.shape[2] < part.shape[2] or place.shape[3] < part.shape[3] or min(part.shape[2:]) < LEAST_SIDE:
        return "not locked to its source: there is too little of it, or it was made smaller"
    if canvas.shape[1] != part.shape[1]:
        part = part.expand(-1, canvas.shape[1], -1, -1)
    stretched = abs(place.shape[3] / part.shape[3] - place.shape[2] / part.shape[2]) * min(part.shape[2:]) > 2
    if stretched:
        part = resize(
            part, Size(part.shape[3], max(LEAST_SIDE, round(place.shape[2] * part.shape[3] / place.shape[3])))
        )
    locked = fidelity_lock(place, part, LockSettings(strength=strength, register=False), progress)
    place.copy_(locked.picture)
    return locked.note


def check_sizes(result: Tensor, source: Tensor) -> None:
    """Raises ``InputError`` unless ``result`` can be an enlargement of ``source`` that can be locked to it."""
    check_picture(source, "source")
    check_picture(result, "result")
    small, large = (Size(each.shape[3], each.shape[2]) for each in (source, result))
    if len(source) not in (1, len(result)):
        raise InputError(
            f"There are {len(source)} sources for {len(result)} results; give one for each, or one for all."
        )
    if source.shape[1] != result.shape[1]:
        raise InputError(
            f"The source has {source.shape[1]} channels and the result {result.shape[1]}; give both in colour or grey."
        )
    if min(small) < LEAST_SIDE:
        raise InputError(f"The source of {small} is too small to lock to; it takes {LEAST_SIDE} pixels a side.")
    if large.width < small.width or large.height < small.height:
        raise InputError(f"The result of {large} is smaller than its source of {small}; give an enlargement of it.")
    wide, high = large.width / small.width, large.height / small.height
    if abs(wide - high) * min(small) > 2 * max(wide, high):
        raise InputError(
            f"The result of {large} has different proportions from its source of {small}; lock before cropping or "
            "padding."
        )


def _locked(result: Tensor, source: Tensor, settings: LockSettings, progress: Progress) -> Tensor:
    """One picture (1, C, H, W)."""
    missing = source - _reduced(result, source)
    if not settings.strength or _error(missing) <= ENOUGH:
        progress.advance(2 * ROUNDS)
        return result
    wanted = settings.strength * missing
    if settings.coarser_than:
        wanted = gaussian(wanted, settings.coarser_than / 2)
    target = source - missing + wanted
    low, high = _limits(source, result, kept=1.0 if settings.coarser_than else 1 - settings.strength)
    # What is coarse makes no ripple.
    right = RIGHT / 8 if settings.coarser_than else RIGHT
    locked = _projected(result, target, (low, high), right, progress)
    missing = target - _reduced(locked, target)
    if _error(missing) <= min(ENOUGH, 1.2 * right):
        progress.advance(ROUNDS)
        return locked
    return _projected(locked, target, _widened(source, low, high, missing), right, progress)


def _widened(source: Tensor, low: Tensor, high: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
    """The limits, and in texture, where they let nothing agree, the range of twice the surroundings."""
    stuck = local_maximum((missing.abs().amax(dim=1, keepdim=True) > STUCK).to(source), REACH)
    least, most = local_minimum(source, 2 * REACH), local_maximum(source, 2 * REACH)
    spare = BEYOND * (most - least)
    least, most = torch.where(stuck > 0, least - spare, 1.0), torch.where(stuck > 0, most + spare, 0.0)
    size = low.shape[-2:]
    least, most = (interpolate(each.clamp(0, 1), size=size, mode="nearest") for each in (least, most))
    return torch.minimum(low, least), torch.maximum(high, most)


def _projected(
    result: Tensor, target: Tensor, limits: tuple[Tensor, Tensor], right: float, progress: Progress
) -> Tensor:
    """The rounds: nearer and nearer to what reduces to ``target``, within the limits."""
    low, high = limits
    size = Size(result.shape[3], result.shape[2])
    result = torch.minimum(torch.maximum(result, low), high)
    missing = target - _reduced(result, target)
    error, rounds = _error(missing), 0
    while rounds < ROUNDS and error > right:
        progress.check()
        # Not Lanczos, which rings.
        nearer = interpolate(missing, size=(size.height, size.width), mode="bilinear").add_(result)
        nearer = torch.minimum(torch.maximum(nearer, low, out=nearer), high, out=nearer)
        missing = target - _reduced(nearer, target)
        before, error = error, _error(missing)
        if error > (1 - LEAST_GAIN) * before:
            break
        result, rounds = nearer, rounds + 1
        progress.advance()
    progress.advance(ROUNDS - rounds)
    return result


def _limits(source: Tensor, result: Tensor, kept: float) -> tuple[Tensor, Tensor]:
    """The least and the most that each pixel of ``result`` may become: the range of the source around it, and a little
    more for a pixel that was beyond it; and of the rest that it was beyond, the share that is ``kept``."""
    low, high = local_minimum(source, REACH), local_maximum(source, REACH)
    beyond = BEYOND * (high - low)
    size = result.shape[-2:]
    low, high, beyond = (interpolate(each, size=size, mode="nearest") for each in (low, high, beyond))
    under, over = (low - result).clamp_(min=0), (result - high).clamp_(min=0)
    low -= torch.minimum(under, beyond).lerp_(under, kept)
    high += torch.minimum(over, beyond).lerp_(over, kept)
    return low.clamp_(0, 1), high.clamp_(0, 1)


def _reduced(result: Tensor, source: Tensor) -> Tensor:
    return resize(result, Size(source.shape[3], source.shape[2]))


def _error(missing: Tensor) -> float:
    return math.sqrt(float(missing.square().mean()))


def _psnr(missing: Tensor) -> float:
    error = _error(missing)
    return -20 * math.log10(error) if error else math.inf


def _decibels(figures: tuple[float, ...]) -> str:
    mean = sum(figures) / len(figures)
    return f"{mean:.1f} dB" if math.isfinite(mean) else "every digit"
