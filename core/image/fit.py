"""From a picture's size and a wish to the numbers of the result: canvas, place, and the part that is shown.

Numbers only; no pixels. All sizes are worked out in exact fractions, so no result depends on rounding errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import NamedTuple

from ..errors import InputError
from ..types import Box, FloatBox, Size

MAX_SIDE = 65_500
"""Longest side of a result in pixels; the longest that libjpeg writes (its JPEG_MAX_DIMENSION)."""
MAX_PIXELS = 1_000_000_000
MAX_PASSES = 6
PASS_TOLERANCE = 0.005
"""Share of enlargement that is left to the resampler: one pixel of rounding in 200."""


class Fit(str, Enum):
    """How a picture is fitted to the requested size."""

    COVER = "cover"
    CONTAIN = "contain"
    PAD = "pad"
    STRETCH = "stretch"
    LONGEST = "longest"
    SHORTEST = "shortest"
    MEGAPIXELS = "megapixels"
    FACTOR = "factor"


class Anchor(str, Enum):
    """The side or corner that stays in place when the picture is cropped or padded."""

    CENTER = "center"
    TOP = "top"
    BOTTOM = "bottom"
    LEFT = "left"
    RIGHT = "right"
    TOP_LEFT = "top-left"
    TOP_RIGHT = "top-right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM_RIGHT = "bottom-right"

    @property
    def shares(self) -> tuple[Fraction, Fraction]:
        """Share of the spare columns that lies on the left, share of the spare rows that lies on top."""
        x = 0 if "left" in self.value else 2 if "right" in self.value else 1
        y = 0 if "top" in self.value else 2 if "bottom" in self.value else 1
        return Fraction(x, 2), Fraction(y, 2)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the user asked for; see ``plan_fit`` for what each fit does with it.

    ``width`` and ``height`` in pixels, 0 if not given; ``megapixels`` in 1,000,000 px and ``factor`` in times the
    source's sides, each read by the fit of that name only; ``multiple_of`` in pixels.
    """

    fit: Fit
    width: int = 0
    height: int = 0
    anchor: Anchor = Anchor.CENTER
    megapixels: float = 0.0
    factor: float = 0.0
    multiple_of: int = 1


@dataclass(frozen=True)
class FitPlan:
    """Where every pixel of the result comes from."""

    canvas: Size
    """Size of the result."""
    placed: Box
    """Where the picture lies in the canvas; the rest is background."""
    source_box: FloatBox
    """The part of the source that fills ``placed``, in source pixels; edges may lie between pixels."""

    @property
    def magnification(self) -> float:
        """Target pixels per source pixel along the axis that grows more."""
        return max(self.placed.width / self.source_box.width, self.placed.height / self.source_box.height)

    @property
    def padded(self) -> bool:
        """Whether the picture leaves some of the canvas free."""
        return self.placed.size != self.canvas


class Sides(NamedTuple):
    """Width and height in pixels before rounding."""

    width: Fraction
    height: Fraction


