"""The one path of every picture: tile, run the model, place the result, fit it to the target.

Results leave the model tile by tile and are handed on as finished bands of rows, so that a caller who resamples
them (``upscale_to``) never holds the whole magnified picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from ..image.alpha import bleed
from ..image.canvas import Background, padded_mask, place
from ..image.crop_resize import context_of, resize_part
from ..image.fit import FitPlan, Target, count_passes, plan_fit
from ..image.keep_colours import ColourChange
from ..image.protect import Protection, lay_over
from ..image.resize import LOBES, RowResampler
from ..image.room import check_room, room_for
from ..image.tiling import Edge
from ..image.validate import check_alpha, check_picture
from ..progress import STRETCH_STEPS, Progress, Stretch
from ..types import Box, FloatBox, Size, size_of
from ..upscaler import Upscaler, UpscalerSpec
from .model_pass import Rows, run_pass
from .row_blocks import TileSettings
from .spared import Spared
from .tile_cache import PassReuse, Reuse


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
    change: ColourChange | None = None,
) -> torch.Tensor:
    """(B, C, H, W) -> (B, C, H*scale, W*scale), float32, 0 to 1, on the device of ``picture``.

    With an exact halo the result is that of one pass of the model over the whole picture, whatever the tile size.
    Where ``tiles`` keep the colours it has the picture's, and ``change`` hears by how much the model's differ.

    Raises ``InputError`` for something that is not a picture or a result that no memory holds, ``OutOfMemory`` when the
    smallest tile does not fit, ``ModelOutputError`` when the model returns NaN.
    """
    check_picture(picture)
    tiles, progress = tiles or TileSettings(), progress or Progress()
    size = size_of(picture)
    result = room_for(picture, size.scaled(upscaler.spec.scale))
    run_pass(picture, Box(0, 0, *size), result, upscaler, tiles, progress, change=change)
    return result


def upscale_with_alpha(
    picture: torch.Tensor,
    alpha: torch.Tensor | None,
    upscaler: Upscaler,
    tiles: TileSettings | None = None,
    progress: Progress | None = None,
    change: ColourChange | None = None,
    protection: Protection | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """``upscale`` for a picture with straight alpha (B, 1, H, W): colour is bled under the transparent pixels
    before the model sees it, alpha is resampled on its own. ``protection``: where the result is the picture."""
    edge = tiles.edge if tiles else Edge.PLAIN
    if alpha is None:
        return _upscale_but(protection, picture, upscaler, tiles or TileSettings(), progress, change), None
    check_picture(picture)
    check_alpha(alpha, picture)
    result = _upscale_but(protection, bleed(picture, alpha), upscaler, tiles or TileSettings(), progress, change)
    size = size_of(picture)
    enlarged = resize_part(alpha, FloatBox(0, 0, *size), size.scaled(upscaler.spec.scale), edge, alpha=True)
    return result, enlarged


def _upscale_but(
    protection: Protection | None,
    picture: torch.Tensor,
    upscaler: Upscaler,
    tiles: TileSettings,
    progress: Progress | None,
    change: ColourChange | None,
) -> torch.Tensor:
    """``upscale``, but the picture itself where it is protected."""
    if protection is None:
        return upscale(picture, upscaler, tiles, progress, change)
    size = size_of(picture)
    if protection.alone:
        result = room_for(picture, size.scaled(upscaler.spec.scale)).zero_()
    else:
        result = upscale(picture, upscaler, _sparing(protection, tiles), progress, change)
    lay_over(result, picture, protection, FloatBox(0, 0, *size), tiles.edge)
    return result


def _sparing(protection: Protection | None, tiles: TileSettings) -> TileSettings:
    needed = protection.needed if protection else None
    return tiles if needed is None else replace(tiles, spared=Spared(needed.cpu().numpy(), tiles.edge))


def upscale_to(
    picture: torch.Tensor,
    alpha: torch.Tensor | None,
    upscaler: Upscaler | None,
    target: Target,
    tiles: TileSettings | None = None,
    background: Background | None = None,
    progress: Progress | None = None,
    reuse: Reuse | None = None,
    change: ColourChange | None = None,
    protection: Protection | None = None,
) -> FitResult:
    """Bring a picture to a target size with as few passes of the model as that takes.

    The picture is resampled to the target as its tiles arrive. When several passes are needed, the picture is
    reduced before the last one so that it ends exactly at the target. Without an upscaler, or when the picture is
    already large enough, it is only resampled (Lanczos). ``reuse`` is for pictures that follow one another. Where
    ``tiles`` keep the colours the result has the picture's, and ``change`` hears by how much the model's differ.
    ``protection``: where the result is the picture, whatever the model made of it.

    Raises what ``upscale`` raises, and ``InputError`` for a target that cannot be met.
    """
    check_picture(picture)
    if alpha is not None:
        check_alpha(alpha, picture)
    tiles, progress = tiles or TileSettings(), progress or Progress()
    plan = plan_fit(size_of(picture), target)
    check_room(size_of(picture), plan.canvas, picture.shape[1], len(picture))
    passes = count_passes(plan.magnification, upscaler.spec.scale) if upscaler else 0
    enlarged = passes > 0
    if protection and protection.alone:
        passes = 0
    colour = picture if alpha is None else bleed(picture, alpha)
    size = plan.placed.size
    if upscaler and passes:
        stretches = _stretches(plan.source_box, size, upscaler.spec.scale, passes, progress)
        sparing = _sparing(protection, tiles)
        fitted = _pass_to(colour, plan.source_box, size, upscaler, stretches, sparing, reuse, change)
    else:
        fitted = resize_part(colour, plan.source_box, size, tiles.edge)
    if enlarged and protection:
        lay_over(fitted, colour, protection, plan.source_box, tiles.edge)
    if alpha is not None:
        alpha = resize_part(alpha, plan.source_box, size, tiles.edge, alpha=True)
    canvas, alpha = place(fitted, alpha, plan, background or Background())
    return FitResult(picture=canvas, alpha=alpha, plan=plan, passes=passes)


def _pass_to(
    picture: torch.Tensor,
    box: FloatBox,
    size: Size,
    upscaler: Upscaler,
    stretches: list[Progress],
    tiles: TileSettings,
    reuse: Reuse | None,
    change: ColourChange | None,
) -> torch.Tensor:
    """``box`` of the picture at ``size`` after a pass of the model for each of the ``stretches`` of work, each
    resampled as it arrives."""
    spec, passes = upscaler.spec, len(stretches)
    if passes > 1:
        spec.halo.measure(stretches[0])
        # The margin keeps the last pass from reading past the region, also where the picture wraps.
        region = context_of(box, picture, tiles.edge, spec.aligned_halo + spec.alignment + 2 * LOBES)
        ratio = Size(
            _before_last_pass(region.width, size.width / box.width, spec.scale),
            _before_last_pass(region.height, size.height / box.height, spec.scale),
        )
        inner = FloatBox(*map(float, region))
        step_x, step_y = ratio.width / region.width, ratio.height / region.height
        before = _of_pass_before(tiles, spec)
        picture = _pass_to(picture, inner, ratio, upscaler, stretches[:-1], before, reuse, change)
        if tiles.spared:
            tiles = replace(tiles, spared=tiles.spared.magnified(region.x, region.y, step_x, step_y))
        box = FloatBox(
            (box.x - region.x) * step_x, (box.y - region.y) * step_y, box.width * step_x, box.height * step_y
        )
    memories = [reuse.of_pass(passes, place) if reuse else None for place in range(len(picture))]
    return _fused_pass(picture, box, size, upscaler, tiles, stretches[-1], memories, change)


def _of_pass_before(tiles: TileSettings, spec: UpscalerSpec) -> TileSettings:
    """What a pass spares has a part in the next one within its halo only, if that is exact."""
    if tiles.spared is None or not spec.halo.exact:
        return replace(tiles, spared=None)
    return replace(tiles, spared=tiles.spared.wider(spec.aligned_halo + spec.alignment + 2 * LOBES))


def _stretches(box: FloatBox, size: Size, scale: int, passes: int, progress: Progress) -> list[Progress]:
    """A progress for each pass: all are parts of one, by the pixels that they give to the model."""
    if passes == 1:
        return [progress]
    areas = [box.width * box.height * scale ** (2 * number) for number in range(passes - 1)]
    areas.append(size.width * size.height / scale**2)
    progress.begin(STRETCH_STEPS, f"{passes} passes of the model")
    return [Stretch(progress, area / sum(areas)) for area in areas]


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
    change: ColourChange | None,
) -> torch.Tensor:
    """One pass of the model over ``box``, each band of tiles resampled to ``size`` as soon as it is finished."""
    spec = upscaler.spec
    area = _needed_area(picture, box, size, spec, tiles.edge)
    inner = FloatBox((box.x - area.x) * spec.scale, (box.y - area.y) * spec.scale, box.width * spec.scale,
                     box.height * spec.scale)  # fmt: skip

    def resampled(rows: Rows) -> Rows:
        resampler = RowResampler(area.size.scaled(spec.scale), size, inner)
        for band in rows:
            yield resampler.push(band).clamp(0, 1)
        resampler.finish()

    result = room_for(picture, size)
    run_pass(picture, area, result, upscaler, tiles, progress, memories, resampled, change)
    return result


def _needed_area(picture: torch.Tensor, box: FloatBox, size: Size, spec: UpscalerSpec, edge: Edge) -> Box:
    """Source pixels whose magnified versions have weight in the resampled box, aligned for the model."""
    reduction = max(1.0, box.width * spec.scale / size.width, box.height * spec.scale / size.height)
    return context_of(box, picture, edge, math.ceil(LOBES * reduction / spec.scale) + 1, spec.alignment)
