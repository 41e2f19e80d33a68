"""Edge width of blurred steps, whose 10-90 % rise is 2.563 standard deviations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.metrics.edge_width import edge_width
from backplate.core.metrics.errors import NotMeasurable

RISE = 2.563


def edge(sigma: float, angle: float, size: int = 96, low: float = 0.2, high: float = 0.8) -> torch.Tensor:
    """A straight edge at an angle (radians), blurred by a Gaussian; sampled, so exact at any angle."""
    y, x = np.mgrid[0:size, 0:size] - (size - 1) / 2 + 0.13
    distance = x * math.cos(angle) + y * math.sin(angle)
    rise = np.vectorize(math.erf)(distance / (sigma * math.sqrt(2))) if sigma else np.sign(distance)
    return torch.from_numpy(low + (high - low) * (1 + rise) / 2)[None, None].float()


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 4, math.pi / 2, 2.5, 4.0])
@pytest.mark.parametrize(("sigma", "tolerance"), [(1.0, 0.12), (1.5, 0.06), (2.0, 0.03), (3.0, 0.02), (5.0, 0.02)])
def test_blurred_steps_measure_their_blur(sigma, angle, tolerance):
    picture = (edge(sigma, angle) * 255).round() / 255
    assert edge_width(picture)[0] == pytest.approx(RISE * sigma, rel=tolerance)


@pytest.mark.parametrize("contrast", [0.15, 0.4, 1.0])
def test_contrast_does_not_matter(contrast):
    assert edge_width(edge(2, 0.3, low=0, high=contrast))[0] == pytest.approx(RISE * 2, rel=0.03)


@pytest.mark.parametrize("angle", [0.0, math.pi / 2])
def test_a_hard_step_is_under_a_pixel(angle):
    assert edge_width(edge(0, angle))[0] == pytest.approx(0.8, abs=1e-3)


def test_noise_moves_it_little(spoiled):
    noisy = torch.cat([spoiled(edge(2, 0.7), 0.01, seed) for seed in range(3)])
    assert edge_width(noisy) == pytest.approx([RISE * 2] * 3, rel=0.1)


def test_blur_of_a_picture_adds_up(drawn):
    """Of each version of a picture, at the places where the sharpest has its edges."""
    from backplate.core.image.filters import gaussian

    picture = drawn(160, 160)
    widths = [edge_width(gaussian(picture, sigma), guide=picture)[0] for sigma in (0.5, 1.0, 2.0, 3.0)]
    assert widths == sorted(widths)
    assert widths[-1] > 2 * widths[0]


def test_pictures_without_a_strong_edge_are_refused():
    with pytest.raises(NotMeasurable, match="64x64 has no edge that rises by 10%"):
        edge_width(torch.full((1, 3, 64, 64), 0.5))
    with pytest.raises(NotMeasurable):
        edge_width(edge(2, 0, low=0.5, high=0.55))
    with pytest.raises(NotMeasurable):
        edge_width(torch.zeros(1, 3, 1, 1))


def test_a_guide_of_another_size_is_refused(drawn):
    with pytest.raises(InputError, match="1 of 20x20 and the picture 1 of 30x20"):
        edge_width(drawn(20, 30), guide=drawn(20, 20))
