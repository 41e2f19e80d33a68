"""How far neighbouring tiles are apart where both computed the same pixels: what tiling costs on a picture."""

from __future__ import annotations

import torch

from ..image.tiling import Tile
from ..types import Box
from ..upscaler import UpscalerSpec

VISIBLE = 0.5 / 255
"""Differences below this are lost in the rounding to 8 bits."""


class Overlaps:
    """Compares each tile with the neighbours before it. ``scale``: of the results."""

    def __init__(self, scale: int) -> None:
        self._scale = scale
        self._kept: list[tuple[Box, torch.Tensor]] = []
        self._largest: list[torch.Tensor] = []
        self._sums: list[torch.Tensor] = []
        self._count = 0

    def add(self, tile: Tile, result: torch.Tensor) -> None:
        """``result``: (1, C, h*scale, w*scale) of the tile's region. Tiles that share no band cost nothing."""
        if tile.core == tile.region:
            return
        for box, values in self._kept:
            self._compare(box, values, tile.region, result)
        region, core = tile.region, tile.core
        # Earlier rows end above this tile; what they share with it was compared.
        self._kept = [kept for kept in self._kept if kept[0].bottom > region.y]
        band_x, band_y = region.right - core.right, region.bottom - core.bottom
        if band_x:
            self._keep(Box(core.right - band_x, region.y, 2 * band_x, region.height), region, result)
        if band_y:
            self._keep(Box(region.x, core.bottom - band_y, region.width, 2 * band_y), region, result)

    def sentence(self, spec: UpscalerSpec) -> str:
        """What the user should know; empty if the tiles agree."""
        if not self._count:
            return f"{spec.name} sees the whole picture, which was given to it in parts." if spec.halo.unbounded else ""
        largest = float(torch.stack(self._largest).max())
        mean = float(torch.stack(self._sums).sum()) / self._count
        if largest <= VISIBLE and not spec.halo.unbounded:
            return ""
        why = "sees the whole picture" if spec.halo.unbounded else "looks further than a tile's context"
        return (
            f"{spec.name} {why}: its tiles differ by up to {255 * largest:.1f} of 255 levels where they meet"
            f" ({255 * mean:.2f} on average) and are blended there; larger tiles, or none, make that less."
        )

    def _keep(self, part: Box, region: Box, result: torch.Tensor) -> None:
        self._kept.append((part, _cut(result, region, part, self._scale).clone()))

    def _compare(self, box: Box, values: torch.Tensor, region: Box, result: torch.Tensor) -> None:
        x, y = max(box.x, region.x), max(box.y, region.y)
        common = Box(x, y, min(box.right, region.right) - x, min(box.bottom, region.bottom) - y)
        if common.width <= 0 or common.height <= 0:
            return
        change = (_cut(values, box, common, self._scale) - _cut(result, region, common, self._scale)).abs()
        self._largest.append(change.max())
        self._sums.append(change.sum())
        self._count += change.numel()


def _cut(values: torch.Tensor, box: Box, part: Box, scale: int) -> torch.Tensor:
    inner = Box(part.x - box.x, part.y - box.y, part.width, part.height).scaled(scale)
    return values[..., inner.y : inner.bottom, inner.x : inner.right]
