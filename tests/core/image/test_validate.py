"""What is no picture is refused with its numbers."""

from __future__ import annotations

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.validate import check_alpha, check_picture

GOOD = torch.zeros(2, 3, 5, 7)


def with_value(value: float) -> torch.Tensor:
    picture = GOOD.clone()
    picture[1, 2, 3, 4] = value
    return picture


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (torch.zeros(3, 5, 7), "3 dimensions"),
        (torch.zeros(1, 2, 5, 7), "2 channels"),
        (torch.zeros(1, 4, 5, 7), "4 channels"),
        (torch.zeros(1, 3, 0, 7), "empty"),
        (torch.zeros(0, 3, 5, 7), "empty"),
        (GOOD.to(torch.uint8), "uint8"),
        (with_value(float("nan")), "1 values .* picture 1, channel 2, row 3, column 4"),
        (with_value(float("-inf")), "1 values .* picture 1, channel 2, row 3, column 4"),
    ],
)
def test_refusals(picture: torch.Tensor, words: str):
    with pytest.raises(InputError, match=words):
        check_picture(picture)


@pytest.mark.parametrize("picture", [GOOD, GOOD[:, :1], GOOD.half(), torch.full((1, 3, 900, 900), 60000.0).half()])
def test_pictures_pass(picture: torch.Tensor):
    check_picture(picture)


@pytest.mark.parametrize(
    ("alpha", "words"),
    [
        (torch.zeros(2, 5, 7), "3 dimensions"),
        (torch.zeros(2, 3, 5, 7), "3 channels"),
        (torch.zeros(2, 1, 7, 5), "5x7 but the image is 7x5"),
        (torch.zeros(3, 1, 5, 7), "3 alpha planes for 2 images"),
        (torch.full((2, 1, 5, 7), float("nan")), "70 values"),
    ],
)
def test_alpha_that_does_not_fit_is_refused(alpha: torch.Tensor, words: str):
    with pytest.raises(InputError, match=words):
        check_alpha(alpha, GOOD)


def test_one_alpha_for_all_pictures_passes():
    check_alpha(torch.zeros(1, 1, 5, 7), GOOD)
