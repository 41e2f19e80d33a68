"""SSIM and MS-SSIM agree with scikit-image, which is built into a multi-scale reference here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.metrics.errors import NotMeasurable
from backplate.core.metrics.pair import Channel
from backplate.core.metrics.ssim import SCALE_WEIGHTS, ms_ssim, ssim
from PIL import Image

metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is the reference here")
colour = pytest.importorskip("skimage.color")

WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def hwc(picture: torch.Tensor) -> np.ndarray:
    return picture[0].permute(1, 2, 0).double().numpy()


def reference_ssim(first: np.ndarray, second: np.ndarray, **options) -> float:
    return metrics.structural_similarity(first, second, data_range=1, **WANG, **options)


def reference_ms_ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Of two planes. With K1 so large that the luminance term is 1, scikit-image's SSIM is the contrast term."""
    product = 1.0
    for level, weight in enumerate(SCALE_WEIGHTS):
        last = level == len(SCALE_WEIGHTS) - 1
        product *= reference_ssim(first, second, K1=0.01 if last else 1e6) ** weight
        halved = []
        for plane in (first, second):
            even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
            halved.append(even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean((1, 3)))
        first, second = halved
    return product


@pytest.mark.parametrize("size", [(11, 11), (11, 90), (64, 48), (75, 74), (131, 77), (140, 139)])
def test_agrees_with_scikit_image(drawn, spoiled, size):
    reference = drawn(*size)
    result = spoiled(reference)
    expected = reference_ssim(hwc(reference), hwc(result), channel_axis=2)
    assert ssim(result, reference)[0] == pytest.approx(expected, abs=1e-6)


def test_agrees_on_luma_inside_a_border(drawn, spoiled):
    reference = drawn(60, 50)
    result = spoiled(reference)
    planes = [colour.rgb2ycbcr(hwc(picture))[4:-4, 4:-4, 0] / 255 for picture in (reference, result)]
    assert ssim(result, reference, channel=Channel.Y, border=4)[0] == pytest.approx(reference_ssim(*planes), abs=1e-6)


def test_agrees_on_set5(shared: Path):
    for path in sorted((shared / "images/set5").iterdir()):
        image = Image.open(path).convert("RGB")
        small = image.resize((image.width // 4, image.height // 4), Image.Resampling.BICUBIC)
        pair = [
            np.asarray(each, dtype=np.float64) / 255
            for each in (small.resize(image.size, Image.Resampling.BICUBIC), image)
        ]
        tensors = [torch.from_numpy(each).permute(2, 0, 1)[None].float() for each in pair]
        expected = reference_ssim(*pair, channel_axis=2)
        assert ssim(*tensors)[0] == pytest.approx(expected, abs=1e-4), path.name


@pytest.mark.parametrize("size", [(176, 176), (207, 190)])
def test_multiscale_agrees_with_scikit_image_at_each_scale(drawn, spoiled, size):
    reference = drawn(*size)
    result = spoiled(reference, 0.15)
    expected = np.mean([reference_ms_ssim(hwc(reference)[..., c], hwc(result)[..., c]) for c in range(3)])
    assert ms_ssim(result, reference)[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("metric", [ssim, ms_ssim])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_identical_pictures_give_one_also_when_constant(metric, value):
    picture = torch.full((2, 3, 180, 177), value)
    assert metric(picture, picture.clone()) == pytest.approx([1.0, 1.0], abs=1e-12)


def test_opposite_pictures_count_as_unlike(drawn):
    picture = drawn(180, 180)
    assert ssim(1 - picture, picture)[0] < 0
    assert ms_ssim(1 - picture, picture)[0] == 0


@pytest.mark.parametrize(("metric", "side"), [(ssim, 11), (ms_ssim, 176)])
def test_small_pictures_are_refused(metric, side):
    picture = torch.rand(1, 1, side, side - 1)
    with pytest.raises(NotMeasurable, match=f"at least {side}x{side} pixels.*there are {side - 1}x{side}"):
        metric(picture, picture)
