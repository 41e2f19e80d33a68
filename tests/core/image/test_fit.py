"""The fit promise: over a grid of sizes and wishes, what was asked for and nothing distorted."""

from __future__ import annotations

import itertools
import math

import pytest
from backplate.core.errors import InputError
from backplate.core.image.fit import MAX_PIXELS, Anchor, Fit, FitPlan, Target, count_passes, plan_fit
from backplate.core.types import Box, FloatBox, Size

SOURCES = [
    Size(1, 1),
    Size(2, 3),
    Size(333, 250),
    Size(1920, 1080),
    Size(1080, 1920),
    Size(1021, 767),
    Size(8000, 20),
    Size(20, 8000),
    Size(4096, 4096),
]
BOXES = [(1000, 1000), (1920, 1080), (997, 1409), (1, 1), (64, 3000), (1200, 0), (0, 801)]
MULTIPLES = [1, 2, 8, 64]
BOXED = [Fit.COVER, Fit.CONTAIN, Fit.PAD, Fit.STRETCH]


def wishes(multiple: int) -> list[Target]:
    boxed = [
        Target(fit=fit, width=width, height=height, multiple_of=multiple, anchor=anchor)
        for fit, (width, height), anchor in itertools.product(BOXED, BOXES, (Anchor.CENTER, Anchor.BOTTOM_RIGHT))
    ]
    sides = [
        Target(fit=fit, width=width, height=height, multiple_of=multiple)
        for fit, (width, height) in itertools.product((Fit.LONGEST, Fit.SHORTEST), ((1000, 0), (0, 77), (640, 99)))
    ]
    areas = [Target(fit=Fit.MEGAPIXELS, megapixels=value, multiple_of=multiple) for value in (0.001, 1.0, 12.5)]
    factors = [Target(fit=Fit.FACTOR, factor=value, multiple_of=multiple) for value in (0.013, 0.5, 1.0, 2.35, 4.0)]
    return boxed + sides + areas + factors


def plans() -> list[tuple[Size, Target, FitPlan]]:
    """Every wish that can be met; which ones are refused is tested below."""
    met: list[tuple[Size, Target, FitPlan]] = []
    for source, multiple in itertools.product(SOURCES, MULTIPLES):
        for target in wishes(multiple):
            try:
                met.append((source, target, plan_fit(source, target)))
            except InputError:
                assert refused_rightly(source, target), (source, target)
    return met


def refused_rightly(source: Size, target: Target) -> bool:
    """Whether the result would be too large, or no multiple fits inside the box."""
    if target.fit is Fit.CONTAIN and any(0 < side < target.multiple_of for side in (target.width, target.height)):
        return True
    sides = [side for side in (target.width, target.height) if side]
    scale = {
        Fit.LONGEST: lambda: max(sides) / max(source),
        Fit.SHORTEST: lambda: min(sides) / min(source),
        Fit.MEGAPIXELS: lambda: math.sqrt(target.megapixels * 1e6 / source.pixels),
        Fit.FACTOR: lambda: target.factor,
    }.get(target.fit, lambda: max(target.width / source.width, target.height / source.height))()
    return max(source) * scale > 65_000 or source.pixels * scale**2 > 0.99 * MAX_PIXELS


PLANS = plans()


def test_most_wishes_are_met():
    assert len(PLANS) > 0.9 * len(SOURCES) * sum(len(wishes(multiple)) for multiple in MULTIPLES)


def test_the_picture_lies_in_the_canvas():
    for source, target, plan in PLANS:
        assert min(plan.placed) >= 0, (source, target)
        assert min(plan.placed.size) >= 1, (source, target)
        assert plan.placed.right <= plan.canvas.width, (source, target)
        assert plan.placed.bottom <= plan.canvas.height, (source, target)


def test_the_shown_part_lies_in_the_source():
    for source, target, plan in PLANS:
        x, y, width, height = plan.source_box
        assert min(x, y) >= 0, (source, target)
        assert min(width, height) > 0, (source, target)
        assert x + width <= source.width * (1 + 1e-12), (source, target)
        assert y + height <= source.height * (1 + 1e-12), (source, target)


def test_the_canvas_is_a_multiple():
    for source, target, plan in PLANS:
        assert plan.canvas.width % target.multiple_of == 0, (source, target)
        assert plan.canvas.height % target.multiple_of == 0, (source, target)


def test_the_canvas_is_exactly_as_asked():
    for source, target, plan in PLANS:
        if target.fit in (Fit.COVER, Fit.PAD, Fit.STRETCH) and target.multiple_of == 1:
            assert target.width in (0, plan.canvas.width), (source, target)
            assert target.height in (0, plan.canvas.height), (source, target)
        if target.fit is Fit.LONGEST and target.multiple_of == 1:
            assert max(plan.canvas) == max(target.width, target.height), (source, target)
        if target.fit is Fit.SHORTEST and target.multiple_of == 1:
            assert min(plan.canvas) == min(side for side in (target.width, target.height) if side), (source, target)


