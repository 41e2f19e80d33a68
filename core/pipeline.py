"""The one path of every picture: tile, run the model, place the result, fit it to the target.

Results leave the model tile by tile and are handed on as finished bands of rows, so that a caller who resamples
them (``upscale_to``) never holds the whole magnified picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .bands import TileSettings, bands, plan_bands
from .image.alpha import bleed, resize_alpha
from .image.checks import check_alpha, check_picture
from .image.place import Background, padded_mask, place
from .image.resize import RowResampler, resize
from .image.target import FitPlan, Target, count_passes, plan_fit
from .image.tiling import Edge, read_region
from .progress import Progress
from .reuse import PassReuse, Reuse
from .types import Box, FloatBox, Size, SizeRule, ceil_to
from .upscaler import OutOfMemory, RoomyUpscaler, Upscaler, UpscalerSpec

BANDS_HELD = 4
"""Bands of tiles that lie on a device at once at most: one that grows, what it carries over, and the resampler's."""

LANCZOS_TAPS = 3
"""Reach of the resampling filter, in pixels of the coarser grid."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """A picture brought to its target."""

    picture: torch.Tensor
    alpha: torch.Tensor | None
    plan: FitPlan
    passes: int

    @property
    def padded(self) -> torch.Tensor:
        """(B, 1, H, W), 1 where the canvas shows no picture; made anew at each call, as it is large."""
        return padded_mask(self.plan, len(self.picture))


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
    size = Size(picture.shape[3], picture.shape[2])
    whole, final = Box(0, 0, *size), size.times(upscaler.spec.scale)
    result = picture.new_empty((*picture.shape[:2], final.height, final.width), dtype=torch.float32)

    def run(source: torch.Tensor) -> None:
        plans = [plan_bands(each, whole, upscaler, tiles) for each in _one_by_one(source)]
        progress.begin(sum(plan.steps for plan in plans), "tiles")
        for index, (each, plan) in enumerate(zip(_one_by_one(source), plans, strict=True)):
            top = 0
            for band in bands(each, upscaler, plan, progress):
                result[index : index + 1, :, top : top + band.shape[2]] = band
                top += band.shape[2]

    _run_near(picture, whole, upscaler, progress, run)
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
    reuse: Reuse | None = None,
) -> FitResult:
    """Bring a picture to a target size with as few passes of the model as that takes.

    The picture is resampled to the target as its tiles arrive. When several passes are needed, the picture is
    reduced before the last one so that it ends exactly at the target. Without an upscaler, or when the picture is
    already large enough, it is only resampled (Lanczos). ``reuse`` is for pictures that follow one another.

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
        fitted = _pass_to(colour, plan.source_box, size, upscaler, passes, tiles, progress, reuse)
    else:
        fitted = _resample(colour, plan.source_box, size, tiles.edge)
    if alpha is not None:
        alpha = _resample(alpha, plan.source_box, size, tiles.edge, alpha=True)
    canvas, alpha = place(fitted, alpha, plan, background or Background())
    return FitResult(picture=canvas, alpha=alpha, plan=plan, passes=passes)


def _pass_to(
    picture: torch.Tensor,
    box: FloatBox,
    size: Size,
    upscaler: Upscaler,
    passes: int,
    tiles: TileSettings,
    progress: Progress,
    reuse: Reuse | None,
) -> torch.Tensor:
    """``box`` of the picture at ``size`` after ``passes`` passes of the model, each resampled as it arrives."""
    spec = upscaler.spec
    if passes > 1:
        # The margin keeps the last pass from reading past the region, also where the picture wraps.
        region = _context(box, picture, tiles.edge, spec.aligned_halo + spec.alignment + 2 * LANCZOS_TAPS)
        ratio = Size(
            _before_last_pass(region.width, size.width / box.width, spec.scale),
            _before_last_pass(region.height, size.height / box.height, spec.scale),
        )
        inner = FloatBox(*map(float, region))
        step_x, step_y = ratio.width / region.width, ratio.height / region.height
        picture = _pass_to(picture, inner, ratio, upscaler, passes - 1, tiles, progress, reuse)
        box = FloatBox(
            (box.x - region.x) * step_x, (box.y - region.y) * step_y, box.width * step_x, box.height * step_y
        )
    memories = [reuse.of_pass(passes, place) if reuse else None for place in range(len(picture))]
    return _fused_pass(picture, box, size, upscaler, tiles, progress, memories)


