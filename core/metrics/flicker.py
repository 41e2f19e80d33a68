"""Temporal flicker: motion in the result where the source stands still.

Measured where the source stands still, because sharper moving detail legitimately changes more. Follows the idea of the
warping error (Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018) with no motion to compensate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import adaptive_avg_pool2d

from ..image.colour import luma
from .errors import NotMeasurable

BLOCK = 8
"""Side of a block in pixels of the source."""

STILL = 2.0
"""Levels of 255 up to which the mean change of a block of the source is noise."""


@dataclass(frozen=True)
class Flicker:
    """Sums over pairs of frames, so that parts of a video can be added up."""

    excess: float = 0.0
    blocks: int = 0
    still: int = 0

    def __add__(self, other: Flicker) -> Flicker:
        return Flicker(self.excess + other.excess, self.blocks + other.blocks, self.still + other.still)

    @property
    def levels(self) -> float | None:
        """By how many levels of 255 the result changes more than its source from frame to frame, on average over the
        blocks in which the source stands still; None if it never does."""
        return self.excess / self.still if self.still else None

    @property
    def still_share(self) -> float | None:
        """Share of the picture, over time, that the figure covers, 0 to 1."""
        return self.still / self.blocks if self.blocks else None

    @property
    def lines(self) -> list[str]:
        """A line for a person, if anything was measured."""
        if self.levels is None or self.still_share is None:
            return []
        return [f"flicker: {self.levels:.2f} levels of 255 where the source stands still ({self.still_share:.0%})"]


def flicker_of_pair(
    source: torch.Tensor, source_before: torch.Tensor, result: torch.Tensor, result_before: torch.Tensor
) -> Flicker:
    """Two consecutive frames of the source (1, C, h, w) and the same two of the result (1, C, H, W), which shows the
    same part. Brightness (BT.601), 0 to 1; each pair of blocks counts with the change it has beyond the source's.

    Raises ``NotMeasurable`` if two frames of one video differ in size.
    """
    if source.shape != source_before.shape or result.shape != result_before.shape:
        raise NotMeasurable("Flicker needs frames of one size, and the size of a video changes.")
    grid = (max(1, source.shape[2] // BLOCK), max(1, source.shape[3] // BLOCK))
    own = _changes(source, source_before, grid)
    new = _changes(result, result_before, grid)
    still = own <= STILL
    excess = (new - own).clamp(min=0)[still]
    return Flicker(float(excess.sum()), own.numel(), int(still.sum()))


def _changes(frame: torch.Tensor, before: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    return adaptive_avg_pool2d((luma(frame) - luma(before)).abs(), grid) * 255
