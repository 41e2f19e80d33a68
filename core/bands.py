"""Runs a model over a part of a picture and hands on finished bands of magnified rows, from top to bottom.

There are two ways. A streaming model takes the rows as they come. Any other model takes tiles, which are read with
the context they need and cut, or blended where the context is not exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .image.tiling import MINIMUM_TILE, Edge, Tile, choose_tile, plan_tiles, ramps, read_region, split_region
from .progress import Progress
from .types import Box, Size
from .upscaler import InputError, ModelOutputError, OutOfMemory, StreamingUpscaler, Upscaler, UpscalerSpec

LARGEST_BAND = 16
"""Widest band, in input pixels, over which tiles of an inexact halo are blended."""


@dataclass(frozen=True, kw_only=True)
class TileSettings:
    """``size``: side of a tile in input pixels, without its context; 0 lets the model and device decide.
    ``edge``: what lies beyond the border of the picture."""

    size: int = 0
    edge: Edge = Edge.PLAIN

    def __post_init__(self) -> None:
        if self.size and self.size < MINIMUM_TILE:
            raise InputError(
                f"A tile size of {self.size} is below the smallest of {MINIMUM_TILE}; use 0 for automatic."
            )


@dataclass(frozen=True)
class BandPlan:
    """``area`` of the picture in tiles, or in chunks of ``chunk`` rows if that is not 0."""

    area: Box
    tiles: list[list[Tile]]
    chunk: int
    edge: Edge
    steps: int


def plan_bands(picture: torch.Tensor, area: Box, upscaler: Upscaler, settings: TileSettings) -> BandPlan:
    """How to run the model over ``area`` of one picture (1, C, H, W).

    Rows are streamed where the model can do that, no tile size was asked for, the area is more than one tile, and
    tiles would not be spared more by being flat than they cost by their context.
    """
    spec = upscaler.spec
    tiles = _plan_tiles(area, spec, settings)
    count = sum(map(len, tiles))
    by_tiles = BandPlan(area, tiles, 0, settings.edge, count)
    if settings.size or count == 1 or not isinstance(upscaler, StreamingUpscaler):
        return by_tiles
    halo = spec.aligned_halo
    read = read_region(picture, area, halo, settings.edge, spec.size_rule)[0]
    height, width = read.shape[-2:]
    chunk = upscaler.stream_height(width)
    if not chunk or _pixels_to_run(picture, tiles, settings.edge, spec) < height * width:
        return by_tiles
    return BandPlan(area, tiles, chunk, settings.edge, -(-height // chunk))


def _plan_tiles(area: Box, spec: UpscalerSpec, settings: TileSettings) -> list[list[Tile]]:
    if not spec.tileable:
        return plan_tiles(area, area.size)
    size = Size(settings.size, settings.size)
    if not settings.size:
        size = choose_tile(area.size, spec.aligned_halo, spec.pixel_budget, spec.alignment)
    band = 0 if spec.halo.exact else min(spec.halo.pixels // 4, LARGEST_BAND)
    return plan_tiles(area, size, band, spec.alignment)


def _pixels_to_run(picture: torch.Tensor, tiles: list[list[Tile]], edge: Edge, spec: UpscalerSpec) -> int:
    """Input pixels that the model sees when flat tiles are run once."""
    total, seen = 0, set[FlatKey]()
    for tile in (tile for row in tiles for tile in row):
        pixels, inside = read_region(picture, tile.region, spec.aligned_halo, edge, spec.size_rule)
        key = _flat_key(pixels, inside)
        if key is None or key not in seen:
            total += pixels.shape[2] * pixels.shape[3]
        if key is not None:
            seen.add(key)
    return total


def bands(picture: torch.Tensor, upscaler: Upscaler, plan: BandPlan, progress: Progress) -> Iterator[torch.Tensor]:
    """Finished bands of magnified rows of the planned area of one picture, (1, C, h, W*scale), top to bottom.

    Raises ``OutOfMemory`` when the smallest tile does not fit, ``ModelOutputError`` when the model returns NaN.
    """
    if not plan.chunk or not isinstance(upscaler, StreamingUpscaler):
        yield from _tiled_bands(picture, upscaler, plan.tiles, plan.edge, progress)
        return
    done = 0
    try:
        for band in _streamed_bands(picture, upscaler, plan, progress):
            done += band.shape[2]
            yield band
        return
    except OutOfMemory:
        progress.note(f"Out of memory at chunks of {plan.chunk} rows; going on with tiles.")
    scale = upscaler.spec.scale
    first = plan.area.y + done // scale // upscaler.spec.alignment * upscaler.spec.alignment
    repeated = done - (first - plan.area.y) * scale
    rest = Box(plan.area.x, first, plan.area.width, plan.area.bottom - first)
    tiles = _plan_tiles(rest, upscaler.spec, TileSettings(edge=plan.edge))
    progress.extend(sum(map(len, tiles)))
    for band in _tiled_bands(picture, upscaler, tiles, plan.edge, progress):
        yield band[:, :, repeated:]
        repeated = max(repeated - band.shape[2], 0)


def _streamed_bands(
    picture: torch.Tensor, upscaler: StreamingUpscaler, plan: BandPlan, progress: Progress
) -> Iterator[torch.Tensor]:
    spec = upscaler.spec
    pixels, inside = read_region(picture, plan.area, spec.aligned_halo, plan.edge, spec.size_rule)
    pixels = _to_model_channels(pixels, spec)
    cut = inside.times(spec.scale)
    place = 0
    for rows in upscaler.stream(_chunks(pixels, plan.chunk, progress), plan.steps):
        _check_finite(rows, Size(pixels.shape[3], plan.chunk), spec)
        wanted = rows[:, :, max(cut.y - place, 0) : max(cut.bottom - place, 0), cut.x : cut.right]
        place += rows.shape[2]
        if wanted.shape[2]:
            yield _from_model_channels(wanted, picture.shape[1], spec)


def _chunks(pixels: torch.Tensor, height: int, progress: Progress) -> Iterator[torch.Tensor]:
    for top in range(0, pixels.shape[2], height):
        progress.check()
        yield pixels[:, :, top : top + height]
        progress.advance()


def _tiled_bands(
    picture: torch.Tensor, upscaler: Upscaler, rows: list[list[Tile]], edge: Edge, progress: Progress
) -> Iterator[torch.Tensor]:
    runner = _RegionRunner(picture, upscaler, edge, progress)
    scale = upscaler.spec.scale
    left = rows[0][0].region.x
    width = rows[0][-1].region.right - left
    carried: torch.Tensor | None = None
    for index, row in enumerate(rows):
        region = row[0].region
        band = picture.new_zeros((1, picture.shape[1], region.height * scale, width * scale), dtype=torch.float32)
        for tile in row:
            x = (tile.region.x - left) * scale
            band[..., x : x + tile.region.width * scale] += _weighted(runner.run(tile.region), tile, scale).to(band)
            progress.advance()
        if carried is not None:
            band[:, :, : carried.shape[2]] += carried
        final = band.shape[2]
        if index + 1 < len(rows):
            final = (rows[index + 1][0].region.y - region.y) * scale
        yield band[:, :, :final]
        carried = band[:, :, final:]


def _weighted(result: torch.Tensor, tile: Tile, scale: int) -> torch.Tensor:
    weights = ramps(tile, scale)
    if weights is None:
        return result
    vertical, horizontal = (w.to(result) for w in weights)
    return result * vertical[:, None] * horizontal


FlatKey = tuple[Size, Box, tuple[float, ...]]


def _flat_key(pixels: torch.Tensor, inside: Box) -> FlatKey | None:
    """Equal for two tiles only if the model is given the same numbers; None unless the tile is of one colour."""
    first = pixels[0, :, 0, 0]
    if not bool((pixels == first[:, None, None]).all()):
        return None
    return Size(pixels.shape[3], pixels.shape[2]), inside, tuple(float(value) for value in first)


class _RegionRunner:
    """Runs the model on regions of one picture. Remembers how large a region the device could hold, and the results
    of regions of one colour."""

    def __init__(self, picture: torch.Tensor, upscaler: Upscaler, edge: Edge, progress: Progress) -> None:
        self.picture, self.upscaler, self.edge, self.progress = picture, upscaler, edge, progress
        self.too_large: int | None = None
        self.largest_run = 0
        self.flat: dict[FlatKey, torch.Tensor] = {}

    def run(self, region: Box) -> torch.Tensor:
        """(1, C, h*scale, w*scale) for a region. After out-of-memory a size that ran before is tried once more,
        and then, as any other, halved until it fits; with an exact halo the result is the same. Raises
        ``OutOfMemory`` when it cannot be halved any more."""
        pixels = region.size.pixels
        attempts = 2 if pixels <= self.largest_run else 1
        if self.too_large is not None and pixels >= self.too_large:
            attempts = 0
        for _ in range(attempts):
            try:
                result = self._run_whole(region)
            except OutOfMemory:
                continue
            self.largest_run = max(self.largest_run, pixels)
            return result
        halves = self._halves(region)
        if attempts:
            self.too_large = pixels
            self.progress.note(f"Out of memory at a tile of {region.size}; going on with {halves[0].size}.")
        axis = -1 if halves[0].height == region.height else -2
        return torch.cat([self.run(half) for half in halves], dim=axis)

    def _halves(self, region: Box) -> tuple[Box, Box]:
        spec = self.upscaler.spec
        halves = split_region(region, spec.alignment) if spec.tileable else None
        if halves is None:
            raise OutOfMemory(
                f"{spec.name} ran out of memory even on a tile of {region.size} pixels; free memory on the device, "
                "use a smaller model or run on the CPU."
            )
        return halves

    def _run_whole(self, region: Box) -> torch.Tensor:
        self.progress.check()
        spec = self.upscaler.spec
        pixels, inside = read_region(self.picture, region, spec.aligned_halo, self.edge, spec.size_rule)
        key = _flat_key(pixels, inside)
        if key is not None and key in self.flat:
            return self.flat[key]
        result = self.upscaler(_to_model_channels(pixels, spec))
        _check_output(result, pixels, spec)
        cut = inside.times(spec.scale)
        result = _from_model_channels(result[..., cut.y : cut.bottom, cut.x : cut.right], self.picture.shape[1], spec)
        if key is not None:
            self.flat = {key: result}
        return result


def _to_model_channels(pixels: torch.Tensor, spec: UpscalerSpec) -> torch.Tensor:
    """Grey is repeated for colour models; colour becomes a batch of greys for grey models."""
    channels = pixels.shape[1]
    if spec.input_channels == channels:
        return pixels
    if spec.input_channels == 1:
        return pixels.flatten(0, 1).unsqueeze(1)
    if spec.input_channels in (3, 4):
        colour = pixels.expand(-1, 3, -1, -1)
        return colour if spec.input_channels == 3 else torch.cat([colour, torch.ones_like(colour[:, :1])], dim=1)
    raise InputError(
        f"{spec.name} takes {spec.input_channels} channels; pictures here have {channels}, so use a model for 1 or 3."
    )


def _from_model_channels(result: torch.Tensor, channels: int, spec: UpscalerSpec) -> torch.Tensor:
    if spec.input_channels == 1 and channels == 3:
        return result[:, :1].reshape(-1, 3, *result.shape[-2:])
    result = result[:, :3]
    return result.mean(dim=1, keepdim=True) if channels < result.shape[1] else result.expand(-1, channels, -1, -1)


def _check_output(result: torch.Tensor, pixels: torch.Tensor, spec: UpscalerSpec) -> None:
    expected = Size(pixels.shape[3], pixels.shape[2]).times(spec.scale)
    found = Size(result.shape[3], result.shape[2])
    if found != expected:
        raise ModelOutputError(
            f"{spec.name} returned {found} pixels instead of {expected}; the file does not describe its own scale, "
            "so use another copy of the model."
        )
    _check_finite(result, Size(pixels.shape[3], pixels.shape[2]), spec)


def _check_finite(result: torch.Tensor, tile: Size, spec: UpscalerSpec) -> None:
    bad = result.numel() - int(torch.isfinite(result).sum())
    if bad:
        raise ModelOutputError(
            f"{spec.name} returned {bad} values that are not finite for a tile of {tile}; its weights may be damaged: "
            "fetch the file again."
        )
