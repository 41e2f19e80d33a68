"""What a model made of one picture after the other, kept part by part, so that what stays the same is not computed
again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..image.frame_difference import FrameReuse, is_held
from ..types import Box, Size

MEMORY_LIMIT = 2**30
"""Bytes of results, and of what they were made of, that a pass keeps at most; 4K from x4 in single precision is
100 MB, 8K 400 MB."""


@dataclass
class ReuseCounts:
    """Tiles that were computed, and tiles whose earlier result was taken, in passes that went tile by tile; and passes
    that were streamed row by row, which is less work where most tiles changed."""

    tiles_run: int = 0
    tiles_reused: int = 0
    streamed: int = 0


class _Known(NamedTuple):
    pixels: torch.Tensor
    result: torch.Tensor


class _Memory:
    """Bytes of tensors that are held; several may lie in one piece of memory, which counts once."""

    def __init__(self) -> None:
        self.total = 0
        self._holders: dict[int, int] = {}

    def add(self, *tensors: torch.Tensor) -> None:
        for piece in (tensor.untyped_storage() for tensor in tensors):
            holders = self._holders.get(piece.data_ptr(), 0)
            self._holders[piece.data_ptr()] = holders + 1
            self.total += 0 if holders else piece.nbytes()

    def remove(self, *tensors: torch.Tensor) -> None:
        for piece in (tensor.untyped_storage() for tensor in tensors):
            holders = self._holders.pop(piece.data_ptr()) - 1
            if holders:
                self._holders[piece.data_ptr()] = holders
            else:
                self.total -= piece.nbytes()


class PassReuse:
    """The results of one pass of the model, by region of the picture that it was given."""

    def __init__(self, settings: FrameReuse, counts: ReuseCounts) -> None:
        self._settings, self.counts = settings, counts
        self._known: dict[Box, _Known] = {}
        self._memory = _Memory()
        self._canvas: torch.Tensor | None = None

    def recall(self, region: Box, pixels: torch.Tensor) -> torch.Tensor | None:
        """The region's result, if all that the model sees of it, ``pixels``, is what it was when that was computed."""
        known = self._known.get(region)
        if known is None or known.pixels.device != pixels.device or not is_held(pixels, known.pixels, self._settings):
            return None
        return known.result

    def keep(self, region: Box, pixels: torch.Tensor, result: torch.Tensor) -> None:
        """``result`` is the region's from now on, if there is room for it."""
        if known := self._known.pop(region, None):
            self._memory.remove(*known)
        if not self._settings.reuse:
            return
        # A copy: a part of a picture would keep the whole picture in memory.
        known = _Known(pixels.clone(), result)
        self._memory.add(*known)
        if self._memory.total <= MEMORY_LIMIT:
            self._known[region] = known
        else:
            self._memory.remove(*known)

    def start_whole(self, like: torch.Tensor, size: Size) -> torch.Tensor | None:
        """Forgets all results, and gives the room for those of a whole area, ``size`` after magnification, whose parts
        are to be kept when it is full; None if it is too large. ``like`` is a piece of it."""
        self._known.clear()
        self._memory = _Memory()
        shape = (*like.shape[:2], size.height, size.width)
        if not self._settings.reuse or 4 * like.shape[1] * size.pixels > MEMORY_LIMIT:
            return None
        if self._canvas is None or self._canvas.shape != shape or self._canvas.device != like.device:
            self._canvas = like.new_empty(shape, dtype=torch.float32)
        return self._canvas


class Reuse:
    """Goes with every picture of a sequence through ``upscale_to``.

    A part of a picture whose pixels are, with all the context that the model needs, what they were (see ``is_held``)
    gets the very numbers that it got then. With threshold 0 and a model that runs on tiles, every result is therefore
    bit for bit that of a full computation. Where a model can stream rows, pictures of which much changed are
    streamed, others go by tiles, and the two ways are equal to rounding in single precision.
    """

    def __init__(self, settings: FrameReuse) -> None:
        self._settings = settings
        self._passes: dict[tuple[int, int], PassReuse] = {}
        self.counts = ReuseCounts()

    def forget(self) -> None:
        """The next picture is computed as a whole."""
        self._passes.clear()

    def of_pass(self, number: int, place: int) -> PassReuse:
        """What is kept of that pass for the picture at that place of the batch."""
        return self._passes.setdefault((number, place), PassReuse(self._settings, self.counts))
