"""CIELAB and CIEDE2000 agree with scikit-image and with the published test data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from backplate.core.metrics.colour_difference import ciede2000, srgb_to_lab

SHARMA = [
    # Pairs of CIELAB colours and their difference, from the supplementary data of Sharma, Wu, Dalal (2005).
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, 3.1571, -77.2803), (50.0, 0.0, -82.7485), 2.8615),
    ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, -0.001, 2.49), (50.0, 0.0009, -2.49), 4.8045),
    ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


def as_picture(colours: np.ndarray) -> torch.Tensor:
    """(n, 3) -> (1, 3, 1, n)."""
    return torch.from_numpy(colours).T[None, :, None]


def test_published_pairs():
    first, second, expected = (np.array(column, dtype=np.float64) for column in zip(*SHARMA, strict=True))
    found = ciede2000(as_picture(first), as_picture(second))[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=6e-5)
    np.testing.assert_allclose(ciede2000(as_picture(second), as_picture(first))[0, 0].numpy(), found, atol=1e-9)


def test_agrees_with_scikit_image_over_the_whole_space():
    colour = pytest.importorskip("skimage.color")
    random = np.random.default_rng(0)
    first, second = random.uniform((0, -128, -128), (100, 128, 128), (2, 20000, 3))
    second[:5000] = first[:5000] + random.normal(0, 0.5, (5000, 3))
    first[:100, 1:] = 0
    found = ciede2000(as_picture(first), as_picture(second))[0, 0].numpy()
    np.testing.assert_allclose(found, colour.deltaE_ciede2000(first, second), atol=1e-8)


def test_lab_agrees_with_scikit_image(drawn):
    colour = pytest.importorskip("skimage.color")
    picture = drawn(40, 50).double()
    picture[..., :5] = 0
    picture[..., 5:8] = 1
    picture[..., 8:12] /= 40
    expected = colour.rgb2lab(picture[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(srgb_to_lab(picture)[0].permute(1, 2, 0).numpy(), expected, atol=1e-9)
