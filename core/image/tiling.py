"""Cutting a picture into tiles: first sizes and positions as plain numbers, then reading one tile.

Tiles cover an area without gaps. Each computes its ``region``: its ``core`` plus a band shared with the
neighbours, in which the two results are blended; a band of 0 means that tiles are simply cut. The context (halo)
that the model needs around the region is added when the tile is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch

from ..types import Box, Context, Size, ceil_to

MINIMUM_TILE = 32
"""Smallest tile side, in input pixels, that tiling chooses."""


class Edge(str, Enum):
    """What lies beyond the border of the picture.

    PLAIN: nothing, the model meets the border as it would on the whole picture. REPLICATE: the border pixels are
    repeated outward. WRAP_HORIZONTAL: left and right wrap around (360-degree panoramas). WRAP_BOTH: all sides wrap
    (textures).
    """

    PLAIN = "plain"
    REPLICATE = "replicate"
    WRAP_HORIZONTAL = "wrap horizontal"
    WRAP_BOTH = "wrap both"

    @property
    def wraps_x(self) -> bool:
        return self in (Edge.WRAP_HORIZONTAL, Edge.WRAP_BOTH)

    @property
    def wraps_y(self) -> bool:
        return self is Edge.WRAP_BOTH


@dataclass(frozen=True)
class Tile:
    """``core``: the pixels this tile is responsible for. ``region``: the core and the bands it shares with others."""

    core: Box
    region: Box


def split_evenly(start: int, length: int, limit: int, align: int = 1) -> list[tuple[int, int]]:
    """(start, length) of the fewest pieces of at most ``limit`` that cover ``length``, nearly equal in length.

    Inner borders lie on multiples of ``align``; a limit below ``align`` counts as ``align``.
    """
    count = -(-length // max(limit // align * align, align))
    first, last = start // align, -(-(start + length) // align)
    borders = [align * (first + (last - first) * i // count) for i in range(count + 1)]
    borders[0], borders[-1] = start, start + length
    return [(a, b - a) for a, b in zip(borders, borders[1:], strict=False) if b > a]


def plan_tiles(area: Box, tile: Size, band: int = 0, align: int = 1) -> list[list[Tile]]:
    """Rows of tiles that cover ``area`` (source pixels), cores of at most ``tile``, bands cut at the area's edge."""
    columns = split_evenly(area.x, area.width, tile.width, align)
    rows = split_evenly(area.y, area.height, tile.height, align)
    band = min(band, *(length // 2 for _, length in columns + rows))
    return [[_tile(Box(x, y, w, h), area, band) for x, w in columns] for y, h in rows]


def _tile(core: Box, area: Box, band: int) -> Tile:
    left, top = max(core.x - band, area.x), max(core.y - band, area.y)
    right, bottom = min(core.right + band, area.right), min(core.bottom + band, area.bottom)
    return Tile(core, Box(left, top, right - left, bottom - top))


def fits_one_tile(area: Size, budget: int, longest: int = 0) -> bool:
    """Whether ``area`` is one tile under the limits of ``choose_tile``, for which no halo needs to be known."""
    return budget <= 0 or (area.pixels <= budget and max(area) <= (longest or max(area)))


def choose_tile(area: Size, halo: int, budget: int, align: int = 1, longest: int = 0) -> Size:
    """Tile size (without halo) that computes the fewest pixels while no tile reads over ``budget`` pixels, nor
    over ``longest`` pixels a side if that is not 0.

    Every way to split width and height evenly is compared; with a budget too small for any of them the smallest
    reasonable tile is used. ``budget`` 0 means no limit: one tile.
    """
    if fits_one_tile(area, budget, longest):
        return area
    longest = longest or max(area)
    best: tuple[int, Size] | None = None
    for columns in _useful_counts(area.width):
        for rows in _useful_counts(area.height):
            tile = Size(_round_up(area.width, columns, align), _round_up(area.height, rows, align))
            read = Size(
                _read_length(area.width, columns, tile.width, halo),
                _read_length(area.height, rows, tile.height, halo),
            )
            if read.pixels <= budget and max(read) <= longest:
                cost = read.pixels * columns * rows
                if best is None or cost < best[0]:
                    best = (cost, tile)
                break
    if best is not None:
        return best[1]
    side = max(MINIMUM_TILE, align, 2 * halo)
    return Size(min(area.width, side), min(area.height, side))


def _useful_counts(length: int) -> range:
    return range(1, max(1, length // MINIMUM_TILE) + 1)


def _round_up(length: int, count: int, align: int) -> int:
    return ceil_to(-(-length // count), align)


def _read_length(length: int, count: int, tile: int, halo: int) -> int:
    return min(length, tile + (0 if count == 1 else halo if count == 2 else 2 * halo))


def blend_weights(tile: Tile, scale: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Blending weights (rows, columns) of a tile's region at ``scale``, or None if it shares no band.

    Across a border the weights of the two tiles are straight lines that add up to 1.
    """
    if tile.core == tile.region:
        return None
    core, region = tile.core, tile.region
    vertical = _ramp(core.y - region.y, core.height, region.bottom - core.bottom, scale)
    horizontal = _ramp(core.x - region.x, core.width, region.right - core.right, scale)
    return vertical, horizontal


def _ramp(before: int, length: int, after: int, scale: int) -> torch.Tensor:
    weights = torch.ones((before + length + after) * scale)
    if before:
        rise = (torch.arange(2 * before * scale) + 0.5) / (2 * before * scale)
        weights[: len(rise)] *= rise
    if after:
        fall = (torch.arange(2 * after * scale) + 0.5) / (2 * after * scale)
        weights[len(weights) - len(fall) :] *= fall.flip(0)
    return weights


def read_region(picture: torch.Tensor, region: Box, context: Context, edge: Edge) -> tuple[torch.Tensor, Box]:
    """The pixels a model needs to compute ``region``, and where the region lies in them.

    The picture counts as continued to the right and down until it meets the size rule: mirrored like Spandrel does (so
    that the result is that of the whole picture), repeated where nothing is left to mirror. Of that the region is read
    with its context, on the grid, as far as ``edge`` provides it; a region too small for the model grows into the
    picture.
    """
    height, width = picture.shape[-2:]
    read = _box_to_read(Size(width, height), region, context, edge)
    columns = _source_indices(read.x, read.width, width, edge.wraps_x, edge is Edge.REPLICATE)
    rows = _source_indices(read.y, read.height, height, edge.wraps_y, edge is Edge.REPLICATE)
    return _take(_take(picture, -2, rows), -1, columns), Box(region.x - read.x, region.y - read.y, *region.size)


def size_to_read(picture: Size, region: Box, context: Context, edge: Edge) -> Size:
    """The size of what ``read_region`` gives for a picture of this size."""
    return _box_to_read(picture, region, context, edge).size


def _box_to_read(picture: Size, region: Box, context: Context, edge: Edge) -> Box:
    whole = context.rule.padded(picture)
    width = None if edge.wraps_x or edge is Edge.REPLICATE else whole.width
    height = None if edge.wraps_y or edge is Edge.REPLICATE else whole.height
    least = context.least
    while True:
        x, right = _span(region.x, region.right, width, context, least)
        y, bottom = _span(region.y, region.bottom, height, context, least)
        if not context.rule.square or right - x == bottom - y:
            return Box(x, y, right - x, bottom - y)
        least = max(right - x, bottom - y)


def _span(start: int, stop: int, limit: int | None, context: Context, least: int) -> tuple[int, int]:
    """First and last pixel to read of one axis, between 0 and ``limit`` if there is one; at least ``least`` pixels."""
    grid = context.grid
    first, last = (start - context.halo) // grid * grid, ceil_to(stop + context.halo, grid)
    if limit is None:
        return first, max(last, first + least)
    first, last = max(first, 0), min(last, limit)
    if last - first < least:
        last = min(first + least, limit)
        first = max((last - least) // grid * grid, 0)
    return first, last


def _source_indices(start: int, count: int, length: int, wraps: bool, repeats: bool) -> list[int]:
    positions = range(start, start + count)
    if wraps:
        return [p % length for p in positions]
    if repeats:
        return [min(max(p, 0), length - 1) for p in positions]
    return [p if p < length else max(2 * (length - 1) - p, 0) for p in positions]


def _take(picture: torch.Tensor, axis: int, indices: list[int]) -> torch.Tensor:
    first, count = indices[0], len(indices)
    if indices == list(range(first, first + count)):
        return picture.narrow(axis, first, count)
    return picture.index_select(axis, torch.tensor(indices, device=picture.device))


def split_region(region: Box, align: int) -> tuple[Box, Box] | None:
    """Two halves of a region along its longer side, or None if it is too small to be halved."""
    if max(region.size) < 2 * max(align, MINIMUM_TILE // 2):
        return None
    # A limit that is not a multiple would give three pieces.
    half = ceil_to(-(-max(region.size) // 2), align)
    if region.width >= region.height:
        (x, w), (x2, w2) = split_evenly(region.x, region.width, half, align)
        return Box(x, region.y, w, region.height), Box(x2, region.y, w2, region.height)
    (y, h), (y2, h2) = split_evenly(region.y, region.height, half, align)
    return Box(region.x, y, region.width, h), Box(region.x, y2, region.width, h2)
