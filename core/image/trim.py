"""Finding the uniform border around a picture's content."""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..types import Box

TOLERANCE = 8 / 255
"""How far a border pixel may be from the border's colour: the noise of a medium-quality JPEG."""


class Trimmed(NamedTuple):
    """``box``: the remaining part, in pixels. ``colour``: R, G, B (or grey) from 0 to 1 of the border that was found,
    None if there was none or it is transparent."""

    box: Box
    colour: tuple[float, ...] | None


def find_content(picture: torch.Tensor, alpha: torch.Tensor | None = None) -> Trimmed:
    """What is left of one picture (1, C, H, W) without its uniform borders.

    An outer row or column is border if all its pixels are within ``TOLERANCE`` of the median of the
    outermost one on that side; so letterbox bars and a white background are found, and shadows that end in it stay.
    Transparent pixels are equal, whatever colour they hide. If nothing lies between two opposite borders, only the
    wider one is a border; a picture that is uniform all over stays as it is.
    """
    visible = torch.ones_like(picture[:, :1]) if alpha is None else alpha
    layers = torch.cat([picture * visible, visible], dim=1)[0]
    height, width = layers.shape[-2:]
    top, bottom = _borders(layers)
    left, right = _borders(layers[:, top : height - bottom].transpose(1, 2))
    box = Box(left, top, width - left - right, height - top - bottom)
    return Trimmed(box, _colour(layers, (top, bottom, left, right)))


def _borders(layers: torch.Tensor) -> tuple[int, int]:
    """Rows of border at the top and at the bottom of (C, H, W)."""
    top, bottom = _border(layers), _border(layers.flip(1))
    if top + bottom < layers.shape[1]:
        return top, bottom
    return (top if top > bottom else 0), (bottom if bottom > top else 0)


def _border(layers: torch.Tensor) -> int:
    """How many rows from the top of (C, H, W) have the colour of the first one throughout."""
    reference = layers[:, 0].median(dim=1).values[:, None, None]
    alike = ((layers - reference).abs() <= TOLERANCE).all(dim=2).all(dim=0)
    return int(alike.long().cumprod(0).sum())


def _colour(layers: torch.Tensor, sides: tuple[int, int, int, int]) -> tuple[float, ...] | None:
    """The median over the outermost line of the widest border; the last layer is alpha."""
    lines = (layers[:, 0], layers[:, -1], layers[:, :, 0], layers[:, :, -1])
    if not any(sides):
        return None
    line = lines[sides.index(max(sides))].median(dim=1).values
    return tuple(map(float, line[:-1])) if float(line[-1]) >= 1 - 1 / 255 else None
