"""Fidelity: what a result has in common with its source, on pictures whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.resize import resize
from backplate.core.metrics.fidelity import fidelity
from backplate.core.metrics.psnr import psnr
from backplate.core.types import Size


def test_an_enlargement_of_the_same_size_is_the_source(drawn):
    picture = drawn(20, 30)
    found = fidelity(picture, picture.clone())[0]
    assert found.lr_psnr == math.inf
    assert found.delta_e == 0


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_known_shift_of_brightness_is_found_whatever_the_scale(scale):
    """Grey of 0.5 enlarged as 0.6: an error of 0.1 is 20 dB; in CIELAB only the lightness moves."""
    colour = pytest.importorskip("skimage.color")
    found = fidelity(torch.full((1, 3, 12, 15), 0.5), torch.full((1, 3, 12 * scale, 15 * scale), 0.6))[0]
    assert found.lr_psnr == pytest.approx(20.0, abs=1e-3)
    labs = [colour.rgb2lab(np.full((1, 1, 3), value)) for value in (0.5, 0.6)]
    assert found.delta_e == pytest.approx(float(colour.deltaE_ciede2000(*labs)[0, 0]), abs=1e-4)


def test_plain_enlargement_is_more_faithful_than_a_spoiled_one(drawn, spoiled):
    source = drawn(24, 32)
    plain = resize(source, Size(128, 96)).clamp(0, 1)
    good, bad = fidelity(source, plain)[0], fidelity(source, spoiled(plain, 0.2))[0]
    assert good.lr_psnr > 35 > bad.lr_psnr
    assert good.delta_e < bad.delta_e


def test_lr_psnr_is_psnr_of_the_reduced_result(drawn, spoiled):
    source = drawn(24, 32)
    result = spoiled(resize(source, Size(96, 72)).clamp(0, 1))
    reduced = resize(result, Size(32, 24)).clamp(0, 1)
    assert fidelity(source, result)[0].lr_psnr == pytest.approx(psnr(reduced, source)[0])


def test_detail_that_averages_out_costs_nothing():
    """A checkerboard of single pixels around the source's grey is gone after reduction, seen from the middle."""
    source = torch.full((1, 3, 16, 16), 0.5)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    result = 0.5 + 0.2 * ((x + y) % 2 * 2 - 1).float().expand(1, 3, -1, -1)
    assert psnr(result, torch.full_like(result, 0.5))[0] == pytest.approx(13.98, abs=0.01)
    assert fidelity(source, result)[0].lr_psnr > 50


def test_each_picture_of_a_batch_has_its_own_figures():
    source = torch.full((2, 3, 8, 8), 0.5)
    result = torch.full((2, 3, 16, 16), 0.5)
    result[1] = 0.6
    first, second = fidelity(source, result)
    assert first.lr_psnr > 100
    assert second.lr_psnr == pytest.approx(20.0, abs=1e-3)


def test_grey_results_of_grey_sources(drawn):
    source = drawn(16, 16, channels=1)
    assert fidelity(source, source.repeat_interleave(2, 2).repeat_interleave(2, 3))[0].lr_psnr > 30


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((10, 40), "40x10 is smaller than its source of 20x20"),
        ((40, 80), "80x40 has different proportions from .* 20x20"),
    ],
)
def test_what_is_no_enlargement_is_refused(drawn, result, message):
    with pytest.raises(InputError, match=message):
        fidelity(drawn(20, 20), drawn(*result))


def test_a_fit_that_rounds_by_a_pixel_is_an_enlargement(drawn):
    assert fidelity(drawn(20, 30), drawn(81, 120))[0].lr_psnr < 100
