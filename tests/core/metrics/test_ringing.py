"""Overshoot of made edges with a known excursion is found to the percent."""

from __future__ import annotations

import pytest
import torch
from backplate.core.image.resize import resize
from backplate.core.metrics.errors import NotMeasurable
from backplate.core.metrics.ringing import overshoot
from backplate.core.types import Size

LOW, HIGH = 0.2, 0.8


def step(across: bool) -> torch.Tensor:
    source = torch.full((1, 3, 24, 24), LOW)
    source[..., 12:] = HIGH
    return source if across else source.transpose(2, 3)


def nearest(source: torch.Tensor, scale: int) -> torch.Tensor:
    return source.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize("sides", ["both", "high", "low"])
@pytest.mark.parametrize("percent", [2.0, 10.0, 25.0])
def test_a_planted_overshoot_is_measured(scale, across, sides, percent):
    source = step(across)
    result = nearest(step(True), scale)
    amount = percent / 100 * (HIGH - LOW)
    edge = 12 * scale
    if sides in ("both", "high"):
        result[..., edge : edge + scale] += amount
    if sides in ("both", "low"):
        result[..., edge - scale : edge] -= amount
    result = result if across else result.transpose(2, 3)
    assert overshoot(source, result)[0] == pytest.approx(percent, abs=1e-3)


def test_no_overshoot_is_zero():
    assert overshoot(step(True), nearest(step(True), 4)) == [0.0]


def test_lanczos_rings_as_its_kernel_says():
    """Lanczos-3 overshoots a step by about a tenth of its height."""
    assert 8 < overshoot(step(True), resize(step(True), Size(96, 96)))[0] < 14


def test_bilinear_never_rings(drawn):
    source = drawn(96, 96, falloff=3.0)
    result = torch.nn.functional.interpolate(source, scale_factor=4, mode="bilinear")
    assert overshoot(source, result)[0] == pytest.approx(0, abs=0.3)


def test_more_sharpening_is_more_overshoot(drawn):
    source = drawn(96, 96, falloff=3.0)
    plain = torch.nn.functional.interpolate(source, scale_factor=3, mode="bilinear")
    soft = torch.nn.functional.avg_pool2d(plain, 5, 1, 2, count_include_pad=False)
    values = [overshoot(source, (plain + k * (plain - soft)).clamp(0, 1))[0] for k in (0.0, 1.0, 2.0, 4.0)]
    assert values == sorted(values)
    assert values[-1] > 2 * values[1] > 0


def test_texture_is_no_ringing(spoiled):
    """Grain leaves the local range everywhere, but not along the edge: a halo of the same size counts far more."""
    result = nearest(step(True), 4)
    halo = result.clone()
    halo[..., 48:52] += 0.1
    grain = spoiled(result, 0.1)
    assert overshoot(step(True), grain)[0] < overshoot(step(True), halo)[0]


def test_true_detail_counts_less_than_a_halo(drawn):
    """What a picture was before it was reduced is not accused of ringing, a sharpened version of it is."""
    truth = drawn(384, 384, falloff=3.0)
    source = resize(truth, Size(96, 96)).clamp(0, 1)
    soft = torch.nn.functional.avg_pool2d(truth, 9, 1, 4, count_include_pad=False)
    sharpened = (truth + (truth - soft)).clamp(0, 1)
    assert overshoot(source, truth)[0] < 4
    assert overshoot(source, sharpened)[0] > 10


@pytest.mark.parametrize("source", [torch.full((1, 3, 12, 16), 0.4), torch.rand(1, 3, 12, 16)])
def test_a_source_without_clear_edges_is_refused(source):
    with pytest.raises(NotMeasurable, match="16x12 has . edges that are 10% high and flat on both sides"):
        overshoot(source, nearest(source, 2))


def test_one_pixel():
    with pytest.raises(NotMeasurable):
        overshoot(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 4, 4))
