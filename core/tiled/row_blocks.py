"""Runs a model over a part of a picture and hands on finished bands of magnified rows, from top to bottom.

There are two ways. A streaming model takes the rows as they come. Any other model takes tiles, which are read with
the context they need and cut, or blended where the context is not exact.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

import torch

from ..errors import InputError, OutOfMemory
from ..image.tiling import (
    MINIMUM_TILE,
    Edge,
    Tile,
    blend_weights,
    choose_tile,
    fits_one_tile,
    plan_tiles,
    read_region,
    size_to_read,
)
from ..progress import Progress
from ..types import Box, Size, size_of
from ..upscaler import StreamingUpscaler, Upscaler, UpscalerSpec
from .overlap import Overlaps
from .spared import Spared
from .tile_cache import PassReuse
from .tile_runner import (
    FlatKey,
    RegionRunner,
    context_for,
    finite_check,
    flat_keys,
    from_model_channels,
    to_model_channels,
)

REUSED_SIDE = 64
HALOS_IN_REUSED_SIDE = 8
"""Tiles that a change is looked for in, where rows can be streamed instead: sides in pixels, and in halos, so that the
context of a changed tile is at most 56 % on top of it."""


@dataclass(frozen=True, kw_only=True)
class TileSettings:
    """How a pass of the model goes. ``size``: side of a tile in input pixels, without its context; 0 lets the model and
    device decide. ``edge``: what lies beyond the border of the picture. ``keep_colours``: whether flat areas get the
    colours of the picture again (see ``image.keep_colours``); a model of scale 1 may change them. ``spared``: where a
    pass needs no model, set by whoever lays something else over the result there."""

    size: int = 0
    edge: Edge = Edge.PLAIN
    keep_colours: bool = False
    spared: Spared | None = None

    def __post_init__(self) -> None:
        if self.size and self.size < MINIMUM_TILE:
            raise InputError(
                f"A tile size of {self.size} is below the smallest of {MINIMUM_TILE}; use 0 for automatic."
            )


@dataclass(frozen=True)
class BandPlan:
    """``area`` of the picture in tiles, or in chunks of ``chunk`` rows if that is not 0. ``keys``: which tiles are of
    one colour, if that had to be found out. ``known``: results, by region, that need not be computed. ``reuse`` keeps
    those that are. ``spared``: regions whose results nobody will see."""

    area: Box
    tiles: list[list[Tile]]
    chunk: int
    edge: Edge
    steps: int
    keys: Mapping[Box, FlatKey | None] = field(default_factory=dict[Box, "FlatKey | None"])
    known: Mapping[Box, torch.Tensor] = field(default_factory=dict[Box, torch.Tensor])
    reuse: PassReuse | None = None
    spared: frozenset[Box] = frozenset()

    @property
    def regions(self) -> list[Box]:
        return [tile.region for row in self.tiles for tile in row]


def plan_bands(
    picture: torch.Tensor,
    area: Box,
    upscaler: Upscaler,
    settings: TileSettings,
    reuse: PassReuse | None = None,
    progress: Progress | None = None,
) -> BandPlan:
    """How to run the model over ``area`` of one picture (1, C, H, W). ``reuse``: results of pictures before.
    ``progress`` is shown the measurement of the halo, if that is needed and was not made.

    Rows are streamed where the model can do that, no tile size was asked for, the area is more than one tile or has
    ``rows_from`` pixels, and tiles would not be spared more by being flat, known or unseen than they cost by their
    context.
    """
    spec = upscaler.spec
    whole = size_of(picture)
    if not _is_one_tile(area.size, spec, settings):
        spec.halo.measure(progress or Progress())
    context = context_for(area, whole, settings.edge, spec)
    read = size_to_read(whole, area, context, settings.edge)
    tiles = _plan_tiles(area, spec, settings)
    chunk = 0
    large = len(tiles) > 1 or len(tiles[0]) > 1 or 0 < spec.rows_from <= read.pixels
    if not settings.size and large and isinstance(upscaler, StreamingUpscaler):
        chunk = upscaler.stream_height(read.width)
    if chunk and reuse is not None:
        # They only ever compute what changed; where that is much, their context costs nothing.
        tiles = _plan_tiles(area, spec, settings, max(REUSED_SIDE, HALOS_IN_REUSED_SIDE * spec.aligned_halo))
    by_tiles = BandPlan(area, tiles, 0, settings.edge, sum(map(len, tiles)), reuse=reuse)
    if reuse is not None:
        by_tiles = replace(by_tiles, known=_recalled(picture, by_tiles, spec, reuse))
    if settings.spared is not None:
        by_tiles = replace(by_tiles, spared=frozenset(filter(settings.spared.spares, by_tiles.regions)))
    unknown = [each for each in by_tiles.regions if each not in by_tiles.known and each not in by_tiles.spared]
    if by_tiles.regions != [area]:
        context = spec.context
    by_tiles = replace(by_tiles, keys=flat_keys(picture, unknown, context, settings.edge))
    sizes = {region: size_to_read(whole, region, context, settings.edge) for region in unknown}
    if not chunk or _pixels_to_run(by_tiles, sizes) < read.pixels:
        return by_tiles
    return replace(by_tiles, chunk=chunk, steps=-(-read.height // chunk))


def _recalled(picture: torch.Tensor, plan: BandPlan, spec: UpscalerSpec, reuse: PassReuse) -> dict[Box, torch.Tensor]:
    known = {region: reuse.recall(region, _read(picture, region, plan, spec)) for region in plan.regions}
    return {region: result for region, result in known.items() if result is not None}


def _read(picture: torch.Tensor, region: Box, plan: BandPlan, spec: UpscalerSpec) -> torch.Tensor:
    return read_region(picture, region, context_for(region, size_of(picture), plan.edge, spec), plan.edge)[0]


def _plan_tiles(area: Box, spec: UpscalerSpec, settings: TileSettings, most: int = 0) -> list[list[Tile]]:
    """The tiles of ``area``, a block of rows at a time.

    ``most``: longest side of a tile that the device decides on, 0 for no limit. Where a tile's size comes from, in
    order:

    1. A size that the user set is taken as it is.
    2. A model that runs tiles of its own, or that sees the whole picture where memory allows (``spec.whole_pixels``),
       gets the whole area.
    3. Otherwise ``spec.max_tile_pixels`` is the budget. The engine sets it: PyTorch by the device's memory and the
       model's need of it (``eager.default_plan``) or by what was measured fastest (``autotune``), other engines by
       what they were built for. ``choose_tile`` splits the area so that the least pixels are computed within it.
    4. ``most`` caps the side after memory ran out (``RegionRunner`` halves single tiles on its own).
    """
    if _is_one_tile(area.size, spec, settings, most):
        return plan_tiles(area, area.size)
    size = Size(settings.size, settings.size)
    if not settings.size:
        size = choose_tile(area.size, spec.aligned_halo, spec.max_tile_pixels, spec.alignment, spec.longest_side)
        size = Size(*(min(side, most or side) for side in size))
    return plan_tiles(area, size, spec.halo.overlap, spec.alignment)


def _is_one_tile(area: Size, spec: UpscalerSpec, settings: TileSettings, most: int = 0) -> bool:
    """Whether ``_plan_tiles`` needs no more than one, which shares no band with another; found without the halo, which
    may have to be measured."""
    if not spec.tileable or (spec.halo.unbounded and not settings.size and area.pixels <= spec.whole_pixels):
        return True
    if settings.size:
        return max(area) <= settings.size
    return max(area) <= (most or max(area)) and fits_one_tile(area, spec.max_tile_pixels, spec.longest_side)


def _pixels_to_run(plan: BandPlan, sizes: Mapping[Box, Size]) -> int:
    """Input pixels that the model sees when known tiles are not run and flat ones once."""
    flat = {key: sizes[region] for region, key in plan.keys.items() if key is not None}
    rest = [sizes[region] for region, key in plan.keys.items() if key is None]
    return sum(size.pixels for size in (*flat.values(), *rest))


def bands(picture: torch.Tensor, upscaler: Upscaler, plan: BandPlan, progress: Progress) -> Generator[torch.Tensor]:
    """Finished bands of magnified rows of the planned area of one picture, (1, C, h, W*scale), top to bottom.

    Raises ``OutOfMemory`` when the smallest tile does not fit, ``ModelOutputError`` when the model returns NaN.
    """
    if not plan.chunk or not isinstance(upscaler, StreamingUpscaler):
        runner = RegionRunner(picture, upscaler, plan.edge, progress, plan.keys, plan.known, plan.reuse, plan.spared)
        yield from _tiled_bands(picture, runner, plan.tiles)
        return
    done = 0
    try:
        with closing(_kept_bands(picture, upscaler, plan, progress)) as kept:
            for band in kept:
                done += band.shape[2]
                yield band
        return
    except OutOfMemory:
        progress.note(f"Out of memory at chunks of {plan.chunk} rows; continuing with tiles.")
    scale = upscaler.spec.scale
    first = plan.area.y + done // scale // upscaler.spec.alignment * upscaler.spec.alignment
    repeated = done - (first - plan.area.y) * scale
    rest = Box(plan.area.x, first, plan.area.width, plan.area.bottom - first)
    tiles = _plan_tiles(rest, upscaler.spec, TileSettings(edge=plan.edge))
    progress.extend(sum(map(len, tiles)))
    for band in _tiled_bands(picture, RegionRunner(picture, upscaler, plan.edge, progress), tiles):
        yield band[:, :, repeated:]
        repeated = max(repeated - band.shape[2], 0)


def _kept_bands(
    picture: torch.Tensor, upscaler: StreamingUpscaler, plan: BandPlan, progress: Progress
) -> Generator[torch.Tensor]:
    """The streamed bands; when the last one has come, their parts are the results of the tiles."""
    streamed, reuse = _streamed_bands(picture, upscaler, plan, progress), plan.reuse
    if reuse is None:
        yield from streamed
        return
    reuse.counts.streamed += 1
    spec, area, done = upscaler.spec, plan.area, 0
    canvas: torch.Tensor | None = None
    with closing(streamed):
        for band in streamed:
            if not done:
                canvas = reuse.start_whole(band, area.size.scaled(spec.scale))
            if canvas is not None:
                canvas[:, :, done : done + band.shape[2]] = band
            done += band.shape[2]
            yield band
    if canvas is None:
        return
    for region in plan.regions:
        place = Box(region.x - area.x, region.y - area.y, *region.size).scaled(spec.scale)
        part = canvas[:, :, place.y : place.bottom, place.x : place.right]
        reuse.keep(region, _read(picture, region, plan, spec), part)


def _streamed_bands(
    picture: torch.Tensor, upscaler: StreamingUpscaler, plan: BandPlan, progress: Progress
) -> Generator[torch.Tensor]:
    spec = upscaler.spec
    pixels, inside = read_region(
        picture, plan.area, context_for(plan.area, size_of(picture), plan.edge, spec), plan.edge
    )
    pixels = to_model_channels(pixels, spec)
    cut = inside.scaled(spec.scale)
    place = 0
    with closing(upscaler.stream(_chunks(pixels, plan.chunk, progress), plan.steps)) as streamed:
        for rows in streamed:
            finite_check(rows, Size(pixels.shape[3], plan.chunk), spec)()
            wanted = rows[:, :, max(cut.y - place, 0) : max(cut.bottom - place, 0), cut.x : cut.right]
            place += rows.shape[2]
            if wanted.shape[2]:
                yield from_model_channels(wanted, picture.shape[1], spec)


def _chunks(pixels: torch.Tensor, height: int, progress: Progress) -> Iterator[torch.Tensor]:
    for top in range(0, pixels.shape[2], height):
        progress.check()
        yield pixels[:, :, top : top + height]
        progress.advance()


def _tiled_bands(picture: torch.Tensor, runner: RegionRunner, rows: list[list[Tile]]) -> Iterator[torch.Tensor]:
    scale = runner.upscaler.spec.scale
    results = runner.run_all(tile.region for row in rows for tile in row)
    left = rows[0][0].region.x
    width = rows[0][-1].region.right - left
    carried: torch.Tensor | None = None
    overlaps = Overlaps(scale)
    for index, row in enumerate(rows):
        region = row[0].region
        band = picture.new_zeros((1, picture.shape[1], region.height * scale, width * scale), dtype=torch.float32)
        for tile in row:
            x = (tile.region.x - left) * scale
            result = next(results)
            if tile.region not in runner.spared:
                overlaps.add(tile, result)
            band[..., x : x + tile.region.width * scale] += _weighted(result, tile, scale).to(band)
            runner.progress.advance()
        if carried is not None:
            band[:, :, : carried.shape[2]] += carried
        final = band.shape[2]
        if index + 1 < len(rows):
            final = (rows[index + 1][0].region.y - region.y) * scale
        else:
            runner.check()
        yield band[:, :, :final]
        carried = band[:, :, final:]
    several = len(rows) > 1 or len(rows[0]) > 1
    if several and (sentence := overlaps.sentence(runner.upscaler.spec)):
        runner.progress.note(sentence)


def _weighted(result: torch.Tensor, tile: Tile, scale: int) -> torch.Tensor:
    weights = blend_weights(tile, scale)
    if weights is None:
        return result
    vertical, horizontal = (w.to(result) for w in weights)
    return result * vertical[:, None] * horizontal
