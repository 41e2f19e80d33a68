"""Which tiles of a pass need no model, because nothing of what it would draw there is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from ..image.tiling import Edge, read_region
from ..types import Box, Context

COLOUR_REACH = 24
"""Source pixels within which a place has a part in the colours of another."""


@dataclass(frozen=True, eq=False)
class Spared:
    """``needed`` (H, W): source pixels at which something of the model's is seen. A pass sees the source from
    ``left``, ``top`` on, ``across`` and ``down`` times as large. ``margin``: source pixels that have a part in a place
    of the result, beyond it."""

    needed: npt.NDArray[np.bool_]
    edge: Edge
    margin: int = COLOUR_REACH
    left: float = 0.0
    top: float = 0.0
    across: float = 1.0
    down: float = 1.0

    def wider(self, pixels: int) -> Spared:
        """For the pass before, whose result another pass looks ``pixels`` far into."""
        return replace(self, margin=self.margin + pixels + COLOUR_REACH)

    def magnified(self, left: float, top: float, across: float, down: float) -> Spared:
        """For a pass over a part of the source that was enlarged before."""
        return replace(self, left=left, top=top, across=across, down=down)

    def spares(self, region: Box) -> bool:
        """Whether the model's result for that region of the pass's picture is not needed."""
        columns = _within(self.left + region.x / self.across, region.width / self.across, self.margin)
        rows = _within(self.top + region.y / self.down, region.height / self.down, self.margin)
        rows, columns = self._inside(rows, 0, self.edge.wraps_y), self._inside(columns, 1, self.edge.wraps_x)
        return not bool(self.needed[np.ix_(rows, columns)].any())

    def _inside(self, places: npt.NDArray[np.int64], axis: int, wraps: bool) -> npt.NDArray[np.int64]:
        length = self.needed.shape[axis]
        return np.unique(places % length if wraps else places.clip(0, length - 1))


def _within(start: float, length: float, margin: int) -> npt.NDArray[np.int64]:
    return np.arange(math.floor(start) - margin, math.ceil(start + length) + margin)


def stand_in(picture: torch.Tensor, region: Box, scale: int, edge: Edge) -> torch.Tensor:
    """In the place of the model's result for a region that is spared: its pixels, enlarged to squares."""
    pixels = read_region(picture, region, Context(), edge)[0].float()
    return pixels.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
