"""The one path of every picture: tile, run the model, place the result, fit it to the target.

Results leave the model tile by tile and are handed on as finished bands of rows, so that a caller who resamples
them (``upscale_to``) never holds the whole magnified picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from .image.alpha import bleed, resize_alpha
from .image.checks import check_alpha, check_picture
from .image.place import Background, padded_mask, place
from .image.resize import RowResampler, resize
from .image.target import FitPlan, Target, count_passes, plan_fit
from .image.tiling import (
    MINIMUM_TILE,
    Edge,
    Tile,
    choose_tile,
    plan_tiles,
    ramps,
    read_region,
    split_region,
)
from .progress import Progress
from .types import Box, FloatBox, Size, SizeRule, ceil_to
from .upscaler import InputError, ModelOutputError, OutOfMemory, Upscaler, UpscalerSpec

LANCZOS_TAPS = 3
"""Reach of the resampling filter, in pixels of the coarser grid."""

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


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """A picture brought to its target. ``padded`` (B, 1, H, W) is 1 where the canvas shows no picture."""

    picture: torch.Tensor
    alpha: torch.Tensor | None
    padded: torch.Tensor
    plan: FitPlan
    passes: int


class _RegionRunner:
    """Runs the model on regions of one picture, and remembers how large a region the device could hold."""

    def __init__(self, picture: torch.Tensor, upscaler: Upscaler, edge: Edge, progress: Progress) -> None:
        self.picture, self.upscaler, self.edge, self.progress = picture, upscaler, edge, progress
        self.too_large: int | None = None
        self.largest_run = 0

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
        halves = split_region(region, _alignment(spec)) if spec.tileable else None
        if halves is None:
            raise OutOfMemory(
                f"{spec.name} ran out of memory even on a tile of {region.size} pixels; free memory on the device, "
                "use a smaller model or run on the CPU."
            )
        return halves

    def _run_whole(self, region: Box) -> torch.Tensor:
        self.progress.check()
        spec = self.upscaler.spec
        pixels, inside = read_region(self.picture, region, _halo(spec), self.edge, spec.size_rule)
        result = self.upscaler(_to_model_channels(pixels, spec))
        _check_output(result, pixels, spec)
        cut = inside.times(spec.scale)
        result = result[..., cut.y : cut.bottom, cut.x : cut.right]
        return _from_model_channels(result, self.picture.shape[1], spec)


def upscale(
    picture: torch.Tensor,
    upscaler: Upscaler,
    tiles: TileSettings | None = None,
    progress: Progress | None = None,
) -> torch.Tensor:
    """(B, C, H, W) -> (B, C, H*scale, W*scale), float32, 0 to 1, on the device of ``picture``.

    With an exact halo the result equals one pass of the model over the whole picture, whatever the tile size.

    Raises ``InputError`` for something that is no picture, ``OutOfMemory`` when the smallest tile does not fit,
    ``ModelOutputError`` when the model returns NaN.
    """
    check_picture(picture)
    tiles, progress = tiles or TileSettings(), progress or Progress()
    spec = upscaler.spec
    whole = Box(0, 0, picture.shape[3], picture.shape[2])
    rows = _plan(whole, spec, tiles)
    progress.begin(len(picture) * sum(map(len, rows)), "tiles")
    result = picture.new_empty(
        (*picture.shape[:2], whole.height * spec.scale, whole.width * spec.scale), dtype=torch.float32
    )
    for index in range(len(picture)):
        top = 0
        for band in _bands(picture[index : index + 1], upscaler, rows, tiles.edge, progress):
            result[index : index + 1, :, top : top + band.shape[2]] = band
            top += band.shape[2]
    return result


def upscale_with_alpha(
    picture: torch.Tensor,
    alpha: torch.Tensor | None,
    upscaler: Upscaler,
    tiles: TileSettings | None = None,
    progress: Progress | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """``upscale`` for a picture with straight alpha (B, 1, H, W): colour is bled under the transparent pixels
    before the model sees it, alpha is resampled on its own."""
    if alpha is None:
        return upscale(picture, upscaler, tiles, progress), None
    check_picture(picture)
    check_alpha(alpha, picture)
    edge = tiles.edge if tiles else Edge.PLAIN
    result = upscale(bleed(picture, alpha), upscaler, tiles, progress)
    size = Size(picture.shape[3], picture.shape[2])
    enlarged = _resample(alpha, FloatBox(0, 0, *size), size.times(upscaler.spec.scale), edge, alpha=True)
    return result, enlarged


def upscale_to(
    picture: torch.Tensor,
    alpha: torch.Tensor | None,
    upscaler: Upscaler | None,
    target: Target,
    tiles: TileSettings | None = None,
    background: Background | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Bring a picture to a target size with as few passes of the model as that takes.

    The picture is resampled to the target as its tiles arrive. When several passes are needed, the picture is
    reduced before the last one so that it ends exactly at the target. Without an upscaler, or when the picture is
    already large enough, it is only resampled (Lanczos).

    Raises what ``upscale`` raises, and ``InputError`` for a target that cannot be met.
    """
    check_picture(picture)
    if alpha is not None:
        check_alpha(alpha, picture)
    tiles, progress = tiles or TileSettings(), progress or Progress()
    plan = plan_fit(Size(picture.shape[3], picture.shape[2]), target)
    passes = count_passes(plan.magnification, upscaler.spec.scale) if upscaler else 0
    colour = picture if alpha is None else bleed(picture, alpha)
    size = plan.placed.size
    if upscaler and passes:
        fitted = _pass_to(colour, plan.source_box, size, upscaler, passes, tiles, progress)
    else:
        fitted = _resample(colour, plan.source_box, size, tiles.edge)
    if alpha is not None:
        alpha = _resample(alpha, plan.source_box, size, tiles.edge, alpha=True)
    canvas, alpha = place(fitted, alpha, plan, background or Background())
    return FitResult(picture=canvas, alpha=alpha, padded=padded_mask(plan, len(picture)), plan=plan, passes=passes)


