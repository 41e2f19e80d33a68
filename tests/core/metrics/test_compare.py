"""Reports about pairs of pictures."""

from __future__ import annotations

import json
import math
import sys

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.metrics.compare import (
    Comparer,
    Threshold,
    compare_pictures,
    json_figures,
    missed,
)
from backplate.core.metrics.pair import Align, Channel
from backplate.core.metrics.psnr import psnr
from backplate.core.metrics.registry import CompareSettings
from backplate.core.metrics.ssim import ssim


@pytest.fixture
def batch(drawn, spoiled) -> tuple[torch.Tensor, torch.Tensor]:
    """Three pairs of different quality."""
    reference = torch.cat([drawn(40, 48, seed) for seed in range(3)])
    result = torch.cat([spoiled(reference[i : i + 1], 0.02 * 3**i) for i in range(3)])
    return result, reference


def test_the_mean_is_of_the_values_of_each_image(batch):
    settings = CompareSettings(metrics=("psnr", "ssim"), channel=Channel.Y, border=4)
    found = compare_pictures(*batch, settings)
    values = psnr(*batch, channel=Channel.Y, border=4)
    assert [row.values["psnr"] for row in found.rows] == values
    assert found.mean("psnr") == pytest.approx(sum(values) / 3)
    assert found.mean("ssim") == pytest.approx(sum(ssim(*batch, channel=Channel.Y, border=4)) / 3)


def test_the_text_names_the_convention_beside_the_number(batch):
    settings = CompareSettings(metrics=("psnr",), channel=Channel.Y, border=4)
    text = compare_pictures(*batch, settings).text()
    assert "PSNR dB" in text.splitlines()[0]
    assert (
        "PSNR: 10 log10(1 / mean squared error), data range 1, BT.601 Y (16-235), border of 4 px left out; higher is "
        "better; mean of per-image values" in text
    )


def test_a_metric_that_fails_leaves_the_others(monkeypatch, drawn, spoiled):
    monkeypatch.setitem(sys.modules, "lpips", None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/absent")
    reference = drawn(16, 16)
    settings = CompareSettings(metrics=("psnr", "lpips", "ms_ssim", "vmaf"))
    found = compare_pictures(spoiled(reference), reference, settings)
    assert set(found.means) == {"psnr"}
    assert any("LPIPS (alex) needs alexnet" in problem for problem in found.problems)
    assert any("MS-SSIM needs at least 176x176" in problem for problem in found.rows[0].problems)
    assert any("VMAF needs" in problem for problem in found.all_problems)
    assert "LPIPS (alex) needs" in found.text()


def test_identical_pictures_are_infinite_in_text_and_valid_json(drawn, spoiled):
    reference = torch.cat([drawn(20, 20), drawn(20, 20, 1)])
    result = torch.cat([reference[:1], spoiled(reference[1:])])
    found = compare_pictures(result, reference, CompareSettings(metrics=("psnr",)))
    assert found.mean("psnr") == math.inf
    finite = found.rows[1].values["psnr"]
    assert f"1 are identical, the mean of the others is {finite:.2f}" in found.text()
    data = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert data["means"] == {"psnr": "Infinity"}
    assert float(data["means"]["psnr"]) == math.inf
    assert data["rows"][1]["values"]["psnr"] == finite


def test_json_keeps_numbers_as_they_are():
    assert json_figures({"a": 1.5, "b": math.inf}) == {"a": 1.5, "b": "Infinity"}


@pytest.mark.parametrize(("align", "size"), [(Align.CROP, (24, 30)), (Align.RESIZE, (25, 30))])
def test_sizes_are_aligned_when_asked(drawn, align, size):
    result, reference = drawn(24, 31), drawn(25, 30)
    found = Comparer(CompareSettings(metrics=("psnr",), align=align)).score(result, reference)
    if align is Align.CROP:
        assert found.values["psnr"] == psnr(result[..., :30], reference[..., :24, :])[0]
    assert found.values["psnr"] < 100
    with pytest.raises(InputError, match="31x24 and the reference 30x25; align 'crop'"):
        Comparer(CompareSettings(metrics=("psnr",))).score(result, reference)


def test_transparent_pictures_are_compared_over_grey(drawn):
    picture = drawn(12, 12)
    other = picture.clone()
    alpha = torch.ones(1, 1, 12, 12)
    alpha[..., :6] = 0
    other[..., :6] = 1 - other[..., :6]
    settings = CompareSettings(metrics=("psnr",))
    assert compare_pictures(other, picture, settings, alpha, alpha).mean("psnr") == math.inf
    assert compare_pictures(other, picture, settings).mean("psnr") < 20
    half = alpha.clone()
    half[..., :6] = 0.5
    assert compare_pictures(picture, picture, settings, half, alpha).mean("psnr") < 40


def test_alpha_in_one_only_is_refused_unless_it_is_opaque(drawn):
    picture = drawn(12, 12)
    settings = CompareSettings(metrics=("psnr",))
    alpha = torch.ones(1, 1, 12, 12)
    assert compare_pictures(picture, picture, settings, alpha).mean("psnr") == math.inf
    alpha[..., 0] = 0
    with pytest.raises(InputError, match="The result is transparent in places and the reference is not"):
        compare_pictures(picture, picture, settings, alpha)
    with pytest.raises(InputError, match="The reference is transparent"):
        compare_pictures(picture, picture, settings, None, alpha)


def test_other_numbers_of_pictures_are_refused(drawn):
    with pytest.raises(InputError, match="holds 2 pictures and the reference 1"):
        compare_pictures(drawn(9, 9).expand(2, -1, -1, -1), drawn(9, 9), CompareSettings())


def test_one_pixel_has_a_psnr_and_a_sentence_about_ssim():
    found = compare_pictures(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1), CompareSettings())
    assert found.means == {"psnr": pytest.approx(0)}
    assert found.all_problems == (
        "image 1: SSIM needs at least 11x11 pixels inside the border and there are 1x1; compare larger pictures or "
        "leave this metric out.",
    )


def test_thresholds(batch):
    found = compare_pictures(*batch, CompareSettings())
    mean = found.mean("psnr")
    assert missed(found, [Threshold("psnr", mean - 0.01), Threshold("ssim", 0.1)]) == []
    assert missed(found, [Threshold("psnr", mean)]) == []
    assert missed(found, [Threshold("psnr", 60)]) == [f"PSNR is {mean:.6g} dB, wanted at least 60."]
    assert missed(found, [Threshold("lpips", 0.2)]) == ["LPIPS is wanted at most 0.2 and could not be measured."]
