"""Resizes a part of a picture together with its surroundings, as far as the edge mode provides them."""

from __future__ import annotations

import math

import torch

from ..types import Box, Context, FloatBox, Size, ceil_to
from .alpha import resize_alpha
from .resize import LOBES, resize
from .tiling import Edge, read_region


def context_of(box: FloatBox, picture: torch.Tensor, edge: Edge, margin: int, align: int = 1) -> Box:
    """Whole pixels around ``box``, ``margin`` wider, cut at the picture's border except where it wraps."""
    height, width = picture.shape[-2:]
    left, right = _reach(box.x, box.width, margin, width, edge.wraps_x, align)
    top, bottom = _reach(box.y, box.height, margin, height, edge.wraps_y, align)
    return Box(left, top, right - left, bottom - top)


def _reach(start: float, length: float, margin: int, limit: int, wraps: bool, align: int) -> tuple[int, int]:
    first = (math.floor(start) - margin) // align * align
    last = ceil_to(math.ceil(start + length) + margin, align)
    return (first, last) if wraps else (max(first, 0), min(last, limit))


def resize_part(picture: torch.Tensor, box: FloatBox, size: Size, edge: Edge, *, alpha: bool = False) -> torch.Tensor:
    """``box`` of the picture at ``size``, 0 to 1 (Lanczos, or what alpha needs); where the edge wraps, so does the
    filter."""
    if edge.wraps_x:
        reduction = max(1.0, box.width / size.width, box.height / size.height)
        area = context_of(box, picture, edge, math.ceil(LOBES * reduction) + 1)
        picture, _ = read_region(picture, area, Context(), edge)
        box = FloatBox(box.x - area.x, box.y - area.y, box.width, box.height)
    if alpha:
        return resize_alpha(picture, size, box)
    return resize(picture, size, box).clamp(0, 1)
