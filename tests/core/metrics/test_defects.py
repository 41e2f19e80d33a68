"""Broken, black and flat areas are found, and nothing else is."""

from __future__ import annotations

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.metrics.defects import find_defects
from backplate.core.types import Box


def enlarged(source: torch.Tensor, scale: int = 3) -> torch.Tensor:
    return source.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (48, 33)])
def test_a_sound_result_has_none(drawn, size):
    source = drawn(*size)
    found = find_defects(source, enlarged(source))[0]
    assert found.none
    assert found.text == "no defects"


def test_black_and_flat_blocks_are_named(drawn):
    source = drawn(48, 64)
    result = enlarged(source)
    result[..., 48:96, 96:144] = 0
    result[..., :48, :48] = result[..., :48, :48].mean()
    found = find_defects(source, result)[0]
    assert found.black == (Box(96, 48, 48, 48),)
    assert found.flat == (Box(0, 0, 48, 48),)
    assert found.text.startswith("1 blocks are black where the source is not (the first: 48x48 at (96, 48))")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_broken_values_are_counted(drawn, value):
    source = drawn(20, 20)
    result = enlarged(source)
    result[0, 0, 3, 5:9] = value
    found = find_defects(source, result)[0]
    assert found.broken == 4
    assert not found.black
    assert not found.flat
    assert found.text == "4 values are NaN or infinite"


def test_black_and_flat_sources_may_stay_so():
    source = torch.zeros(1, 3, 32, 32)
    source[..., 16:] = 0.6
    assert find_defects(source, enlarged(source))[0].none


def test_an_all_black_result_is_black_everywhere(drawn):
    source = drawn(32, 48)
    assert len(find_defects(source, torch.zeros(1, 3, 96, 144))[0].black) == 6


def test_other_numbers_of_pictures_are_refused(drawn):
    with pytest.raises(InputError, match="the same number of both"):
        find_defects(drawn(8, 8), torch.zeros(2, 3, 16, 16))