def test_the_aspect_stays_within_one_pixel():
    """Some uniform scale brings the shown part within one pixel of where it is placed, in both directions."""
    for source, target, plan in PLANS:
        if target.fit is Fit.STRETCH:
            continue
        low = max((side - 1) / shown for side, shown in zip(plan.placed.size, plan.source_box[2:], strict=True))
        high = min((side + 1) / shown for side, shown in zip(plan.placed.size, plan.source_box[2:], strict=True))
        assert low < high, (source, target)


def test_a_crop_is_exact():
    for source, target, plan in PLANS:
        x, y, width, height = plan.source_box
        if (width, height) == tuple(source) or target.fit is Fit.STRETCH:
            continue
        assert width * plan.placed.height == pytest.approx(height * plan.placed.width, rel=1e-12), (source, target)
        assert width == source.width or height == source.height, (source, target)


def test_only_pad_leaves_background():
    for source, target, plan in PLANS:
        assert plan.padded == (plan.placed != Box(0, 0, *plan.canvas)), (source, target)
        assert target.fit is Fit.PAD or not plan.padded, (source, target)


def test_the_whole_picture_is_shown_where_nothing_asks_for_a_crop():
    for source, target, plan in PLANS:
        uncropped = target.fit in (Fit.PAD, Fit.STRETCH)
        if uncropped or (
            target.multiple_of == 1 and (target.fit is not Fit.COVER or not all((target.width, target.height)))
        ):
            assert plan.source_box == FloatBox(0, 0, *source), (source, target)


def test_contain_fits_inside_and_touches():
    for source, target, plan in PLANS:
        if target.fit in (Fit.CONTAIN, Fit.PAD):
            inside = plan.canvas if target.fit is Fit.CONTAIN else plan.placed.size
            gaps = [box - side for box, side in zip((target.width, target.height), inside, strict=True) if box]
            assert min(gaps) >= 0, (source, target)
            if target.fit is Fit.PAD or target.multiple_of == 1:
                assert min(gaps) == 0, (source, target)


def test_rounding_to_multiples_moves_a_side_by_less_than_one():
    for source, target, plan in PLANS:
        plain = Target(**{**target.__dict__, "multiple_of": 1})
        exact = plan_fit(source, plain).canvas
        for side, wish in zip(plan.canvas, exact, strict=True):
            assert abs(side - wish) < target.multiple_of + 1, (source, target)


def test_megapixels_are_met():
    for source, target, plan in PLANS:
        if target.fit is Fit.MEGAPIXELS and target.multiple_of == 1 and min(plan.canvas) > 2:
            slack = 0.5 * sum(plan.canvas) + 1
            assert abs(plan.canvas.pixels - target.megapixels * 1e6) <= slack, (source, target)


def test_passes_are_enough_and_no_more():
    for (source, target, plan), scale in itertools.product(PLANS, (2, 3, 4, 8)):
        try:
            passes = count_passes(plan.magnification, scale)
        except InputError:
            assert scale**6 * 1.005 < plan.magnification, (source, target)
            continue
        assert plan.magnification <= scale**passes * 1.0051, (source, target, scale)
        assert passes == 0 or plan.magnification > scale ** (passes - 1), (source, target, scale)


KNOWN = [
    (Size(1920, 1080), Target(fit=Fit.COVER, width=1000, height=1000), (1000, 1000), (420, 0, 1080, 1080)),
    (
        Size(1920, 1080),
        Target(fit=Fit.COVER, width=1000, height=1000, anchor=Anchor.TOP_RIGHT),
        (1000, 1000),
        (840, 0, 1080, 1080),
    ),
    (
        Size(300, 900),
        Target(fit=Fit.COVER, width=200, height=400, anchor=Anchor.BOTTOM),
        (200, 400),
        (0, 300, 300, 600),
    ),
    (Size(1000, 700), Target(fit=Fit.COVER, width=300, height=200), (300, 200), (0, 100 / 6, 1000, 2000 / 3)),
    (Size(1920, 1080), Target(fit=Fit.CONTAIN, width=1000, height=1000), (1000, 563), (0, 0, 1920, 1080)),
    (
        Size(1920, 1080),
        Target(fit=Fit.CONTAIN, width=1000, height=1000, multiple_of=2),
        (1000, 562),
        (0, 0, 1920, 1080),
    ),
    (Size(1920, 1080), Target(fit=Fit.CONTAIN, height=500), (889, 500), (0, 0, 1920, 1080)),
    (Size(8000, 20), Target(fit=Fit.LONGEST, width=100), (100, 1), (0, 0, 8000, 20)),
    (Size(1021, 767), Target(fit=Fit.SHORTEST, width=4000, height=2000), (2662, 2000), (0, 0, 1021, 767)),
    (Size(1000, 1000), Target(fit=Fit.MEGAPIXELS, megapixels=4), (2000, 2000), (0, 0, 1000, 1000)),
    (Size(10, 30), Target(fit=Fit.FACTOR, factor=0.35), (4, 11), (0, 0, 10, 30)),
    (Size(250, 1000), Target(fit=Fit.FACTOR, factor=4.0, multiple_of=64), (1024, 4032), (0, 7.8125, 250, 984.375)),
    (Size(500, 500), Target(fit=Fit.STRETCH, width=1000, height=300), (1000, 300), (0, 0, 500, 500)),
]


