"""Helpers shared by the painters: 8-bit canvases, float fields, and OpenCV's drawing conventions."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Canvas = npt.NDArray[np.uint8]
"""(H, W, 3) RGB, 8 bits a sample: the only depth at which OpenCV draws antialiased."""


def clip(values: npt.ArrayLike, low: float, high: float) -> Floats:
    """Values clipped to ``low`` .. ``high``, in single precision."""
    return np.minimum(np.maximum(np.asarray(values, np.float32), np.float32(low)), np.float32(high))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, every octave equally likely."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def to_ink(colour: Floats) -> tuple[int, int, int]:
    """A colour of 0..1 as the 8-bit scalar that OpenCV draws with."""
    red, green, blue = (int(value) for value in np.round(clip(colour, 0.0, 1.0) * 255.0))
    return red, green, blue


def plain_canvas(height: int, width: int, colour: Floats) -> Canvas:
    """A (height, width, 3) canvas of one colour."""
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = to_ink(colour)
    return canvas


def to_canvas(picture: npt.ArrayLike) -> Canvas:
    """Float 0..1 (clipped) to 8 bits."""
    return np.round(clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)


def mix_in(canvas: Canvas, weight: Floats, paint: Floats) -> None:
    """Lay ``paint`` (0..1, broadcastable to the canvas) over ``canvas`` with ``weight`` (H, W) of 0..1."""
    share = weight[..., None]
    canvas[:] = np.round(canvas * (1.0 - share) + share * np.float32(255.0) * paint).astype(np.uint8)


def fixed_point(points: Floats) -> npt.NDArray[np.int32]:
    """Coordinates as OpenCV takes them with ``shift=4``: sixteenths of a pixel."""
    return np.round(points * 16.0).astype(np.int32)


def bent_line(
    rng: np.random.Generator, height: int, width: int, length: float, direction: float, bend: float
) -> npt.NDArray[np.int32]:
    """A curved line of about ``length`` pixels somewhere on a canvas, in sixteenths of a pixel, (12, 2).

    ``bend`` is the sideways deviation of its ends, as a multiple of a quarter of its length.
    """
    steps = np.linspace(-0.5, 0.5, 12)
    along, across = length * steps, length * bend * steps**2
    x = rng.random() * width + along * math.cos(direction) - across * math.sin(direction)
    y = rng.random() * height + along * math.sin(direction) + across * math.cos(direction)
    return fixed_point(np.stack([x, y], -1))


def fill(canvas: Canvas, outline: Floats, colour: Floats) -> None:
    """Fill a closed outline of (n, 2) pixel coordinates, its edge antialiased."""
    cv2.fillPoly(canvas, [fixed_point(outline)], to_ink(colour), cv2.LINE_AA, 4)


def coverage(height: int, width: int, outline: Floats) -> Floats:
    """(height, width) of 0..1: how much of each pixel lies inside the outline."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [fixed_point(outline)], (255,), cv2.LINE_AA, 4)
    return mask.astype(np.float32) / np.float32(255.0)


def blur(canvas: Canvas, sigma: float) -> Canvas:
    """Gaussian blur with a standard deviation of ``sigma`` pixels."""
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), sigma), np.uint8)


def blur_field(field: Floats, sigma: float) -> Floats:
    """Gaussian blur of a float field of any number of channels."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)
