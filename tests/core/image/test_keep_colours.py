"""Flat areas get the source's colours again; edges, detail and faithful results stay what they are."""

from __future__ import annotations

import pytest
import torch
from backplate.core.image.filters import gaussian
from backplate.core.image.keep_colours import UNSEEN, ColourChange, keep_colours
from backplate.core.metrics.colour_difference import ciede2000, srgb_to_lab
from torch.nn.functional import avg_pool2d, interpolate

LEVEL = 1 / 255


def kept(source: torch.Tensor, result: torch.Tensor, portion: int = 0, change: ColourChange | None = None):
    scale = result.shape[3] // source.shape[3]
    rows = iter(result.split(portion or result.shape[2], dim=2))
    return torch.cat(list(keep_colours(rows, source, scale, change)), dim=2)


def packshot(size: int, ground: float, thing: float) -> torch.Tensor:
    """A square in the middle third."""
    picture = torch.full((1, 3, size, size), ground * LEVEL)
    picture[..., size // 3 : 2 * size // 3, size // 3 : 2 * size // 3] = thing * LEVEL
    return picture


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_background_that_became_white_has_its_colour_again(scale: int):
    colour = torch.tensor([244, 243, 241])[None, :, None, None] * LEVEL
    source, result = colour.expand(1, 3, 40, 52), torch.ones(1, 3, 40 * scale, 52 * scale)
    change = ColourChange()
    found = kept(source, result, change=change)
    wanted = colour.expand(found.shape)
    assert (found - wanted).abs().max() <= UNSEEN + 1e-6
    assert ciede2000(srgb_to_lab(found.double()), srgb_to_lab(wanted.double())).max() < 0.05
    assert change.largest == pytest.approx(14 - 255 * UNSEEN, abs=1e-3)
    assert change.mean == pytest.approx((11 + 12 + 14) / 3 - 255 * UNSEEN, abs=1e-3)
    assert "up to 13.9 levels" in change.sentence


@pytest.mark.parametrize("shown", [(255, 10), (233, 31), (244, 30)], ids=str)
def test_what_a_dark_thing_misses_does_not_glow_on_its_background(shown: tuple[int, int]):
    source, result = packshot(96, 244, 20), gaussian(packshot(384, *shown), 1.0)
    found = kept(source, result)
    row = 255 * (found - packshot(384, 244, 20))[0, 0, 192]
    ground, thing = torch.cat([row[:120], row[264:]]), row[136:248]
    assert ground.abs().max() < 1
    assert thing.abs().max() < 1


def test_a_moved_edge_is_not_taken_for_a_colour():
    """A blunt instrument, a blur of the difference, would shift the paint beside it by levels."""
    source = torch.full((1, 1, 64, 64), 0.8)
    source[..., 32:] = 0.2
    result = interpolate(source, scale_factor=4)
    moved = torch.roll(result, 2, -1)
    moved[..., :2] = 0.8
    found = kept(source, moved)
    assert (found - moved).abs()[..., : 128 - 8].max() < 0.3 * LEVEL
    assert (found - moved).abs()[..., 130 + 8 :].max() < 0.3 * LEVEL
    blunt = gaussian(source - avg_pool2d(moved, 4), 4.5)
    assert blunt.abs().max() > 5 * LEVEL


@pytest.mark.parametrize("portion", [1, 7, 64, 100, 600])
def test_the_portions_of_rows_do_not_matter(portion: int):
    source = noise(1, 3, 150, 47)
    source[..., :20] = 0.5
    result = (interpolate(source, scale_factor=4) * 0.9 + 0.05 * noise(1, 3, 600, 188)).clamp(0, 1)
    assert torch.equal(kept(source, result, portion), kept(source, result))


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (3, 5), (4, 4), (9, 2), (70, 33)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_faithful_result_stays_as_it_is_to_the_bit(size: tuple[int, int], channels: int):
    source = noise(1, channels, *size)
    result = interpolate(source, scale_factor=4)
    change = ColourChange()
    assert torch.equal(kept(source, result, change=change), result)
    assert change.sentence == ""
    assert change.largest == 0


def test_detail_stays_where_the_colour_moves():
    """What averages out over a source pixel is the model's own, whatever it adds."""
    source = torch.full((1, 3, 48, 48), 0.5)
    detail = 0.1 * torch.tensor([1.0, -1.0]).repeat(96)[None, None, None] * torch.ones(1, 3, 192, 192)
    found = kept(source, source.new_full((1, 3, 192, 192), 0.5 + 8 * LEVEL) + detail)
    assert (found - 0.5 - detail).abs().max() < 0.1 * LEVEL


def test_a_black_tile_is_not_covered_up():
    source = 0.5 + 0.1 * noise(1, 3, 64, 64)
    result = interpolate(source, scale_factor=4)
    result[..., :128, :128] = 0
    assert torch.equal(kept(source, result), result)


def test_a_gradient_keeps_its_course():
    ramp = torch.linspace(0.2, 0.8, 256)[None, None, None].expand(1, 3, 64, 256)
    source = avg_pool2d(ramp, 4)
    shifted = (ramp + torch.linspace(-6, 9, 256) * LEVEL).clamp(0, 1)
    found = kept(source, shifted)
    assert (found - ramp)[..., 16:-16].abs().max() < 0.5 * LEVEL


def test_grey_and_half_precision_sources_are_taken():
    source = torch.full((1, 1, 20, 20), 0.5, dtype=torch.float16)
    found = kept(source, torch.full((1, 1, 40, 40), 0.55))
    assert found.dtype == torch.float32
    assert (found - 0.5).abs().max() < 0.1 * LEVEL
