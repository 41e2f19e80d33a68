"""Plans of tiles: numbers only."""

from __future__ import annotations

import pytest
import torch
from backplate.core.image.tiling import (
    Edge,
    blend_weights,
    choose_tile,
    plan_tiles,
    read_region,
    split_evenly,
    split_region,
)
from backplate.core.types import Box, Context, Size, SizeRule


@pytest.mark.parametrize(
    ("start", "length", "limit", "align", "expected"),
    [
        (0, 100, 100, 1, [(0, 100)]),
        (0, 101, 100, 1, [(0, 50), (50, 51)]),
        (7, 100, 40, 1, [(7, 33), (40, 33), (73, 34)]),
        (0, 10, 4, 4, [(0, 4), (4, 4), (8, 2)]),
        (0, 1, 64, 1, [(0, 1)]),
        (0, 3, 1, 8, [(0, 3)]),
    ],
)
def test_split_evenly(start: int, length: int, limit: int, align: int, expected: list[tuple[int, int]]):
    assert split_evenly(start, length, limit, align) == expected


@pytest.mark.parametrize("area", [Box(0, 0, 1, 1), Box(0, 0, 257, 63), Box(-12, 4, 1000, 700)])
@pytest.mark.parametrize("side", [32, 64, 100, 512])
@pytest.mark.parametrize("align", [1, 4])
def test_cores_cover_the_area_once_and_are_even(area: Box, side: int, align: int):
    covered = torch.zeros(area.height, area.width, dtype=torch.int)
    rows = plan_tiles(area, Size(side, side), band=8, align=align)
    for row in rows:
        for tile in row:
            core = tile.core
            covered[core.y - area.y : core.bottom - area.y, core.x - area.x : core.right - area.x] += 1
            assert core.width <= side + align
            assert core.height <= side + align
    assert covered.min() == 1
    assert covered.max() == 1
    widths = [tile.core.width for tile in rows[0]]
    assert max(widths) - min(widths) <= 2 * align


@pytest.mark.parametrize("area", [Box(0, 0, 257, 163), Box(5, -3, 90, 70)])
def test_blending_weights_add_up_to_one(area: Box):
    total = torch.zeros(area.height * 2, area.width * 2)
    for row in plan_tiles(area, Size(48, 40), band=7):
        for tile in row:
            weights = blend_weights(tile, 2)
            region = tile.region
            y, x = (region.y - area.y) * 2, (region.x - area.x) * 2
            part = torch.ones(region.height * 2, region.width * 2)
            if weights is not None:
                part = part * weights[0][:, None] * weights[1]
            total[y : y + region.height * 2, x : x + region.width * 2] += part
    assert torch.allclose(total, torch.ones_like(total), atol=1e-6)


@pytest.mark.parametrize("area", [Size(1024, 768), Size(2000, 100), Size(64, 64), Size(8000, 20)])
@pytest.mark.parametrize("halo", [0, 18, 34])
def test_chosen_tiles_stay_in_the_budget(area: Size, halo: int):
    budget = 362 * 362
    tile = choose_tile(area, halo, budget)
    for row in plan_tiles(Box(0, 0, *area), tile):
        for part in row:
            width = min(part.core.right + halo, area.width) - max(part.core.x - halo, 0)
            height = min(part.core.bottom + halo, area.height) - max(part.core.y - halo, 0)
            assert width * height <= budget


def test_a_small_picture_is_one_tile():
    assert choose_tile(Size(300, 200), 34, 362 * 362) == Size(300, 200)


PICTURE = torch.arange(1.0, 13.0).reshape(1, 1, 3, 4)


@pytest.mark.parametrize(
    ("edge", "expected"),
    [
        (Edge.PLAIN, [1, 2, 3]),
        (Edge.REPLICATE, [1, 1, 1, 2, 3]),
        (Edge.WRAP_HORIZONTAL, [3, 4, 1, 2, 3]),
        (Edge.WRAP_BOTH, [3, 4, 1, 2, 3]),
    ],
)
def test_what_lies_beyond_the_border(edge: Edge, expected: list[float]):
    pixels, inside = read_region(PICTURE, Box(0, 0, 1, 3), Context(halo=2), edge)
    row = pixels[0, 0, inside.y].tolist()
    assert row == expected
    assert pixels[..., inside.y : inside.bottom, inside.x : inside.right].flatten().tolist() == [1, 5, 9]


