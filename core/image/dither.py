"""Rounding to 8 bits without banding.

A smooth gradient that is rounded shows steps. Noise that is added before rounding turns them into grain too fine to
see: with a triangular distribution two levels wide the error has neither a mean nor a variance that depends on the
signal (Lipshitz, Wannamaker and Vanderkooy, "Quantization and Dither: A Theoretical Survey", 1992). The noise is the
difference of two neighbouring uniform numbers, which has that distribution and little of the low frequencies that the
eye sees best (there, section 5). It is the same in every channel, so that greys stay grey.
"""

# OpenCV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ..types import Box, FloatBox, Size
from .hash_noise import uniform

Floats = npt.NDArray[np.float32]

REACH = 4
"""Radius in pixels over which values are compared."""
PERIOD = 16
"""Pixels over which a mean is taken: a multiple of the pattern that a model of scale 2, 4 or 8 leaves on flat areas."""
CONTEXT = 2 * REACH + PERIOD
STILL = 2
"""Radius in source pixels that must be of one colour."""
STEEP = 2.0
"""Levels within ``REACH`` from which on bands would be under five pixels wide, and do not show."""
FLAT, SLOWEST = 1e-3, 5e-3
"""Levels within ``REACH`` up to which pixels, and means of them, count as one colour."""
OFF_GRID = 2e-3
"""Distance in levels from the nearest whole one; values read from 8 bits and unchanged since are closer."""


class Dither(str, Enum):
    """AUTO: smooth gradients between whole levels only. ON: wherever values lie between whole levels, except in areas
    of one colour. OFF: nowhere."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class Still:
    """Where the source of a picture is of one colour: a model does not return such areas perfectly uniform, and what it
    adds there is not a gradient. ``mask`` is (H, W) of the source, ``rows`` and ``columns`` say for those of the result
    which of the source they show, -1 where there is only background."""

    mask: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]

    def between(self, top: int, bottom: int) -> npt.NDArray[np.bool_]:
        rows = self.rows[top:bottom]
        shown = self.mask[rows.clip(0)][:, self.columns.clip(0)]
        return shown | (rows < 0)[:, None] | (self.columns < 0)[None]


def still_areas(source: torch.Tensor, box: FloatBox, placed: Box, canvas: Size) -> Still:
    """Of a source (1, C, H, W) whose ``box`` lies at ``placed`` in a result of size ``canvas``."""
    levels = _levels(source, 0, source.shape[2])
    square = np.ones((2 * STILL + 1, 2 * STILL + 1), np.uint8)
    spread = cv2.dilate(levels, square) - cv2.erode(levels, square)
    mask = _as_layers(spread, levels).max(axis=2) <= FLAT
    rows = _shown(canvas.height, placed.y, placed.height, box.y, box.height, source.shape[2])
    columns = _shown(canvas.width, placed.x, placed.width, box.x, box.width, source.shape[3])
    return Still(mask, rows, columns)


def _shown(length: int, start: int, extent: int, first: float, covered: float, most: int) -> npt.NDArray[np.intp]:
    places = np.arange(length) - start
    within = (places >= 0) & (places < extent)
    nearest = np.floor(first + (places + 0.5) * covered / extent).clip(0, most - 1).astype(np.intp)
    return np.where(within, nearest, -1)


def to_levels(
    picture: torch.Tensor, dither: Dither, top: int, bottom: int, still: Still | None = None, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Rows ``top`` to ``bottom`` of a picture (1, C, H, W), 0 to 1, as (rows, W, C) levels of 255.

    The value of a pixel depends on the picture around it, its position and ``seed``, not on the requested rows. White
    and black stay white and black; an area of one colour, here or in the source, is only rounded.
    """
    first, last = max(0, top - CONTEXT), min(picture.shape[2], bottom + CONTEXT)
    levels = _levels(picture, first, last) if dither is not Dither.OFF else _levels(picture, top, bottom)
    if dither is Dither.OFF:
        return _rounded(levels)
    inner = slice(top - first, bottom - first)
    chosen = _chosen(levels, dither)[inner]
    if still is not None:
        chosen = chosen & ~still.between(top, bottom)[..., None]
    values = levels[inner]
    if chosen.any():
        values = np.where(chosen, values + triangular(range(top, bottom), values.shape[1], seed)[..., None], values)
    return _rounded(values)


def triangular(rows: range, width: int, seed: int) -> Floats:
    """(rows, width), -1 to 1, with less at low than at high frequencies along a row."""
    numbers = uniform(rows, range(-1, width), seed)
    return numbers[:, 1:] - numbers[:, :-1]


def _levels(picture: torch.Tensor, top: int, bottom: int) -> Floats:
    rows = picture[0, :, top:bottom].detach().to("cpu", torch.float32).clamp(0, 1).mul(255)
    return np.ascontiguousarray(rows.permute(1, 2, 0).numpy())


def _rounded(levels: Floats) -> npt.NDArray[np.uint8]:
    return np.clip(levels + np.float32(0.5), 0, 255).astype(np.uint8)


def _chosen(levels: Floats, dither: Dither) -> npt.NDArray[np.bool_]:
    """(H, W, C): which samples are dithered."""
    moved = _range(levels)
    between = _grown(np.abs(levels - np.rint(levels)).astype(np.float32)) > OFF_GRID
    chosen = (moved > FLAT) & between & (levels > 0.5) & (levels < 254.5)
    if dither is Dither.AUTO:
        chosen &= moved.max(axis=2, keepdims=True) < STEEP
    if dither is Dither.ON or not chosen.any():
        return chosen
    means = _as_layers(cv2.blur(levels, (PERIOD, PERIOD), borderType=cv2.BORDER_REPLICATE), levels)
    return chosen & (_range(means) > SLOWEST)


def _range(levels: Floats) -> Floats:
    """The largest minus the smallest value within ``REACH``."""
    return _grown(levels) + _grown(-levels)


def _grown(levels: Floats) -> Floats:
    square = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    return _as_layers(cv2.dilate(levels, square), levels)


def _as_layers(filtered: object, like: Floats) -> Floats:
    """OpenCV drops the last axis of pictures of one channel."""
    return np.asarray(filtered, np.float32).reshape(like.shape)
