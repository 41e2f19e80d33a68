"""The losses. Outputs and references are (B, C, H, W); every loss is a scalar tensor, 0 at best."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, max_pool2d

from ..image.colour import luma
from ..image.filters import gaussian, local_maximum, local_minimum

_rfft2: Callable[..., Tensor] = torch.fft.rfft2  # pyright: ignore
_gradient: Callable[..., tuple[Tensor, ...]] = torch.gradient  # pyright: ignore

CHARBONNIER_EPSILON = 1e-3
LINE_CONTRAST = (0.02, 0.1)
"""Differences of Gaussians from which a dark structure starts to count as a line, and counts fully; grain does not."""
FLAT_GRADIENT = 4.0 / 255.0
"""Gradient of the smoothed luma, per pixel, from which nothing counts as smooth."""


def charbonnier(output: Tensor, reference: Tensor, weight: Tensor | None = None) -> Tensor:
    """A smooth L1, sqrt(d^2 + eps^2) - eps; a weighted mean if ``weight`` (B, 1, H, W) is given.

    Charbonnier et al., "Two deterministic half-quadratic regularization algorithms for computed imaging", 1994;
    for super-resolution Lai et al. (LapSRN), 2017.
    """
    errors = ((output - reference) ** 2 + CHARBONNIER_EPSILON**2).sqrt() - CHARBONNIER_EPSILON
    if weight is None:
        return errors.mean()
    return (errors.mean(1, keepdim=True) * weight).sum() / weight.sum().clamp_min(1e-6)


def line_map(reference: Tensor, width: float = 2.0) -> Tensor:
    """(B, 1, H, W), 0..1: to what degree each pixel belongs to a dark thin line or is right beside one.

    The positive part of a difference of Gaussians of the luma (surround minus centre, Marr and Hildreth 1980) finds
    what is darker than its surroundings; the black top-hat (Serra 1982), which is 0 on dark areas wider than twice
    the line, removes the borders of such areas. ``width`` is the usual width of a line in pixels.
    """
    plane = luma(reference)
    dark = gaussian(plane, 1.6 * width) - gaussian(plane, 0.5 * width)
    reach = math.ceil(width)
    thin = local_minimum(local_maximum(plane, reach), reach) - plane
    low, high = LINE_CONTRAST
    strength = ((torch.minimum(dark, thin) - low) / (high - low)).clamp(0.0, 1.0)
    return max_pool2d(strength, 3, stride=1, padding=1)


def line_loss(output: Tensor, reference: Tensor, width: float = 2.0) -> Tensor:
    """Charbonnier error on the dark thin lines of the reference, for inked drawings."""
    return charbonnier(output, reference, line_map(reference, width))


def gradient_strength(plane: Tensor) -> Tensor:
    """Magnitude of the gradient of (B, 1, H, W), per pixel, by central differences."""
    y, x = _gradient(plane, dim=(-2, -1))
    return torch.hypot(x, y)


def flat_map(reference: Tensor) -> Tensor:
    """(B, 1, H, W), 0..1: 1 where the reference is smooth, falling to 0 as its gradient grows."""
    return (1.0 - gradient_strength(gaussian(luma(reference), 1.0)) / FLAT_GRADIENT).clamp(0.0, 1.0)


def ringing_loss(output: Tensor, reference: Tensor) -> Tensor:
    """High frequencies of the error where the reference is smooth: halos, ripples and remaining noise.

    The error minus its own Gaussian blur, which leaves wrong shades to the other losses.
    """
    error = output - reference
    weight = flat_map(reference)
    ripples = (error - gaussian(error, 2.0)).abs().mean(1, keepdim=True)
    return (ripples * weight).sum() / weight.sum().clamp_min(1e-6)


def overshoot_loss(output: Tensor, reference: Tensor, reach: int = 2) -> Tensor:
    """How far outputs leave the range that each channel of the reference has within ``reach`` pixels: halos at edges.

    A pixel loss alone accepts a halo at one edge in exchange for a steeper slope at another. A reach below one pixel of
    the input would also punish uncertainty about the position of an edge, which only blurs it.
    """
    over = (output - local_maximum(reference, reach)).clamp_min(0.0)
    under = (local_minimum(reference, reach) - output).clamp_min(0.0)
    return (over + under).mean()


def local_deviation(picture: Tensor, window: int) -> Tensor:
    """Standard deviation of the luma in windows of ``window`` pixels, at every second pixel."""
    plane = luma(picture)
    mean = avg_pool2d(plane, window, stride=2)
    square = avg_pool2d(plane**2, window, stride=2)
    return (square - mean**2).clamp_min(0.0).add(1e-6).sqrt()


def texture_loss(output: Tensor, reference: Tensor, windows: tuple[int, ...] = (5, 11)) -> Tensor:
    """Difference of local contrast on a log scale, over small windows: skin, cloth and hair that were smoothed.

    Textures differ by their local statistics (Portilla and Simoncelli, 2000), of which contrast is the first to be
    lost. Unlike a pixel loss, this one does not reward the mean of all possible textures.
    """
    terms: list[Tensor] = []
    for window in windows:
        size = min(window, output.shape[-1], output.shape[-2])
        ours, theirs = (local_deviation(each, size) for each in (output, reference))
        # Contrast below one level of 255 is invisible; without a floor it would dominate the logarithm.
        terms.append((torch.log(ours + 0.004) - torch.log(theirs + 0.004)).abs().mean())
    return torch.stack(terms).mean()


def frequency_loss(output: Tensor, reference: Tensor) -> Tensor:
    """Mean absolute difference of the Fourier coefficients (Cho et al., MIMO-UNet, 2021)."""
    return _rfft2((output - reference).float(), norm="ortho").abs().mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross-entropy of logits that should be 1 for ``real`` and 0 for ``fake`` (Goodfellow et al., 2014)."""
    return 0.5 * (
        binary_cross_entropy_with_logits(real, torch.ones_like(real))
        + binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    )


def adversarial_loss(fake: Tensor) -> Tensor:
    """The generator's loss for logits that tell its output from a reference."""
    return binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
