"""The facts about metrics hold for the functions they describe."""

from __future__ import annotations

import math

import pytest
from backplate.core.errors import InputError
from backplate.core.metrics.psnr import psnr
from backplate.core.metrics.registry import METRICS, WITH_REFERENCE, metric_names
from backplate.core.metrics.ssim import ms_ssim, ssim

FUNCTIONS = {"psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_direction_and_range_are_those_of_the_function(drawn, spoiled, name):
    metric, function = METRICS[name], FUNCTIONS[name]
    picture = drawn(180, 180)
    best, good, bad = (function(each, picture)[0] for each in (picture, spoiled(picture, 0.02), spoiled(picture, 0.2)))
    assert metric.better(good, bad)
    assert metric.better(best, good)
    assert best == pytest.approx(metric.high if metric.higher_is_better else metric.low)
    assert all(metric.low <= value <= metric.high for value in (best, good, bad))


def test_every_metric_is_complete():
    for name, metric in METRICS.items():
        assert name == metric.name
        assert metric.low < metric.high
        assert metric.label
        assert metric.about
    assert set(WITH_REFERENCE) == {"psnr", "ssim", "ms_ssim", "lpips", "vmaf"}


def test_figures_are_written_with_their_decimals():
    assert METRICS["psnr"].format(31.4159) == "31.42"
    assert METRICS["ssim"].format(0.91239) == "0.9124"
    assert METRICS["psnr"].format(math.inf) == "inf"
    assert METRICS["psnr"].format(None) == "-"


def test_names_are_tidied_and_each_is_kept_once():
    assert metric_names([" PSNR", "ms-ssim", "psnr"]) == ("psnr", "ms_ssim")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["pnsr"], "no metric 'pnsr' here; did you mean psnr"),
        (["zzz"], "there are psnr, ssim, ms_ssim, lpips, vmaf"),
        (["lr_psnr"], "no metric 'lr_psnr'"),
        ([], "No metric was named"),
    ],
)
def test_unknown_names_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        metric_names(given)
