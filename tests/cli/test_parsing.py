from __future__ import annotations

import pytest
from backplate.cli.errors import UsageProblem
from backplate.cli.files import SUFFIX_OF_FORMAT
from backplate.cli.options import ANCHORS, EDGES, FITS, FORMATS, PRECISIONS
from backplate.cli.parsing import choice, parse_size, requested_background, requested_target
from backplate.core.image.canvas import Background, Fill
from backplate.core.image.fit import Anchor, Fit, Target
from backplate.core.image.tiling import Edge
from backplate.model_loader.precision import Precision


def target(size=None, scale=None, megapixels=None, fit=None, anchor="center", multiple_of=1):
    return requested_target(size, scale, megapixels, fit, anchor, multiple_of)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2000x1000", (2000, 1000)),
        ("2000x", (2000, 0)),
        ("x1080", (0, 1080)),
        ("2000", (2000, 2000)),
        (" 8X9 ", (8, 9)),
    ],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "0x0", "0", "2000x1000x3", "-5x5", "20.5x3", "big", "1e3", "99999999999"])
def test_what_is_no_size(text):
    with pytest.raises(UsageProblem, match="write it as 2000x1000"):
        parse_size(text)


@pytest.mark.parametrize(("metavar", "kind"), [(FITS, Fit), (ANCHORS, Anchor), (EDGES, Edge), (PRECISIONS, Precision)])
def test_help_names_every_choice(metavar, kind):
    assert metavar.split("|") == [member.value for member in kind]


def test_help_names_every_format():
    assert FORMATS.split("|") == list(SUFFIX_OF_FORMAT)


def test_choices_are_taken_with_spaces_hyphens_and_capitals():
    assert choice(Edge, "Wrap-Horizontal", "--edge") is Edge.WRAP_HORIZONTAL
    assert choice(Anchor, "top-left", "--anchor") is Anchor("top-left")
    with pytest.raises(UsageProblem, match="--edge mirror: choose one of plain, replicate, wrap horizontal, wrap both"):
        choice(Edge, "mirror", "--edge")


def test_targets():
    assert target() is None
    assert target("20x10") == Target(width=20, height=10, fit=Fit.COVER)
    assert target("x10", fit="contain", anchor="top") == Target(height=10, fit=Fit.CONTAIN, anchor=Anchor("top"))
    assert target(scale=1.5, multiple_of=8) == Target(fit=Fit.FACTOR, factor=1.5, multiple_of=8)
    assert target(megapixels=4) == Target(fit=Fit.MEGAPIXELS, megapixels=4)
    assert target(megapixels=4, fit="megapixels") == Target(fit=Fit.MEGAPIXELS, megapixels=4)


@pytest.mark.parametrize(
    ("wishes", "reason"),
    [
        ({"size": "20", "scale": 2}, "--size and --scale set the size in different ways"),
        ({"size": "20", "scale": 2, "megapixels": 1}, "--size and --scale and --megapixels"),
        ({"fit": "cover"}, "has no effect without"),
        ({"size": "20", "fit": "factor"}, "--fit factor cannot be combined with --size"),
        ({"scale": 2, "fit": "pad"}, "--fit pad cannot be combined with --scale"),
        ({"scale": 0}, "--scale 0: choose a factor above 0"),
        ({"scale": float("inf")}, "--scale inf"),
        ({"megapixels": -1}, "--megapixels -1"),
        ({"size": "20", "fit": "fill"}, "--fit fill: choose one of cover"),
        ({"size": "20", "anchor": "middle"}, "--anchor middle: choose one of center"),
    ],
)
def test_targets_that_make_no_sense(wishes, reason):
    with pytest.raises(UsageProblem, match=reason):
        target(**wishes)


def test_backgrounds():
    assert requested_background(None) is None
    assert requested_background("edge") == Background(Fill.EDGE)
    assert requested_background("Transparent") == Background(Fill.TRANSPARENT)
    assert requested_background("#102030") == Background(Fill.COLOUR, "#102030")