def plan_fit(source: Size, target: Target) -> FitPlan:
    """Works out canvas, place and shown part for a picture of size ``source``.

    cover       The canvas is width x height; the picture fills it and the overhang is cropped. The crop is
                exact to fractions of a pixel, so the aspect is exact; ``anchor`` says which part stays.
    contain     The largest size of the same aspect that fits inside width x height; that is the canvas.
    pad         As contain, on a canvas of width x height, placed by ``anchor``; the rest is background.
    stretch     The canvas is width x height and the whole picture fills it, regardless of the aspect.
    longest     The longer side becomes the larger of width and height.
    shortest    The shorter side becomes the smaller of the width and height given.
    megapixels  The area becomes ``megapixels`` million pixels, within the rounding of the sides.
    factor      Both sides grow by ``factor``.

    In cover, contain, pad and stretch a width or height of 0 follows from the other one and the source's aspect.

    Rounding. Sides are rounded to the nearest pixel, halves up, never under 1. With ``multiple_of`` the sides of
    the canvas are rounded to its nearest multiple, halves up, never under one multiple; contain rounds down to
    stay inside width x height, and pad rounds up and takes the difference as background. If that moves a side by
    less than a pixel, the whole picture is shown. Otherwise it is scaled to cover the canvas and the overhang is
    cropped as ``anchor`` says; stretch alone distorts. So, except for stretch, the sides are either exactly those of
    a uniformly scaled part of the picture, or within one pixel of the uniformly scaled whole.

    Raises ``InputError`` for a size that is not positive, an empty request, and a result over 65,500 px a
    side or 1 gigapixel.
    """
    if min(source) < 1:
        raise InputError(f"the picture is {source}; every side must be at least one pixel")
    if not target.multiple_of >= 1:
        raise InputError(f"multiple_of is {target.multiple_of}; give a whole number of at least 1")
    if target.fit is Fit.PAD:
        return _plan_pad(source, target)
    if target.fit is Fit.STRETCH:
        canvas = _canvas(source, target, _nearest(_wished_sides(source, target), target.multiple_of))
        return _filled(canvas, _whole(source))
    if target.fit is Fit.COVER and target.width and target.height:
        canvas = _canvas(source, target, _nearest(_wished_sides(source, target), target.multiple_of))
        return _filled(canvas, _covering_box(source, canvas, target.anchor))
    ideal = _ideal_sides(source, target)
    if target.fit is Fit.CONTAIN and target.multiple_of > 1:
        canvas = _canvas(source, target, _multiples_inside(ideal, target))
    else:
        canvas = _canvas(source, target, _nearest(ideal, target.multiple_of))
    if abs(canvas.width - ideal.width) < 1 and abs(canvas.height - ideal.height) < 1:
        return _filled(canvas, _whole(source))
    return _filled(canvas, _covering_box(source, canvas, target.anchor))