@pytest.mark.parametrize(("source", "target", "canvas", "shown"), KNOWN)
def test_known_answers(source: Size, target: Target, canvas: tuple[int, int], shown: tuple[float, ...]):
    plan = plan_fit(source, target)
    assert plan.canvas == canvas
    assert plan.source_box == pytest.approx(shown)


@pytest.mark.parametrize(
    ("anchor", "corner"),
    [(Anchor.CENTER, (0, 218)), (Anchor.TOP, (0, 0)), (Anchor.BOTTOM_LEFT, (0, 437)), (Anchor.RIGHT, (0, 218))],
)
def test_pad_places_by_anchor(anchor: Anchor, corner: tuple[int, int]):
    plan = plan_fit(Size(1920, 1080), Target(fit=Fit.PAD, width=1000, height=1000, anchor=anchor))
    assert plan.placed == (*corner, 1000, 563)


def test_pad_takes_a_multiple_as_background():
    plan = plan_fit(Size(1920, 1080), Target(fit=Fit.PAD, width=1920, height=1080, multiple_of=16))
    assert plan.canvas == (1920, 1088)
    assert plan.placed == (0, 4, 1920, 1080)


def test_every_anchor_places_apart():
    sides = {anchor: anchor.shares for anchor in Anchor}
    assert len(set(sides.values())) == len(Anchor) == 9


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        (Size(0, 5), Target(fit=Fit.FACTOR, factor=2), "picture is 0x5"),
        (Size(5, 5), Target(fit=Fit.COVER), "width 0 and height 0"),
        (Size(5, 5), Target(fit=Fit.LONGEST, width=-3, height=5), "width -3"),
        (Size(5, 5), Target(fit=Fit.SHORTEST), "for shortest"),
        (Size(5, 5), Target(fit=Fit.FACTOR), "factor is 0"),
        (Size(5, 5), Target(fit=Fit.FACTOR, factor=float("nan")), "factor is nan"),
        (Size(5, 5), Target(fit=Fit.FACTOR, factor=float("inf")), "factor is inf"),
        (Size(5, 5), Target(fit=Fit.MEGAPIXELS, megapixels=-1.0), "megapixels is -1"),
        (Size(5, 5), Target(fit=Fit.MEGAPIXELS, megapixels=1001.0), "up to 1,000"),
        (Size(5, 5), Target(fit=Fit.COVER, width=5, multiple_of=0), "multiple_of is 0"),
        (
            Size(5, 5),
            Target(fit=Fit.CONTAIN, width=50, height=900, multiple_of=64),
            "multiples of 64 fits inside 50x900",
        ),
        (Size(8000, 20), Target(fit=Fit.SHORTEST, width=200), "80000x200 px; at most 65,500"),
        (Size(50, 50), Target(fit=Fit.STRETCH, width=40_000, height=40_000), "40000x40000 px"),
        (Size(50, 50), Target(fit=Fit.PAD, width=65_501, height=10), "65501x10"),
    ],
)
def test_refusals(source: Size, target: Target, words: str):
    with pytest.raises(InputError, match=words):
        plan_fit(source, target)


@pytest.mark.parametrize(
    ("magnification", "scale", "passes"),
    [
        (0.2, 4, 0),
        (1.0, 4, 0),
        (1.004, 4, 0),
        (1.1, 4, 1),
        (4.0, 4, 1),
        (1333 / 333, 4, 1),
        (4.1, 4, 2),
        (16.0, 4, 2),
        (8.0, 2, 3),
        (1000.0, 4, 5),
        (7.0, 1, 1),
        (0.5, 1, 1),
    ],
)
def test_passes(magnification: float, scale: int, passes: int):
    assert count_passes(magnification, scale) == passes


@pytest.mark.parametrize(
    ("magnification", "scale", "words"),
    [
        (5000.0, 4, "takes 7 passes of a x4 model"),
        (0.0, 4, "is 0.0"),
        (float("nan"), 4, "is nan"),
        (float("inf"), 1, "is inf"),
        (2.0, 0, "scale is 0"),
    ],
)
def test_refused_passes(magnification: float, scale: int, words: str):
    with pytest.raises(InputError, match=words):
        count_passes(magnification, scale)
