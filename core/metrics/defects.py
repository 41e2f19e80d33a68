"""Defects: NaN, and black or flat areas where the source shows something."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d

from ..errors import InputError
from ..image.validate import check_picture
from ..types import Box, Size, size_of

BLOCK = 16
"""Largest side of a block, in pixels of the source; a picture is cut into blocks as equal as can be."""
BLACK = 2 / 255
"""A block is black if none of its values exceeds this ..."""
BRIGHT = 0.1
"""... although the source's block has at least this mean."""
FLAT = 1 / 255
"""A block is flat if its values span no more than this ..."""
LIVELY = 0.1
"""... although the source's block spans at least this."""


@dataclass(frozen=True)
class Defects:
    """``broken``: values that are NaN or infinite. ``black``, ``flat``: blocks of the result, in its pixels."""

    broken: int
    black: tuple[Box, ...]
    flat: tuple[Box, ...]

    @property
    def none(self) -> bool:
        return not (self.broken or self.black or self.flat)

    @property
    def text(self) -> str:
        parts = [f"{self.broken} values are NaN or infinite"] if self.broken else []
        for what, boxes in (("black", self.black), ("flat", self.flat)):
            if boxes:
                first = boxes[0]
                parts.append(
                    f"{len(boxes)} blocks are {what} where the source is not (the first: {first.size} at "
                    f"({first.x}, {first.y}))"
                )
        return "; ".join(parts) or "no defects"


def find_defects(source: torch.Tensor, result: torch.Tensor) -> list[Defects]:
    """Looks at each result (B, C, H, W) in blocks that show up to 16x16 pixels of its source (B, C, h,
    w).

    Unlike elsewhere, ``result`` may hold NaN and infinity: they are counted. A block with such a value is neither
    black nor flat. Raises ``InputError`` if the source is not a picture, or if the numbers of pictures differ.
    """
    check_picture(source, "source")
    if result.ndim != 4 or not result.numel() or len(source) != len(result):
        raise InputError(
            f"The source is {tuple(source.shape)} and the result {tuple(result.shape)}; give the same number of "
            "both, each (B, C, H, W)."
        )
    return [_defects(a[None].float(), b[None].float()) for a, b in zip(source, result, strict=True)]


def _defects(source: torch.Tensor, result: torch.Tensor) -> Defects:
    finite = torch.isfinite(result)
    sound = torch.where(finite, result, 0.0)
    size = size_of(source)
    grid = (-(-size.height // BLOCK), -(-size.width // BLOCK))
    low, high = _range(sound, grid)
    was_low, was_high = _range(source, grid)
    broken = adaptive_max_pool2d((~finite).float(), grid).amax(dim=1) > 0
    bright = adaptive_avg_pool2d(source, grid).mean(dim=1) >= BRIGHT
    lively = (was_high - was_low).amax(dim=1) >= LIVELY
    black = (high.amax(dim=1) <= BLACK) & bright & ~broken
    flat = ((high - low).amax(dim=1) <= FLAT) & lively & ~broken & ~black
    return Defects(int((~finite).sum()), _boxes(black[0], size_of(result)), _boxes(flat[0], size_of(result)))


def _range(picture: torch.Tensor, grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, C, rows, columns): smallest and largest value of each block."""
    return -adaptive_max_pool2d(-picture, grid), adaptive_max_pool2d(picture, grid)


def _boxes(found: torch.Tensor, size: Size) -> tuple[Box, ...]:
    """The blocks (rows, columns) that are True, as adaptive pooling cuts a picture of ``size``."""
    rows, columns = found.shape
    boxes: list[Box] = []
    for index in found.flatten().nonzero().flatten():
        row, column = divmod(int(index), columns)
        left, top = column * size.width // columns, row * size.height // rows
        right, bottom = -(-(column + 1) * size.width // columns), -(-(row + 1) * size.height // rows)
        boxes.append(Box(left, top, right - left, bottom - top))
    return tuple(boxes)
