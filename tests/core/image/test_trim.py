"""Uniform borders, of pictures and of cutouts."""

from __future__ import annotations

import pytest
import torch
from backplate.core.image.trim import find_content
from backplate.core.types import Box

NOISE = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))


def framed(colour: float, box: Box, width: int = 30, height: int = 20) -> torch.Tensor:
    picture = torch.full((1, 3, height, width), colour)
    picture[..., box.y : box.bottom, box.x : box.right] = NOISE[..., : box.height, : box.width] * 0.4
    return picture


@pytest.mark.parametrize("colour", [1.0, 0.95, 0.6])
@pytest.mark.parametrize("box", [Box(3, 4, 11, 9), Box(0, 4, 30, 9), Box(5, 0, 20, 20), Box(29, 19, 1, 1)])
def test_a_border_is_found_to_the_pixel(box: Box, colour: float):
    found = find_content(framed(colour, box))
    assert found.box == box
    assert found.colour == pytest.approx((colour,) * 3)


def test_noise_of_a_jpeg_is_border_and_a_shadow_is_not():
    box = Box(3, 4, 11, 9)
    noisy = framed(0.97, box)
    noisy += (NOISE - 0.5) * 10 / 255
    assert find_content(noisy).box == box
    shadow = framed(1.0, box)
    shadow[..., 13, 3:14] = 0.93
    assert find_content(shadow).box == Box(3, 4, 11, 10)


def test_letterbox_bars_go_and_the_sides_stay():
    picture = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(1))
    picture[..., :3, :] = 0.0
    picture[..., 16:, :] = 0.0
    assert find_content(picture).box == Box(0, 3, 30, 13)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_uniform_picture_stays_whole(value: float):
    assert find_content(torch.full((1, 1, 7, 5), value)) == (Box(0, 0, 5, 7), None)


def test_two_flat_halves_are_no_borders_and_unequal_ones_are_one():
    picture = torch.ones(1, 3, 8, 6)
    picture[..., 4:, :] = 0.2
    assert find_content(picture).box == Box(0, 0, 6, 8)
    picture[..., 3:, :] = 0.2
    assert find_content(picture).box == Box(0, 0, 6, 3)


def test_a_picture_without_a_border_stays_whole():
    assert find_content(NOISE) == (Box(0, 0, 30, 20), None)


def test_hidden_colours_do_not_hold_the_border_of_a_cutout():
    picture = NOISE.clone()
    alpha = torch.zeros(1, 1, 20, 30)
    alpha[..., 5:15, 8:20] = 1.0
    assert find_content(picture, alpha) == (Box(8, 5, 12, 10), None)


def test_a_cutout_on_a_painted_border_gives_its_colour():
    found = find_content(framed(1.0, Box(3, 4, 11, 9)), torch.ones(1, 1, 20, 30))
    assert found == (Box(3, 4, 11, 9), (1.0, 1.0, 1.0))


def test_the_picture_stays_as_it_was():
    picture = framed(1.0, Box(3, 4, 11, 9))
    before = picture.clone()
    find_content(picture)
    assert torch.equal(picture, before)