def pixels_for_model(source: Size, target: Target | None) -> int:
    """About how many pixels a model of four times is given on the way to ``target``, over all passes. Raises
    ``InputError`` for a target that cannot be."""
    return source.pixels if target is None else max(source.pixels, plan_fit(source, target).canvas.pixels // 16)


def count_passes(magnification: float, scale: int) -> int:
    """How often a model of ``scale`` has to run before the picture only needs to shrink, to first order.

    0 if nothing grows; else the smallest n with scale ** n >= magnification. Half a percent is forgiven, so that
    the rounding of a size to whole pixels does not cost a pass. A model of scale 1 runs once, whatever the size.
    Raises ``InputError`` for a magnification that is not positive and for more than 6 passes.
    """
    if not (math.isfinite(magnification) and magnification > 0):
        raise InputError(f"the magnification is {magnification}; it must be a positive number")
    if scale < 1:
        raise InputError(f"the model's scale is {scale}; it must be at least 1")
    if scale == 1:
        return 1
    passes, reach = 0, 1.0 + PASS_TOLERANCE
    while reach < magnification:
        passes += 1
        reach *= scale
    if passes > MAX_PASSES:
        raise InputError(
            f"enlarging {magnification:.4g} times takes {passes} passes of a x{scale} model and at most "
            f"{MAX_PASSES} are allowed; ask for a smaller result or take a model of a larger scale"
        )
    return passes


def _wished_sides(source: Size, target: Target) -> Sides:
    """The requested width and height; one that is 0 follows from the source's aspect."""
    _check_sides(target)
    width, height = Fraction(target.width), Fraction(target.height)
    return Sides(
        width or height * source.width / source.height,
        height or width * source.height / source.width,
    )


def _check_sides(target: Target) -> None:
    if not (target.width >= 0 and target.height >= 0 and target.width + target.height > 0):
        raise InputError(
            f"width {target.width} and height {target.height} were given for {target.fit.value}; give at least one "
            "of them as a positive number of pixels, and 0 for the one to derive"
        )


def _ideal_sides(source: Size, target: Target) -> Sides:
    """The uniformly scaled picture that the fit asks for."""
    scale = _ideal_scale(source, target)
    return Sides(source.width * scale, source.height * scale)


def _ideal_scale(source: Size, target: Target) -> Fraction:
    if target.fit is Fit.MEGAPIXELS:
        megapixels = _checked_number("megapixels", target.megapixels, MAX_PIXELS // 1_000_000)
        return Fraction(math.sqrt(megapixels * 1_000_000 / source.pixels))
    if target.fit is Fit.FACTOR:
        return _checked_number("factor", target.factor, MAX_SIDE)
    if target.fit is Fit.LONGEST:
        _check_sides(target)
        return Fraction(max(target.width, target.height), max(source))
    if target.fit is Fit.SHORTEST:
        _check_sides(target)
        return Fraction(min(side for side in (target.width, target.height) if side), min(source))
    sides = _wished_sides(source, target)
    return min(sides.width / source.width, sides.height / source.height)


def _checked_number(name: str, value: float, largest: int) -> Fraction:
    """The number exactly as written in decimals: 0.35 is 35/100, not the nearest binary fraction."""
    if not 0 < value <= largest:
        raise InputError(f"{name} is {value:g}; give a number above 0 and up to {largest:,}")
    return Fraction(str(float(value)))


def _round(value: Fraction) -> int:
    """To the nearest whole number, halves up."""
    return math.floor(value + Fraction(1, 2))


def _nearest(sides: Sides, multiple: int) -> Size:
    width, height = (max(1, _round(side / multiple)) * multiple for side in sides)
    return Size(width, height)


def _multiples_inside(ideal: Sides, target: Target) -> Size:
    multiple = target.multiple_of
    if any(0 < side < multiple for side in (target.width, target.height)):
        raise InputError(
            f"no size whose sides are multiples of {multiple} fits inside {target.width}x{target.height}; lower "
            "multiple_of or ask for a larger size"
        )
    width, height = (max(1, math.floor(side / multiple)) * multiple for side in ideal)
    return Size(width, height)


def _canvas(source: Size, target: Target, canvas: Size) -> Size:
    """The canvas, if pictures of that size can be made."""
    if max(canvas) > MAX_SIDE or canvas.pixels > MAX_PIXELS:
        raise InputError(
            f"fitting the {source} picture by {target.fit.value} would give {canvas} px; at most {MAX_SIDE:,} px a "
            "side and 1,000 megapixels can be made, so ask for less"
        )
    return canvas


def _whole(source: Size) -> FloatBox:
    return FloatBox(0.0, 0.0, float(source.width), float(source.height))


def _filled(canvas: Size, source_box: FloatBox) -> FitPlan:
    return FitPlan(canvas, Box(0, 0, canvas.width, canvas.height), source_box)


def _covering_box(source: Size, canvas: Size, anchor: Anchor) -> FloatBox:
    """The largest part of the source that has the canvas's aspect."""
    width = min(Fraction(source.width), Fraction(source.height * canvas.width, canvas.height))
    height = min(Fraction(source.height), Fraction(source.width * canvas.height, canvas.width))
    left, top = anchor.shares
    x, y = (source.width - width) * left, (source.height - height) * top
    return FloatBox(float(x), float(y), float(width), float(height))


def _plan_pad(source: Size, target: Target) -> FitPlan:
    multiple = target.multiple_of
    wished = _nearest(_wished_sides(source, target), 1)
    canvas = _canvas(source, target, Size(*(-(-side // multiple) * multiple for side in wished)))
    placed = _nearest(_ideal_sides(source, target), 1)
    left, top = target.anchor.shares
    x = math.floor((canvas.width - placed.width) * left)
    y = math.floor((canvas.height - placed.height) * top)
    return FitPlan(canvas, Box(x, y, placed.width, placed.height), _whole(source))
