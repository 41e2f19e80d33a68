"""A fitted picture on its canvas."""

from __future__ import annotations

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.canvas import Background, Fill, padded_mask, parse_colour, place
from backplate.core.image.fit import FitPlan
from backplate.core.types import Box, FloatBox, Size

PLAN = FitPlan(Size(6, 4), Box(1, 1, 3, 2), FloatBox(0, 0, 3, 2))
FULL = FitPlan(Size(3, 2), Box(0, 0, 3, 2), FloatBox(0, 0, 3, 2))
PICTURE = torch.arange(6.0).reshape(1, 1, 2, 3) / 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#FF8000", (255, 128, 0)),
        ("#fff", (255, 255, 255)),
        (" White ", (255, 255, 255)),
        ("10,20,30", (10, 20, 30)),
        ("10, 20, 30", (10, 20, 30)),
        ("black", (0, 0, 0)),
    ],
)
def test_colours(text: str, expected: tuple[int, int, int]):
    assert parse_colour(text) == pytest.approx([value / 255 for value in expected])


@pytest.mark.parametrize("text", ["", "whitee", "#12345", "#ff000080", "1,2", "300,0,0", "-1,0,0", "nan,0,0"])
def test_what_is_no_colour_is_refused(text: str):
    with pytest.raises(InputError, match="colour"):
        parse_colour(text)


@pytest.mark.parametrize("fill", Fill)
def test_the_picture_lies_where_the_plan_says(fill: Fill):
    canvas, _ = place(PICTURE, None, PLAN, Background(fill, "white"))
    assert canvas.shape == (1, 1, 4, 6)
    assert torch.equal(canvas[..., 1:3, 1:4], PICTURE)


def test_colour_around():
    canvas, alpha = place(PICTURE, torch.zeros(1, 1, 2, 3), PLAN, Background(Fill.COLOUR, "0,255,0"))
    assert canvas.shape == (1, 3, 4, 6)
    assert canvas[0, :, 0, 0].tolist() == [0, 1, 0]
    assert alpha is not None
    assert alpha[..., 1:3, 1:4].sum() == 0
    assert alpha.sum() == 24 - 6


def test_edge_goes_on():
    canvas, alpha = place(PICTURE, None, PLAN, Background(Fill.EDGE))
    assert alpha is None
    assert canvas[0, 0, 0].tolist() == canvas[0, 0, 1].tolist()
    assert canvas[0, 0, 1].tolist() == pytest.approx([0, 0, 1 / 6, 2 / 6, 2 / 6, 2 / 6])


def test_transparent_gets_an_alpha():
    canvas, alpha = place(PICTURE, None, PLAN, Background(Fill.TRANSPARENT))
    assert canvas.shape[1] == 1
    assert alpha is not None
    assert alpha.sum() == 6


def test_nothing_to_pad_changes_nothing():
    canvas, alpha = place(PICTURE, None, FULL, Background(Fill.TRANSPARENT))
    assert canvas is PICTURE
    assert alpha is None


def test_padded_mask():
    mask = padded_mask(PLAN, 2)
    assert mask.shape == (2, 1, 4, 6)
    assert mask[0, 0].sum() == 24 - 6
    assert mask[..., 1:3, 1:4].sum() == 0
