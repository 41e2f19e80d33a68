"""Crops lie where the versions differ."""

from __future__ import annotations

import pytest
import torch
from backplate.core.shootout.crops import choose_spots
from backplate.core.types import Box


def test_the_largest_difference_is_first_and_others_lie_apart():
    first = torch.full((1, 3, 200, 300), 0.5)
    second = first.clone()
    second[..., 100:140, 200:240] += 0.3
    second[..., 20:60, 20:60] += 0.1
    spots = choose_spots([first, second], 40, 2)
    assert [spot.box for spot in spots] == [Box(200, 100, 40, 40), Box(20, 20, 40, 40)]
    assert spots[0].spread == pytest.approx(0.15, abs=1e-4)
    assert spots[1].spread == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (30, 500), (41, 40), (200, 200)])
@pytest.mark.parametrize("count", [1, 3])
def test_crops_lie_inside_and_apart_at_any_size(size, count):
    versions = [torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    spots = choose_spots(versions, 40, count)
    assert 1 <= len(spots) <= count
    covered = torch.zeros(size)
    for box, _ in spots:
        assert box.x >= 0
        assert box.y >= 0
        assert box.right <= size[1]
        assert box.bottom <= size[0]
        covered[box.y : box.bottom, box.x : box.right] += 1
    assert covered.max() == 1
    assert [spot.spread for spot in spots] == sorted((spot.spread for spot in spots), reverse=True)
