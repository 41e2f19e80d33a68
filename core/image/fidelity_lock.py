"""The picture nearest to an enlarged one that, reduced to its source's size, is the source.

Projection onto the pictures that reduce to the source: what the reduced result misses is enlarged by the transposed
filter and added, again and again (Irani and Peleg, "Improving resolution by image registration", CVGIP 53, 1991). The
rounds converge to the pseudo-inverse, which changes the picture least (Bahat and Michaeli, "Explorable super
resolution", CVPR 2020). Detail finer than a source pixel, which the source says nothing about, stays. In each round
every pixel is held within the range of the source around it, so that nothing rings more than the source did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..progress import Progress
from ..types import Size, size_of
from .canvas import inside
from .crop_resize import resize_part
from .filters import gaussian, local_maximum, local_minimum
from .fit import FitPlan
from .register import Found, registered
from .resize import RowResampler, resize
from .tiling import Edge
from .validate import check_picture

LEAST_SIDE = 16
"""Source pixels; too few to tell a shift or a colour from the motif below that."""
COARSEST = 64.0
ROUNDS = 40
"""At most, for each width of the limits; where a round gains less than ``LEAST_GAIN`` of the error, none follows."""
LEAST_GAIN = 0.01
RIGHT = 10 ** (-50 / 20)
"""Root mean square error at which the picture is the source: 50 dB, four fifths of a level of 255."""
ENOUGH = 10 ** (-49 / 20)
"""The same for a picture that comes in: it is handed back as it is."""
STUCK = 1 / 255
"""Difference of a source pixel that the limits keep from its source: in texture, where they are widened."""
REACH = 1
"""Source pixels around a pixel whose range holds it ..."""
WIDER = (2, 4)
"""... and around texture, where that range lets nothing agree."""
BEYOND, LEAST_BEYOND = 0.03, 2 / 255
"""Share of that range by which a pixel that was beyond it may stay so, and what it always may: lines finer than a
source pixel, and texture where the source is flat."""
BAND_PIXELS = 2**20
"""Pixels of the result that are worked on at a time."""


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
    progress.begin(len(result) * (1 + len(WIDER)) * ROUNDS, "rounds")
    locked = torch.empty_like(result, dtype=torch.float32, memory_format=torch.contiguous_format)
    before: list[float] = []
    after: list[float] = []
    found: list[Found] = []
    for index in range(len(result)):
        given, one = result[index : index + 1], locked[index : index + 1]
        small = source[index % len(source)][None].to(one.device, torch.float32).clamp(0, 1)
        one.copy_(given).clamp_(0, 1)
        before.append(_psnr(small - _reduced(one, small)))
        if settings.register and settings.strength:
            aligned, taken = registered(one, small)
            found.append(taken)
            if aligned is not one:
                given = aligned
                one.copy_(given)
        _lock(one, given, small, settings, progress)
        after.append(_psnr(small - _reduced(one, small)))
    return Locked(locked, tuple(before), tuple(after), tuple(found) or (Found(),) * len(result))


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
    small, large = (size_of(each) for each in (source, result))
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


def _lock(locked: Tensor, given: Tensor, source: Tensor, settings: LockSettings, progress: Progress) -> None:
    """One picture (1, C, H, W), in place; ``given`` is the same, and stays."""
    missing = source - _reduced(locked, source)
    if not settings.strength or _error(missing) <= ENOUGH:
        progress.advance((1 + len(WIDER)) * ROUNDS)
        return
    wanted = gaussian(missing, settings.coarser_than / 2) if settings.coarser_than else missing
    target = source - missing + wanted
    # What is coarse is a small part of the error.
    share = 1 / 8 if settings.coarser_than else 1.0
    limits = _Limits(source, given, as_it_was=bool(settings.coarser_than))
    missing = _project(locked, target, limits, share * RIGHT, progress)
    for reach in WIDER:
        if _error(missing) <= share * ENOUGH:
            break
        limits.widen(missing, reach)
        missing = _project(locked, target, limits, share * RIGHT, progress)
    if settings.strength < 1:
        locked.lerp_(given.to(locked).clamp(0, 1), 1 - settings.strength)


def _project(locked: Tensor, target: Tensor, limits: _Limits, right: float, progress: Progress) -> Tensor:
    """The rounds, in place: nearer and nearer to what reduces to ``target``, within the limits. Returns what it still
    misses."""
    # What rings is taken off before anything is missed for it.
    missing = target - _round(locked, torch.zeros_like(target), limits)
    before, rounds = math.inf, 0
    while rounds < ROUNDS and (error := _error(missing)) > right and error <= (1 - LEAST_GAIN) * before:
        progress.check()
        missing = target - _round(locked, missing, limits)
        before, rounds = error, rounds + 1
        progress.advance()
    progress.advance(ROUNDS - rounds)
    return missing


def _round(locked: Tensor, missing: Tensor, limits: _Limits) -> Tensor:
    """Adds what is missing, in place, and returns the picture reduced; in bands, without another picture of its
    size."""
    small, large = (size_of(each) for each in (missing, locked))
    # Enlarging is the transpose of reducing, but for a factor and the border.
    enlarge, reduce = RowResampler(small, large), RowResampler(large, small)
    height = max(1, BAND_PIXELS * small.height // large.pixels)
    parts: list[Tensor] = []
    top = 0
    for first in range(0, small.height, height):
        rows = enlarge.push(missing[:, :, first : first + height])
        part = locked[:, :, top : top + rows.shape[2]]
        low, high = limits.of_rows(top, rows.shape[2])
        torch.minimum(torch.maximum(rows.add_(part), low, out=rows), high, out=part)
        parts.append(reduce.push(part))
        top += rows.shape[2]
    return torch.cat(parts, dim=2)


class _Limits:
    """The least and the most that each pixel of ``result`` may become: the range of the source around it, and a little
    more for a pixel that was beyond it, or all that it was beyond (``as_it_was``)."""

    def __init__(self, source: Tensor, result: Tensor, *, as_it_was: bool) -> None:
        self._source, self._result = source, result
        self._low, self._high = local_minimum(source, REACH), local_maximum(source, REACH)
        self._beyond = _beyond(self._low, self._high) + float(as_it_was)
        height, width = result.shape[-2:]
        self._row, self._column = (
            torch.arange(large, device=source.device) * small // large
            for large, small in ((height, source.shape[2]), (width, source.shape[3]))
        )

    def widen(self, missing: Tensor, reach: int) -> None:
        """Where the source is still missed, the range of wider surroundings counts."""
        stuck = local_maximum((missing.abs().amax(dim=1, keepdim=True) > STUCK).float(), REACH) > 0
        low, high = local_minimum(self._source, reach), local_maximum(self._source, reach)
        beyond = _beyond(low, high)
        self._low = torch.where(stuck, low - beyond, self._low)
        self._high = torch.where(stuck, high + beyond, self._high)
        # It is not to be added twice.
        self._beyond = torch.where(stuck & (self._beyond < 1), 0.0, self._beyond)

    def of_rows(self, top: int, count: int) -> tuple[Tensor, Tensor]:
        """Two (1, C, count, W) for rows of the result from ``top`` on."""
        rows = slice(top, top + count)
        row = self._row[rows]
        low, high, beyond = (
            each.index_select(2, row).index_select(3, self._column) for each in (self._low, self._high, self._beyond)
        )
        was = self._result[:, :, rows].to(low).clamp(0, 1)
        under, over = (low - was).clamp_(min=0), (was - high).clamp_(min=0)
        low -= torch.minimum(under, beyond)
        high += torch.minimum(over, beyond)
        return low.clamp_(0, 1), high.clamp_(0, 1)


def _beyond(low: Tensor, high: Tensor) -> Tensor:
    return (BEYOND * (high - low)).clamp_(min=LEAST_BEYOND)


def _reduced(result: Tensor, source: Tensor) -> Tensor:
    return resize(result, size_of(source))


def _error(missing: Tensor) -> float:
    return math.sqrt(float(missing.square().mean()))


def _psnr(missing: Tensor) -> float:
    error = _error(missing)
    return -20 * math.log10(error) if error else math.inf


def _decibels(figures: tuple[float, ...]) -> str:
    mean = sum(figures) / len(figures)
    return f"{mean:.1f} dB" if math.isfinite(mean) else "every digit"
