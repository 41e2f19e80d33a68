"""Cutouts keep their colour up to the edge, and their alpha does not ring."""

from __future__ import annotations

import pytest
import torch
from backplate.core.image.alpha import VISIBLE_FROM, bleed, resize_alpha
from backplate.core.image.resize import resize
from backplate.core.types import FloatBox, Size

SIZES = [(1, 1), (1, 64), (64, 1), (33, 47), (128, 96)]


def disc(height: int, width: int, softness: float = 1.5) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    distance = ((y - height / 2) ** 2 + (x - width / 2) ** 2).sqrt()
    return ((min(height, width) / 3 - distance) / softness + 0.5).clamp(0, 1)[None, None]


def noise(height: int, width: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_visible_pixels_stay_to_the_bit(size: tuple[int, int], channels: int):
    picture, alpha = noise(*size, channels), (noise(*size, 1) - 0.4).clamp(0, 1)
    before = picture.clone()
    result = bleed(picture, alpha)
    visible = (alpha >= VISIBLE_FROM).expand_as(picture)
    assert torch.equal(result[visible], picture[visible])
    assert torch.equal(picture, before)
    assert torch.isfinite(result).all()
    assert 0 <= result.min() <= result.max() <= 1


@pytest.mark.parametrize("size", [(31, 40), (200, 150)], ids=str)
def test_one_colour_goes_on_everywhere(size: tuple[int, int]):
    """Known answer: around a disc of one colour over rubbish, everything becomes that colour."""
    alpha = disc(*size)
    colour = torch.tensor([0.8, 0.3, 0.1])[None, :, None, None].expand(1, 3, *size)
    picture = torch.where(alpha >= VISIBLE_FROM, colour, noise(*size))
    assert torch.allclose(bleed(picture, alpha), colour, atol=1e-5)


def test_the_nearest_colour_wins():
    alpha = torch.zeros(1, 1, 32, 64)
    alpha[..., :4], alpha[..., -4:] = 1, 1
    picture = torch.zeros(1, 1, 32, 64)
    picture[..., -4:] = 1
    row = bleed(picture, alpha)[0, 0, 16]
    assert row[8] < 0.2
    assert row[55] > 0.8


def test_nothing_visible_stays_as_it_is():
    picture = noise(9, 9)
    assert torch.equal(bleed(picture, torch.zeros(1, 1, 9, 9)), picture)
    both = torch.cat([picture, picture])
    alphas = torch.cat([torch.zeros(1, 1, 9, 9), disc(9, 9)])
    assert torch.equal(bleed(both, alphas)[0], picture[0])


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("target", [Size(1, 1), Size(100, 130), Size(333, 47), Size(20, 10)], ids=str)
def test_alpha_stays_in_the_range_of_its_source(size: tuple[int, int], target: Size):
    alpha = noise(*size, 1) * 0.5 + 0.25
    result = resize_alpha(alpha, target)
    assert result.shape[-2:] == (target.height, target.width)
    assert result.min() >= 0
    assert result.max() <= 1
    if target.width >= size[1] and target.height >= size[0]:
        assert alpha.min() <= result.min() <= result.max() <= alpha.max()


def test_an_opaque_area_stays_opaque_beside_a_hard_edge():
    """Plain Lanczos rings by several percent here."""
    alpha = torch.zeros(1, 1, 16, 32)
    alpha[..., 16:] = 1
    result = resize_alpha(alpha, Size(128, 64))
    assert (result[..., 64 + 4 :] == 1).all()
    assert (result[..., : 64 - 4] == 0).all()
    assert resize(alpha, Size(128, 64)).max() > 1.03


@pytest.mark.parametrize("target", [Size(47, 16), Size(12, 5), Size(47, 64), Size(96, 7)], ids=str)
def test_an_edge_does_not_ring_when_it_shrinks(target: Size):
    """Half-opaque beside empty: plain Lanczos overshoots both, by several percent and within 0 to 1."""
    alpha = torch.full((1, 1, 16, 96), 0.2)
    alpha[..., 41:] = 0.6
    result = resize_alpha(alpha, target)
    assert result.min() == alpha.min()
    assert result.max() == alpha.max()
    steps = result[..., 1:] - result[..., :-1]
    assert steps.min() >= -1e-6
    if target.width < 96:
        assert resize(alpha, target).max() > 0.61


@pytest.mark.parametrize("target", [Size(17, 9), Size(40, 23), Size(111, 5), Size(200, 160)], ids=str)
def test_alpha_stays_between_its_bilinear_neighbours(target: Size):
    """Reference: every source pixel that a bilinear filter of the same reduction weighs, looked up one by one."""
    alpha = noise(23, 40, 1)
    result = resize_alpha(alpha, target)[0, 0]
    scale = (23 / target.height, 40 / target.width)
    for row, column in [(0, 0), (3, 5), (target.height // 2, target.width // 3), (target.height - 1, target.width - 1)]:
        seen = alpha[0, 0]
        for dim, index in enumerate((row, column)):
            centre, reach = (index + 0.5) * scale[dim], max(scale[dim], 1.0)
            near = (torch.arange(seen.shape[dim]) + 0.5 - centre).abs() < reach - 1e-9
            seen = seen.index_select(dim, near.nonzero().flatten())
        assert seen.min() <= result[row, column] <= seen.max()


def test_half_precision_does_not_overflow():
    picture, alpha = noise(600, 700).half(), torch.ones(1, 1, 600, 700).half()
    alpha[..., :300, :] = 0
    result = bleed(picture, alpha)
    assert result.dtype == torch.float16
    assert torch.isfinite(result).all()
    assert abs(result[..., :280, :].mean() - 0.5) < 0.05


def test_the_shown_part_is_the_part_of_the_whole():
    alpha = disc(40, 40)
    whole = resize_alpha(alpha, Size(160, 160))
    part = resize_alpha(alpha, Size(80, 80), FloatBox(10, 10, 20, 20))
    assert torch.allclose(part, whole[..., 40:120, 40:120], atol=1e-5)


@pytest.mark.parametrize("ground", [0.0, 1.0])
@pytest.mark.parametrize("target", [Size(31, 23), Size(380, 264)], ids=str)
def test_no_fringe_over_black_or_white(ground: float, target: Size):
    """Composed colour of a one-coloured cutout: always between its colour and the ground, as alpha says."""
    alpha = disc(66, 95)
    picture = torch.where(alpha > 0, torch.full((1, 3, 66, 95), 0.6), torch.full((1, 3, 66, 95), 1 - ground))
    colour, cover = resize(bleed(picture, alpha), target), resize_alpha(alpha, target)
    composed = colour * cover + ground * (1 - cover)
    assert torch.allclose(composed, 0.6 * cover + ground * (1 - cover), atol=1e-5)
