"""PSNR agrees with scikit-image, takes the luma that papers take, and means what it says for odd input."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.metrics.pair import Channel
from backplate.core.metrics.psnr import psnr
from PIL import Image

metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is the reference here")
colour = pytest.importorskip("skimage.color")


def hwc(picture: torch.Tensor) -> np.ndarray:
    return picture[0].permute(1, 2, 0).double().numpy()


@pytest.mark.parametrize("border", [0, 4])
@pytest.mark.parametrize("size", [(1, 1), (9, 9), (64, 48), (131, 77)])
def test_agrees_with_scikit_image(drawn, spoiled, size, border):
    reference = drawn(*size)
    result = spoiled(reference)
    if 2 * border >= min(size):
        with pytest.raises(InputError, match=f"A border of {border} pixels leaves nothing of a {size[1]}x{size[0]}"):
            psnr(result, reference, border=border)
        return
    cut = slice(border, -border or None)
    expected = metrics.peak_signal_noise_ratio(hwc(reference)[cut, cut], hwc(result)[cut, cut], data_range=1)
    assert psnr(result, reference, border=border)[0] == pytest.approx(expected, abs=1e-4)


def test_luma_is_that_of_rgb2ycbcr(drawn, spoiled):
    reference = drawn(60, 50)
    result = spoiled(reference)
    first, second = (colour.rgb2ycbcr(hwc(picture))[..., 0] for picture in (reference, result))
    expected = metrics.peak_signal_noise_ratio(first, second, data_range=255)
    assert psnr(result, reference, channel=Channel.Y)[0] == pytest.approx(expected, abs=1e-4)


def test_agrees_on_set5(shared: Path):
    for path in sorted((shared / "images/set5").iterdir()):
        image = Image.open(path).convert("RGB")
        small = image.resize((image.width // 4, image.height // 4), Image.Resampling.BICUBIC)
        again = small.resize(image.size, Image.Resampling.BICUBIC)
        first, second = (np.asarray(each, dtype=np.float64) / 255 for each in (image, again))
        pair = [torch.from_numpy(each).permute(2, 0, 1)[None].float() for each in (second, first)]
        expected = metrics.peak_signal_noise_ratio(first, second, data_range=1)
        assert psnr(*pair)[0] == pytest.approx(expected, abs=1e-4), path.name


def test_known_answer_and_no_pooling():
    """Errors of 0.0001 and 0.01: 40 and 20 dB, whose mean is 30; pooled they would be 23."""
    reference = torch.full((2, 1, 8, 8), 0.5)
    result = reference + torch.tensor([0.01, 0.1]).reshape(2, 1, 1, 1)
    values = psnr(result, reference)
    assert values == pytest.approx([40.0, 20.0], abs=1e-3)


def test_identical_pictures_give_infinity(drawn):
    picture = drawn(12, 12)
    assert psnr(picture, picture.clone()) == [math.inf]
    assert psnr(torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)) == [math.inf]


def test_grey_is_compared_with_rgb_as_three_equal_channels(drawn):
    grey = drawn(20, 20, channels=1)
    assert psnr(grey, grey.expand(-1, 3, -1, -1)) == [math.inf]


def test_half_precision_is_measured_in_float32(drawn, spoiled):
    reference = drawn(32, 32)
    result = spoiled(reference)
    assert psnr(result.half(), reference.half())[0] == pytest.approx(psnr(result, reference)[0], abs=0.05)


def test_different_sizes_are_refused_with_both_and_the_way_out(drawn):
    with pytest.raises(InputError, match="252x252 and the reference 255x255; align 'crop'.*252x252.*'resize'"):
        psnr(drawn(252, 252), drawn(255, 255))


def test_different_numbers_are_refused(drawn):
    with pytest.raises(InputError, match="holds 2 pictures and the reference 1"):
        psnr(drawn(8, 8).expand(2, -1, -1, -1), drawn(8, 8))


def test_what_is_no_picture_is_refused(drawn):
    broken = drawn(8, 8)
    broken[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError):
        psnr(broken, drawn(8, 8))
    with pytest.raises(InputError):
        psnr(drawn(8, 8)[0], drawn(8, 8))
