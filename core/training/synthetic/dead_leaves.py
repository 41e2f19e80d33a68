"""Dead leaves: opaque shapes of power-law sizes that occlude each other, like the objects in a photograph.

After R. Achddou, Y. Gousseau, S. Ladjal, "Synthetic images as a regularity prior for image restoration neural
networks", SSVM 2021: sizes follow r^-alpha with alpha near 3, which makes the picture scale-invariant. Shapes
other than discs, textured and shaded surfaces and depth of field follow their "VibrantLeaves" (2025).
"""

from __future__ import annotations

import numpy as np

from .palette import draw_palette
from .raster import Canvas, Floats, blur, clip, coverage, fill, log_uniform, mix_in, plain_canvas
from .textures import draw_texture

MAXIMUM_LEAVES = 5000
_TEXTURE_FROM = 14.0
"""Radius in pixels from which a leaf has its own surface."""


def draw_radii(rng: np.random.Generator, count: int, smallest: float, largest: float, alpha: float) -> Floats:
    """``count`` radii with density proportional to r^-alpha between the two ends; alpha over 1."""
    low, high = smallest ** (1.0 - alpha), largest ** (1.0 - alpha)
    return ((low + rng.random(count) * (high - low)) ** (1.0 / (1.0 - alpha))).astype(np.float32)


def _shape(rng: np.random.Generator, points: int) -> Floats:
    """An outline of extent 1 around the origin: disc, ellipse, polygon, bar, blob or leaf."""
    kind = int(rng.choice(6, p=[0.2, 0.2, 0.2, 0.16, 0.16, 0.08]))
    turn = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    if kind == 2:
        turn = np.sort(rng.uniform(0.0, 2.0 * np.pi, rng.integers(3, 8)))
    outline = np.stack([np.cos(turn), np.sin(turn)], -1).astype(np.float32)
    if kind == 1:
        outline[:, 1] *= rng.uniform(0.15, 0.9)
    elif kind == 3:
        outline = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], np.float32)
        outline[:, 1] *= np.exp(rng.uniform(-3.0, 0.0))
    elif kind == 4:
        bumps = [rng.normal(0, 0.3 / n) * np.cos(n * turn + rng.uniform(0, 2 * np.pi)) for n in range(2, 7)]
        outline *= clip(1.0 + np.sum(bumps, axis=0), 0.2, 2.0)[:, None]
    elif kind == 5:
        outline[:, 1] *= 0.4 * np.abs(np.sin(turn))
    return outline


def draw_outline(rng: np.random.Generator, radius: float) -> Floats:
    """A closed random outline of about ``radius`` pixels around the origin, turned at random, as (n, 2) points."""
    outline = _shape(rng, int(min(max(radius, 10.0), 64.0)))
    angle = rng.uniform(0.0, 2.0 * np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    return np.asarray(radius * np.einsum("ni,ij->nj", outline, rotation), np.float32)


def draw_shading(height: int, width: int, rng: np.random.Generator) -> Floats:
    """A plane of brightness in a random direction, within -0.71..0.71, as if lit from one side."""
    angle = rng.uniform(0.0, 2.0 * np.pi)
    ys = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    xs = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    return xs * np.float32(np.cos(angle)) + ys * np.float32(np.sin(angle))


def _paint_surface(canvas: Canvas, outline: Floats, colour: Floats, rng: np.random.Generator) -> None:
    """Fill ``outline`` with a shaded, possibly textured surface."""
    height, width = canvas.shape[:2]
    left, top = (max(int(value) - 1, 0) for value in np.floor(outline.min(0)))
    right, bottom = (min(int(value) + 2, end) for value, end in zip(outline.max(0), (width, height), strict=True))
    if right - left < 2 or bottom - top < 2:
        return
    extent = bottom - top, right - left
    surface = colour + draw_shading(*extent, rng)[..., None] * np.float32(rng.exponential(0.12))
    if rng.random() < 0.55:
        tint = clip(1.0 + rng.normal(0.0, 0.15, 3), 0.4, 1.6)
        surface = surface + draw_texture(*extent, rng)[..., None] * tint * np.float32(rng.exponential(0.1))
    weight = coverage(*extent, outline - np.array([left, top], np.float32))
    mix_in(canvas[top:bottom, left:right], weight, clip(surface, 0.0, 1.0))


def draw_leaves(height: int, width: int, rng: np.random.Generator) -> Canvas:
    """A dead-leaves picture, (height, width, 3), drawn from back to front, some of the back out of focus."""
    alpha, smallest = rng.uniform(2.3, 3.2), log_uniform(rng, 2.0, 16.0)
    largest = max(0.6 * max(height, width), 2.0 * smallest)
    radii = draw_radii(rng, MAXIMUM_LEAVES, smallest, largest, alpha)
    covered = np.cumsum(0.6 * np.pi * radii**2) / (height * width)
    radii = radii[: int(np.searchsorted(covered, rng.uniform(2.0, 5.0))) + 1]
    colours = draw_palette(rng, len(radii) + 1)
    canvas = plain_canvas(height, width, colours[-1])
    out_of_focus = {int(index) for index in rng.integers(0, len(radii), rng.integers(0, 3))}
    for index, radius in enumerate(float(value) for value in radii):
        if index in out_of_focus:
            canvas = blur(canvas, rng.uniform(1.0, 6.0))
        centre = rng.uniform([0.0, 0.0], [width, height]).astype(np.float32)
        outline = draw_outline(rng, radius) + centre
        if radius < _TEXTURE_FROM:
            fill(canvas, outline, colours[index])
        else:
            _paint_surface(canvas, outline, colours[index], rng)
    return canvas