def _before_last_pass(length: int, magnification: float, scale: int) -> int:
    return max(length, math.ceil(length * magnification / scale))


def _fused_pass(
    picture: torch.Tensor,
    box: FloatBox,
    size: Size,
    upscaler: Upscaler,
    tiles: TileSettings,
    progress: Progress,
    memories: list[PassReuse | None],
) -> torch.Tensor:
    """One pass of the model over ``box``, each band of tiles resampled to ``size`` as soon as it is finished."""
    spec = upscaler.spec
    area = _needed_area(picture, box, size, spec, tiles.edge)
    inner = FloatBox((box.x - area.x) * spec.scale, (box.y - area.y) * spec.scale, box.width * spec.scale,
                     box.height * spec.scale)  # fmt: skip
    result = picture.new_empty((*picture.shape[:2], size.height, size.width), dtype=torch.float32)

    def run(source: torch.Tensor) -> None:
        pairs = zip(_one_by_one(source), memories, strict=True)
        plans = [plan_bands(each, area, upscaler, tiles, memory) for each, memory in pairs]
        progress.begin(sum(plan.steps for plan in plans), "tiles")
        for index, (each, plan) in enumerate(zip(_one_by_one(source), plans, strict=True)):
            resampler = RowResampler(area.size.times(spec.scale), size, inner)
            top = 0
            for band in bands(each, upscaler, plan, progress):
                fitted = resampler.push(band)
                result[index : index + 1, :, top : top + fitted.shape[2]] = fitted.clamp(0, 1)
                top += fitted.shape[2]
            resampler.finish()

    _run_near(picture, area, upscaler, progress, run)
    return result


def _run_near(
    picture: torch.Tensor, area: Box, upscaler: Upscaler, progress: Progress, run: Callable[[torch.Tensor], None]
) -> None:
    """Runs with the picture on the model's device, where that has room, so that tiles are put together and resampled
    there and only the finished rows are copied; else, or when the room did not last, with the picture where it is."""
    device = _device_with_room(picture, area, upscaler)
    if device != picture.device:
        try:
            run(picture.to(device))
        except (torch.OutOfMemoryError, OutOfMemory):
            progress.note(f"There was no room on {device} to put the tiles together; going on in main memory.")
        else:
            return
    run(picture)


def _device_with_room(picture: torch.Tensor, area: Box, upscaler: Upscaler) -> torch.device:
    if not isinstance(upscaler, RoomyUpscaler):
        return picture.device
    spec = upscaler.spec
    device, room = upscaler.room()
    tile = math.isqrt(spec.pixel_budget) or area.height
    band = area.width * min(tile, area.height) * spec.scale**2
    return device if 4 * (picture.numel() + BANDS_HELD * picture.shape[1] * band) <= room else picture.device


def _needed_area(picture: torch.Tensor, box: FloatBox, size: Size, spec: UpscalerSpec, edge: Edge) -> Box:
    """Source pixels whose magnified versions have weight in the resampled box, aligned for the model."""
    reduction = max(1.0, box.width * spec.scale / size.width, box.height * spec.scale / size.height)
    return _context(box, picture, edge, math.ceil(LANCZOS_TAPS * reduction / spec.scale) + 1, spec.alignment)


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


def _one_by_one(pictures: torch.Tensor) -> list[torch.Tensor]:
    return [pictures[index : index + 1] for index in range(len(pictures))]
