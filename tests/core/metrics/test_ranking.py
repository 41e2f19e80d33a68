"""Rankings call a winner only where the pictures agree, and intervals are those of the bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from backplate.core.metrics.ranking import FEWEST_PICTURES, rank
from backplate.core.metrics.registry import METRICS

PSNR, LPIPS = METRICS["psnr"], METRICS["lpips"]


def figures(**rows: list[float]) -> dict[str, dict[str, float]]:
    return {model: {f"p{index}": value for index, value in enumerate(row)} for model, row in rows.items()}


HARD_AND_EASY = [18.0, 24.0, 30.0, 36.0, 42.0, 27.0]


def test_a_steady_lead_wins_though_pictures_differ_far_more():
    ranking = rank(PSNR, figures(a=[v + 0.3 for v in HARD_AND_EASY], b=HARD_AND_EASY))
    first, second = ranking.standings
    assert first.interval.low < second.interval.high
    assert second.lead == pytest.approx(0.3)
    assert ranking.winner == "a"
    assert ranking.verdict.startswith("PSNR: a is best with 29.80 dB [")
    assert ranking.verdict.endswith("ahead of b by 0.30 dB [0.30, 0.30].")


def test_a_lead_that_changes_sides_is_no_clear_winner():
    other = [value + step for value, step in zip(HARD_AND_EASY, (2, -1, 1, -2, 1, 0.5), strict=True)]
    ranking = rank(PSNR, figures(a=other, b=HARD_AND_EASY))
    assert ranking.winner is None
    assert [each.model for each in ranking.level] == ["a", "b"]
    assert "no clear winner among a and b" in ranking.verdict


def test_equal_models_are_level():
    ranking = rank(PSNR, figures(a=HARD_AND_EASY, b=HARD_AND_EASY, c=[v - 5 for v in HARD_AND_EASY]))
    assert [each.model for each in ranking.level] == ["a", "b"]
    assert ranking.winner is None


def test_direction_is_that_of_the_metric():
    by_model = figures(a=[0.1, 0.2, 0.3, 0.2], b=[0.2, 0.3, 0.4, 0.3])
    assert rank(LPIPS, by_model).winner == "a"
    assert rank(PSNR, by_model).winner == "b"
    assert rank(LPIPS, by_model).standings[1].lead == pytest.approx(0.1)


def test_intervals_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(5).normal(30, 3, 25)
    found = rank(PSNR, figures(a=list(values))).standings[0].interval
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.low == pytest.approx(expected.low, abs=0.1)
    assert found.high == pytest.approx(expected.high, abs=0.1)


def test_the_same_figures_give_the_same_interval():
    by_model = figures(a=HARD_AND_EASY, b=HARD_AND_EASY[::-1])
    assert rank(PSNR, by_model) == rank(PSNR, by_model)


@pytest.mark.parametrize("count", range(1, FEWEST_PICTURES))
def test_too_few_pictures_make_no_winner(count):
    ranking = rank(PSNR, figures(a=[40.0] * count, b=[20.0] * count))
    assert ranking.winner is None
    assert ranking.standings[0].interval is None
    assert f"no clear winner, {count} are too few pictures (first by mean: a, 40.00 dB)" in ranking.verdict


def test_a_model_that_lacks_a_picture_is_not_ranked():
    by_model = figures(a=[30.0, 31, 32, 33], b=[20.0, 21, 22, 23], c=[50.0, 50, 50])
    ranking = rank(PSNR, by_model)
    assert [each.model for each in ranking.standings] == ["a", "b"]
    assert ranking.incomplete == {"c": 3}
    assert ranking.pictures == 4


def test_nothing_to_rank():
    assert rank(PSNR, {}) is None
    assert rank(PSNR, {"a": {"x": 1.0}, "b": {"y": 1.0}}) is None


def test_infinite_figures_rank_first_without_an_interval():
    ranking = rank(PSNR, figures(b=HARD_AND_EASY, a=[math.inf] * 6, c=[math.inf] * 6))
    assert [each.model for each in ranking.standings] == ["a", "c", "b"]
    assert ranking.winner is None
    assert "infinite" in ranking.verdict


def test_a_single_model_is_no_winner():
    ranking = rank(PSNR, figures(a=HARD_AND_EASY))
    assert ranking.winner is None
    assert "only a was measured" in ranking.verdict