def _pass_to(
    picture: torch.Tensor,
    box: FloatBox,
    size: Size,
    upscaler: Upscaler,
    passes: int,
    tiles: TileSettings,
    progress: Progress,
) -> torch.Tensor:
    """``box`` of the picture at ``size`` after ``passes`` passes of the model, each resampled as it arrives."""
    spec = upscaler.spec
    if passes > 1:
        # The margin keeps the last pass from reading past the region, also where the picture wraps.
        region = _context(box, picture, tiles.edge, _halo(spec) + _alignment(spec) + 2 * LANCZOS_TAPS)
        ratio = Size(
            _before_last_pass(region.width, size.width / box.width, spec.scale),
            _before_last_pass(region.height, size.height / box.height, spec.scale),
        )
        inner = FloatBox(*map(float, region))
        step_x, step_y = ratio.width / region.width, ratio.height / region.height
        picture = _pass_to(picture, inner, ratio, upscaler, passes - 1, tiles, progress)
        box = FloatBox(
            (box.x - region.x) * step_x, (box.y - region.y) * step_y, box.width * step_x, box.height * step_y
        )
    return _fused_pass(picture, box, size, upscaler, tiles, progress)


def _before_last_pass(length: int, magnification: float, scale: int) -> int:
    return max(length, math.ceil(length * magnification / scale))


def _fused_pass(
    picture: torch.Tensor,
    box: FloatBox,
    size: Size,
    upscaler: Upscaler,
    tiles: TileSettings,
    progress: Progress,
) -> torch.Tensor:
    """One pass of the model over ``box``, each band of tiles resampled to ``size`` as soon as it is finished."""
    spec = upscaler.spec
    area = _needed_area(picture, box, size, spec, tiles.edge)
    rows = _plan(area, spec, tiles)
    progress.begin(len(picture) * sum(map(len, rows)), "tiles")
    inner = FloatBox((box.x - area.x) * spec.scale, (box.y - area.y) * spec.scale, box.width * spec.scale,
                     box.height * spec.scale)  # fmt: skip
    result = picture.new_empty((*picture.shape[:2], size.height, size.width), dtype=torch.float32)
    for index in range(len(picture)):
        resampler = RowResampler(area.size.times(spec.scale), size, inner)
        top = 0
        for band in _bands(picture[index : index + 1], upscaler, rows, tiles.edge, progress):
            fitted = resampler.push(band)
            result[index : index + 1, :, top : top + fitted.shape[2]] = fitted.clamp(0, 1)
            top += fitted.shape[2]
        resampler.finish()
    return result