def test_size_rule_mirrors_like_spandrel_and_then_repeats():
    from spandrel.__helpers.size_req import SizeRequirements, pad_tensor

    for minimum, multiple in ((0, 4), (8, 4), (16, 8)):
        rule = SizeRule(minimum=minimum, multiple_of=multiple)
        pixels, _ = read_region(PICTURE, Box(0, 0, 4, 3), Context(grid=multiple, rule=rule), Edge.PLAIN)
        _, expected = pad_tensor(PICTURE, SizeRequirements(minimum=minimum, multiple_of=multiple))
        assert torch.equal(pixels, expected)


@pytest.mark.parametrize("grid", [1, 6, 8, 32])
@pytest.mark.parametrize("size", [(50, 70), (33, 200), (7, 64)], ids=str)
def test_what_is_read_begins_on_the_grid_and_meets_the_rule(size: tuple[int, int], grid: int):
    """Pixels of the picture continued as the model continues it, whatever the region; never more than that."""
    height, width = size
    rule = SizeRule(minimum=16, multiple_of=2)
    padded = rule.padded(Size(width, height))
    picture = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(1))
    whole, _ = read_region(picture, Box(0, 0, width, height), Context(rule=rule, grid=2), Edge.PLAIN)
    assert whole.shape[2:] == (padded.height, padded.width)
    for region in (Box(0, 0, 5, 5), Box(width // 2, height // 2, 3, 3), Box(width - 4, height - 4, 4, 4)):
        pixels, inside = read_region(picture, region, Context(halo=3, grid=grid, rule=rule), Edge.PLAIN)
        x, y = region.x - inside.x, region.y - inside.y
        assert (x % grid, y % grid) == (0, 0)
        assert rule.padded(Size(pixels.shape[3], pixels.shape[2])) == (pixels.shape[3], pixels.shape[2])
        assert torch.equal(pixels, whole[..., y : y + pixels.shape[2], x : x + pixels.shape[3]])
        assert inside.x >= min(3, region.x)
        assert pixels.shape[3] - inside.right >= min(3, padded.width - region.right)


def test_a_model_for_squares_is_given_a_square_of_the_picture_it_would_see():
    picture = torch.rand(1, 1, 20, 60, generator=torch.Generator().manual_seed(1))
    rule = SizeRule(multiple_of=4, square=True)
    whole, _ = read_region(picture, Box(0, 0, 60, 20), Context(rule=rule, grid=4), Edge.PLAIN)
    assert whole.shape[2:] == (60, 60)
    for region in (Box(8, 0, 16, 16), Box(40, 4, 20, 16), Box(0, 0, 60, 4)):
        pixels, inside = read_region(picture, region, Context(halo=2, grid=4, rule=rule), Edge.PLAIN)
        assert pixels.shape[2] == pixels.shape[3]
        x, y = region.x - inside.x, region.y - inside.y
        assert torch.equal(pixels, whole[..., y : y + pixels.shape[2], x : x + pixels.shape[3]])


@pytest.mark.parametrize("align", [1, 3, 4, 8])
@pytest.mark.parametrize("width", [32, 36, 44, 45, 63, 100])
def test_two_halves_are_the_whole_region(width: int, align: int):
    for x in (0, align, 5 * align):
        first, second = split_region(Box(x, 0, width, 20), align) or (Box(x, 0, width, 20), Box(x + width, 0, 0, 20))
        assert (first.x, first.right, second.right) == (x, second.x, x + width)


@pytest.mark.parametrize(("area", "longest"), [(Size(2000, 100), 512), (Size(90, 2000), 128), (Size(700, 700), 300)])
def test_no_tile_is_longer_than_it_may_be(area: Size, longest: int):
    tile = choose_tile(area, 16, 10**6, 4, longest)
    assert max(min(side + 32, whole) for side, whole in zip(tile, area, strict=True)) <= longest


def test_split_region_halves_and_ends():
    first, second = split_region(Box(3, 5, 100, 40), 1) or (None, None)
    assert (first, second) == (Box(3, 5, 50, 40), Box(53, 5, 50, 40))
    assert split_region(Box(0, 0, 31, 31), 1) is None
