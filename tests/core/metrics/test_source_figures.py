"""A result against its source: one report of everything, with thresholds."""

from __future__ import annotations

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.metrics.compare import Threshold, missed
from backplate.core.metrics.edge_width import edge_width
from backplate.core.metrics.fidelity import fidelity
from backplate.core.metrics.registry import WITH_SOURCE
from backplate.core.metrics.ringing import overshoot
from backplate.core.metrics.source_figures import compare_with_source


@pytest.fixture
def pair(drawn) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.cat([drawn(96, 96, seed, falloff=3.0) for seed in range(2)])
    return source, torch.nn.functional.interpolate(source, scale_factor=2, mode="bilinear")


def test_figures_are_those_of_the_functions(pair):
    found = compare_with_source(*pair)
    source, result = pair
    assert found.metrics == WITH_SOURCE
    for index, row in enumerate(found.rows):
        assert row.values["lr_psnr"] == pytest.approx(fidelity(source, result)[index].lr_psnr)
        assert row.values["overshoot"] == pytest.approx(overshoot(source, result)[index])
        assert row.values["edge_width"] == pytest.approx(edge_width(result)[index])
        assert row.values["defects"] == 0
    assert "LR-PSNR: fidelity: PSNR (RGB) between the source and the result" in found.text()


def test_thresholds_of_either_direction(pair):
    found = compare_with_source(*pair)
    assert missed(found, [Threshold("lr_psnr", 20), Threshold("delta_e", 5), Threshold("defects", 0)]) == []
    sentences = missed(found, [Threshold("lr_psnr", 90), Threshold("delta_e", 0.0)])
    assert sentences[0].endswith("wanted at least 90.")
    assert sentences[1].endswith("wanted at most 0.")


def test_defects_are_counted_and_described(pair):
    source, result = pair
    result = result.clone()
    result[0, :, :32, :32] = 0
    result[1, 0, 5, 5] = torch.nan
    first, second = compare_with_source(source, result).rows
    assert first.values["defects"] == 1
    assert "1 blocks are black" in first.problems[0]
    assert second.values == {"defects": 1}
    assert second.problems == ("1 values are NaN or infinite.",)


def test_what_cannot_be_measured_is_a_sentence_and_the_rest_is_there():
    found = compare_with_source(torch.full((1, 3, 1, 1), 0.5), torch.full((1, 3, 4, 4), 0.5))
    assert set(found.means) == {"lr_psnr", "delta_e", "defects"}
    assert len(found.rows[0].problems) == 2


def test_other_numbers_are_refused(pair):
    with pytest.raises(InputError, match="There are 2 sources and 1 results"):
        compare_with_source(pair[0], pair[1][:1])
