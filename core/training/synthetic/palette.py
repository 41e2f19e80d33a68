"""Colours as photographs and drawings have them: mostly muted, a few vivid, grouped around a few hues."""

from __future__ import annotations

import numpy as np

from .raster import Floats, clip

# Oklab to linear sRGB: B. Ottosson, "A perceptual color space for image processing", 2020.
_LAB_TO_CONE = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ],
    np.float32,
)
_CONE_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ],
    np.float32,
)


def oklab_to_srgb(lab: Floats) -> Floats:
    """(n, 3) Oklab to sRGB-encoded 0..1; colours outside the gamut are clipped."""
    cone = np.einsum("ij,nj->ni", _LAB_TO_CONE, lab) ** 3
    linear = clip(np.einsum("ij,nj->ni", _CONE_TO_RGB, cone), 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return clip(encoded, 0.0, 1.0)


def draw_palette(rng: np.random.Generator, count: int) -> Floats:
    """(count, 3) sRGB colours 0..1 that could belong to one picture.

    Lightness is spread over the whole range with its ends favoured a little (ink, paper, clipped lights). Chroma
    is exponential, as its histogram is in photographs: most colours are near grey. One picture in six has none.
    """
    lightness = clip(rng.normal(rng.uniform(0.35, 0.75), rng.uniform(0.12, 0.32), count), 0.0, 1.0)
    extremes = rng.random(count)
    lightness = np.where(extremes < 0.03, 0.0, np.where(extremes > 0.96, 1.0, lightness))
    mean_chroma = rng.choice([0.0, 0.03, 0.06, 0.16], p=[0.16, 0.3, 0.34, 0.2])
    chroma = np.minimum(rng.exponential(1.0, count) * mean_chroma, 0.3)
    hues = rng.uniform(0.0, 2.0 * np.pi, rng.integers(1, 5))
    hue = rng.choice(hues, count) + rng.normal(0.0, 0.35, count)
    # Neither very dark nor very light surfaces can be vivid.
    chroma = chroma * np.sqrt(np.maximum(4.0 * lightness * (1.0 - lightness), 0.0))
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)
    return oklab_to_srgb(lab.astype(np.float32))
