"""Defects: NaN, and black or flat areas where the source shows something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..image.checks import check_picture
from ..types import Box, Size
from ..upscaler import InputError
from .pair import size_of

BLOCK = 16
"""Side of a block, in pixels of the source."""
BLACK = 2 / 255
"""A block is black when nothing in it exceeds this ..."""
BRIGHT = 0.1
"""... although the source's block has at least this mean."""
FLAT = 1 / 255
"""A block is flat when it spans no more than this ..."""
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
    """Looks at each result (B, C, H, W) in blocks that show 16x16 pixels of its source (B, C, h, w).

    Unlike elsewhere, ``result`` may hold NaN and infinity: they are counted. A block with such a value is neither
    black nor flat. Raises ``InputError`` for a source that is no picture, or another number of pictures.
    """
    check_picture(source, "source")
    if result.ndim != 4 or not result.numel() or len(source) != len(result):
        raise InputError(
            f"The source is {tuple(source.shape)} and the result {tuple(result.shape)}; give as many of both, each "
            "(B, C, H, W)."
        )
    return [_defects(a[None].float(), b[None].float()) for a, b in zip(source, result, strict=True)]


def _defects(source: torch.Tensor, result: torch.Tensor) -> Defects:
    finite = torch.isfinite(result)
    black: list[Box] = []
    flat: list[Box] = []
    for before, after in _blocks(size_of(source), size_of(result)):
        if not bool(_cut(finite, after).all()):
            continue
        was, now = _cut(source, before), _cut(result, after)
        if float(now.max()) <= BLACK and float(was.mean()) >= BRIGHT:
            black.append(after)
        elif _span(now) <= FLAT and _span(was) >= LIVELY:
            flat.append(after)
    return Defects(int((~finite).sum()), tuple(black), tuple(flat))


def _blocks(source: Size, result: Size) -> Iterator[tuple[Box, Box]]:
    """Boxes of the source, and the boxes of the result that show them."""
    for y in range(0, source.height, BLOCK):
        for x in range(0, source.width, BLOCK):
            right, bottom = min(x + BLOCK, source.width), min(y + BLOCK, source.height)
            left, top = x * result.width // source.width, y * result.height // source.height
            width = -(-right * result.width // source.width) - left
            height = -(-bottom * result.height // source.height) - top
            yield Box(x, y, right - x, bottom - y), Box(left, top, width, height)


def _cut(picture: torch.Tensor, box: Box) -> torch.Tensor:
    return picture[..., box.y : box.bottom, box.x : box.right]


def _span(block: torch.Tensor) -> float:
    """Largest minus smallest value within a channel, the largest of the channels."""
    values = block.flatten(2)
    return float((values.amax(2) - values.amin(2)).max())