def _needed_area(picture: torch.Tensor, box: FloatBox, size: Size, spec: UpscalerSpec, edge: Edge) -> Box:
    """Source pixels whose magnified versions have weight in the resampled box, aligned for the model."""
    reduction = max(1.0, box.width * spec.scale / size.width, box.height * spec.scale / size.height)
    return _context(box, picture, edge, math.ceil(LANCZOS_TAPS * reduction / spec.scale) + 1, _alignment(spec))


def _context(box: FloatBox, picture: torch.Tensor, edge: Edge, margin: int, align: int = 1) -> Box:
    """Whole pixels around ``box``, ``margin`` wider, cut at the picture's border except where it wraps."""
    height, width = picture.shape[-2:]
    left, right = _reach(box.x, box.width, margin, width, edge.wraps_x, align)
    top, bottom = _reach(box.y, box.height, margin, height, edge.wraps_y, align)
    return Box(left, top, right - left, bottom - top)


def _reach(start: float, length: float, margin: int, limit: int, wraps: bool, align: int) -> tuple[int, int]:
    first = (math.floor(start) - margin) // align * align
    last = ceil_to(math.ceil(start + length) + margin, align)
    return (first, last) if wraps else (max(first, 0), min(last, limit))


def _resample(picture: torch.Tensor, box: FloatBox, size: Size, edge: Edge, *, alpha: bool = False) -> torch.Tensor:
    """``box`` of the picture at ``size`` without a model; where the edge wraps, so does the filter."""
    if edge.wraps_x:
        reduction = max(1.0, box.width / size.width, box.height / size.height)
        area = _context(box, picture, edge, math.ceil(LANCZOS_TAPS * reduction) + 1)
        picture, _ = read_region(picture, area, 0, edge, SizeRule())
        box = FloatBox(box.x - area.x, box.y - area.y, box.width, box.height)
    if alpha:
        return resize_alpha(picture, size, box)
    return resize(picture, size, box).clamp(0, 1)


def _bands(
    picture: torch.Tensor, upscaler: Upscaler, rows: list[list[Tile]], edge: Edge, progress: Progress
) -> Iterator[torch.Tensor]:
    """Finished bands of magnified rows of one picture (1, C, H, W), from top to bottom."""
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


def _plan(area: Box, spec: UpscalerSpec, tiles: TileSettings) -> list[list[Tile]]:
    if not spec.tileable:
        return plan_tiles(area, area.size)
    align = _alignment(spec)
    size = Size(tiles.size, tiles.size) if tiles.size else choose_tile(area.size, _halo(spec), spec.pixel_budget, align)
    band = 0 if spec.halo.exact else min(spec.halo.pixels // 4, LARGEST_BAND)
    return plan_tiles(area, size, band, align)


def _alignment(spec: UpscalerSpec) -> int:
    return spec.size_rule.multiple_of


def _halo(spec: UpscalerSpec) -> int:
    """The halo rounded up to the model's alignment, so that tiles meet its grid as the whole picture does."""
    return ceil_to(spec.halo.pixels, _alignment(spec))


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
    expected = (pixels.shape[-2] * spec.scale, pixels.shape[-1] * spec.scale)
    if tuple(result.shape[-2:]) != expected:
        raise ModelOutputError(
            f"{spec.name} returned {result.shape[-1]}x{result.shape[-2]} pixels instead of "
            f"{expected[1]}x{expected[0]}; the file does not describe its own scale, so use another copy of the model."
        )
    if not torch.isfinite(result).all():
        bad = int((~torch.isfinite(result)).sum())
        raise ModelOutputError(
            f"{spec.name} returned {bad} values that are not finite for a tile of "
            f"{pixels.shape[-1]}x{pixels.shape[-2]}; its weights may be damaged: fetch the file again."
        )
