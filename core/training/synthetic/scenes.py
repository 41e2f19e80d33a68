"""Scenes with the statistics of photographs: textured leaves in layers of depth, light, a lens and a sensor.

Opaque objects of power-law sizes give the heavy tails that gradients have in photographs (A. Lee, D. Mumford, J. Huang,
"Occlusion models for natural images", 2001). Between the edges every surface carries a texture whose power falls as
frequency to about -2 (D. J. Field, 1987; A. van der Schaaf and J. H. van Hateren, 1996). Everything is looked up by the
number of the leaf that covers a pixel, so that the cost hardly depends on the number of leaves.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from .dead_leaves import draw_outline, draw_radii, draw_shading
from .palette import draw_palette
from .raster import Canvas, Floats, blur_field, clip, fixed_point, log_uniform, to_canvas
from .textures import draw_texture

MOST_LEAVES = 1500
FIELDS = 3
"""Textures in a scene, which its leaves share."""

Labels = npt.NDArray[np.int32]


def natural_noise(height: int, width: int, rng: np.random.Generator, exponent: float) -> Floats:
    """(height, width, 3) of deviation 1: noise whose amplitude falls as frequency to the minus ``exponent``.

    Most of its variance is common to the channels, as in photographs, where colour varies less than light.
    """
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    shared = rng.standard_normal((height, width, 1)) * 2.5
    spectrum = np.fft.rfft2(rng.standard_normal((height, width, 3)) + shared, axes=(0, 1))
    field = np.fft.irfft2(spectrum / frequency[..., None] ** exponent, s=(height, width), axes=(0, 1))
    return np.asarray(field / max(float(field.std()), 1e-9), np.float32)


def _surface(height: int, width: int, rng: np.random.Generator) -> Floats:
    """One field of texture, (height, width, 3), about -1..1: natural noise, often over cloth, fur, grass or water."""
    field = natural_noise(height, width, rng, rng.uniform(0.55, 0.95)) * np.float32(0.5)
    if rng.random() < 0.6:
        tint = clip(1.0 + rng.normal(0.0, 0.2, 3), 0.3, 1.7)
        field = field + draw_texture(height, width, rng)[..., None] * tint * np.float32(rng.uniform(0.2, 0.9))
    return field


def _label_leaves(labels: Labels, radii: Floats, rng: np.random.Generator) -> None:
    """Paint the numbers, from 1, of the leaves of these sizes into ``labels``, later ones on top."""
    height, width = labels.shape
    for index, radius in enumerate(map(float, radii), start=1):
        centre = rng.uniform([0.0, 0.0], [width, height]).astype(np.float32)
        outline = fixed_point(draw_outline(rng, radius) + centre)
        cv2.fillPoly(labels, [outline], (index,), cv2.LINE_8, 4)


def _painted(labels: Labels, fields: Floats, colours: Floats, rng: np.random.Generator) -> Floats:
    """The colour, shade and texture of the leaf at every pixel, (H, W, 3), about 0..1."""
    height, width = labels.shape
    count = len(colours)
    strength = np.asarray(rng.exponential(0.3, count) * (rng.random(count) < 0.85), np.float32)
    slopes = np.asarray(rng.normal(0.0, 0.18, (count, 2)), np.float32)
    ys = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    xs = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    shade = slopes[labels, 0] * ys + slopes[labels, 1] * xs
    chosen = rng.integers(0, len(fields), count)[labels]
    rows, columns = np.ogrid[:height, :width]
    texture = fields[chosen, rows, columns] * strength[labels][..., None]
    base = colours[labels]
    # Contrast is proportional to brightness: what varies is the share of the light that is reflected.
    return np.asarray(base + (shade[..., None] + texture) * (0.25 + 0.75 * base), np.float32)


def _lens(scene: Floats, rng: np.random.Generator) -> Floats:
    """Light that falls off to one side, a soft lens, and the noise of a sensor, which grows with light."""
    height, width = scene.shape[:2]
    lit = scene * (1.0 + draw_shading(height, width, rng)[..., None] * np.float32(rng.exponential(0.3)))
    soft = clip(blur_field(np.asarray(lit, np.float32), rng.uniform(0.3, 0.8)), 0.0, 1.0)
    noise = rng.standard_normal(scene.shape, np.float32) * np.float32(rng.exponential(0.008))
    return soft + noise * np.sqrt(0.1 + soft)


def draw_scene(height: int, width: int, rng: np.random.Generator) -> Canvas:
    """A scene of leaves before a background that is out of focus, (height, width, 3), with light and sensor noise."""
    alpha, smallest = rng.uniform(2.4, 3.0), log_uniform(rng, 2.5, 10.0)
    radii = draw_radii(rng, MOST_LEAVES, smallest, 0.2 * max(height, width), alpha)
    fields = np.stack([_surface(height, width, rng) for _ in range(FIELDS)])
    behind, before = 1 + len(radii) // 3, len(radii)
    colours = draw_palette(rng, before + 1)
    # Neighbours in a photograph share their light: contrasts are lower than those of a palette.
    colours = colours.mean(0) + (colours - colours.mean(0)) * np.float32(rng.uniform(0.2, 0.7))
    labels = np.zeros((height, width), np.int32)
    _label_leaves(labels, np.maximum(radii[:behind], 0.03 * width), rng)
    back = _painted(labels, fields, colours, rng)
    front = np.zeros_like(labels)
    _label_leaves(front, radii[behind:], rng)
    sharp = _painted(front, fields, colours, rng)
    far = blur_field(back, log_uniform(rng, 0.5, 3.0))
    return to_canvas(_lens(np.where(front[..., None] > 0, sharp, far), rng))
