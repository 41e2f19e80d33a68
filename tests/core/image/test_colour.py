"""Conversions against scikit-image and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from backplate.core.image.colour import BT601, BT709, luma, rgb_to_ycbcr, to_grey, to_rgb, ycbcr_to_rgb
from PIL import Image
from skimage.color import rgb2gray

PICTURE = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(4))


def test_bt709_luma_is_that_of_scikit_image():
    # scikit-image rounds the weights of BT.709 to 0.2125, 0.7154, 0.0721.
    expected = rgb2gray(PICTURE[0].permute(1, 2, 0).numpy())
    assert np.abs(luma(PICTURE[:1], BT709)[0, 0].numpy() - expected).max() < 3e-4


def test_ycbcr_is_that_of_jpeg():
    pixels = (PICTURE[0].permute(1, 2, 0) * 255).round().byte().numpy()
    expected = np.asarray(Image.fromarray(pixels).convert("YCbCr")).astype(float)
    ours = rgb_to_ycbcr(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)[0] * 255
    ours[1:] += 128
    assert np.abs(ours.permute(1, 2, 0).numpy() - expected).max() <= 1.01


@pytest.mark.parametrize("weights", [BT601, BT709])
def test_there_and_back(weights: tuple[float, float, float]):
    assert torch.allclose(ycbcr_to_rgb(rgb_to_ycbcr(PICTURE, weights), weights), PICTURE, atol=1e-6)


def test_grey_and_colour():
    grey = PICTURE[:, :1]
    assert torch.equal(to_grey(to_rgb(grey))[:, 0], luma(grey.expand(-1, 3, -1, -1))[:, 0])
    assert torch.allclose(to_grey(to_rgb(grey)), grey, atol=1e-6)
    assert to_rgb(PICTURE) is PICTURE
    assert to_grey(grey) is grey
