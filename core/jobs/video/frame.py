"""The middle stage of the video job: one decoded frame in, one finished frame out."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from ...image.canvas import Background, inside
from ...image.dither import Dither, still_areas, to_levels
from ...image.fidelity_lock import lock_fitted
from ...image.fit import FitPlan, Target, plan_fit
from ...image.frame_difference import FrameReuse, is_held
from ...image.grain import Grain, add_grain, missing_grain
from ...image.keep_colours import ColourChange
from ...image.protect import Protection, lay_over_fitted, split_by_lock
from ...image.resize import resize
from ...media.video.colour import WHITE_8, WHITE_16, Pixels
from ...media.video.decode import Frame
from ...metrics.flicker import Flicker, flicker_of_pair
from ...progress import Progress
from ...tiled.pipeline import TileSettings, upscale_to
from ...tiled.tile_cache import Reuse
from ...types import Size, size_of
from ...upscaler import Upscaler
from .plan import VideoJob, VideoPlan
from .segments import Counts


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    """``shown`` is the size of the source with square pixels. Work runs on ``device``. ``deep`` requests 16-bit
    results. ``flicker``: whether it is measured. ``dither`` and ``grain`` as in ``VideoSettings``. ``protection``
    applies to every frame."""

    shown: Size
    target: Target
    background: Background
    tiles: TileSettings
    held: FrameReuse
    device: torch.device
    deep: bool
    flicker: bool
    fidelity: float = 0.0
    dither: Dither = Dither.OFF
    grain: bool = False
    protection: Protection | None = None

    @classmethod
    def of(cls, job: VideoJob, plan: VideoPlan, *, flicker: bool) -> FrameSettings:
        """What a planned job does to each frame."""
        protection = plan.protected.protection
        return cls(
            shown=plan.facts.shown,
            target=plan.target,
            background=job.settings.background,
            tiles=job.settings.tiles,
            held=job.settings.held,
            device=job.device,
            deep=plan.encoding.deep,
            flicker=flicker,
            fidelity=job.settings.fidelity,
            dither=_dither_of(job, plan),
            grain=job.settings.grain,
            protection=protection and protection.to(job.device),
        )


def _dither_of(job: VideoJob, plan: VideoPlan) -> Dither:
    """AUTO does not dither sources of 8 bits: their banding is already in the source, and noise costs bits in every
    frame."""
    dither = job.settings.dither
    needless = plan.encoding.deep or (dither is Dither.AUTO and plan.facts.bit_depth <= 8)
    return Dither.OFF if needless else dither


@dataclass(frozen=True)
class Finished:
    """``pixels`` in the form that the encoder takes.
    ``seconds`` is what it took, reading included: [read, upscale]."""

    pixels: Pixels
    pts: int
    duration: int
    counts: Counts
    seconds: tuple[float, float]

    @property
    def reused(self) -> bool:
        return bool(self.counts.reused)


class FrameUpscaler:
    """Upscales frames, and remembers the last frame and its result, so that duplicate frames cost nothing."""

    def __init__(self, upscaler: Upscaler, settings: FrameSettings, progress: Progress) -> None:
        self._upscaler, self._settings, self._progress = upscaler, settings, progress
        self._reuse = Reuse(settings.held)
        self.change = ColourChange()
        self._plan = plan_fit(settings.shown, settings.target)
        self._computed: torch.Tensor | None = None
        self._source: torch.Tensor | None = None
        self._result: torch.Tensor | None = None
        self._pixels: Pixels | None = None
        self._grain: Grain | None = None
        self._measured = False

    def forget(self) -> None:
        """The next frame is computed in full: a segment does not depend on the frames before it."""
        self._computed = None
        self._reuse.forget()
        self._measured = False

    def finish(self, frame: Frame, read_seconds: float) -> Finished:
        """Raises what ``upscale_to`` raises, and whatever the progress raises to stop."""
        started = time.perf_counter()
        self._progress.check()
        before = replace(self._reuse.counts)
        source = to_picture(frame, self._settings.device)
        held = self._computed is not None and is_held(source, self._computed, self._settings.held)
        if not held or self._pixels is None:
            self._computed = source
            shown = self._shown(source)
            result = self._enlarged(shown)
            pixels = self._to_pixels(shown, result, frame.pts)
        else:
            result, pixels = self._result, self._pixels
        seconds = time.perf_counter() - started
        flicker = self._flicker(source, result)
        self._source, self._result, self._pixels = source, result, pixels
        now = self._reuse.counts
        counts = Counts(
            frames=1,
            reused=int(held),
            tiles_run=now.tiles_run - before.tiles_run,
            tiles_reused=now.tiles_reused - before.tiles_reused,
            streamed=int(now.streamed > before.streamed),
            damaged=int(frame.damaged),
            flicker=flicker,
        )
        return Finished(pixels, frame.pts, frame.duration, counts, (read_seconds, seconds))

    def _shown(self, picture: torch.Tensor) -> torch.Tensor:
        """The picture with square pixels."""
        if size_of(picture) != self._settings.shown:
            return resize(picture, self._settings.shown).clamp_(0, 1)
        return picture

    def _to_pixels(self, shown: torch.Tensor, result: torch.Tensor, seed: int) -> Pixels:
        """With the grain of the segment's first frame, different in every frame, and dithered."""
        settings, plan = self._settings, self._plan
        dithered = settings.dither is not Dither.OFF
        still = None
        if settings.grain or dithered:
            still = still_areas(shown, plan.source_box, plan.placed, plan.canvas)
        if settings.grain and not self._measured:
            placed = inside(result, plan.placed)
            self._grain, self._measured = missing_grain(shown, placed, plan.source_box), True
        if settings.grain and self._grain:
            result = add_grain(result, self._grain, seed, still)
        if dithered:
            return to_levels(result, settings.dither, 0, result.shape[2], still, seed)
        return to_pixels(result, settings.deep)

    def _enlarged(self, picture: torch.Tensor) -> torch.Tensor:
        settings = self._settings
        early, late = split_by_lock(settings.protection, locking=bool(settings.fidelity))
        result = upscale_to(
            picture,
            None,
            self._upscaler,
            settings.target,
            settings.tiles,
            settings.background,
            self._progress,
            self._reuse,
            self.change,
            early,
        )
        if settings.fidelity and early is None:
            lock_fitted(result.picture, picture, result.plan, settings.fidelity, Progress())
            if late and result.passes:
                lay_over_fitted(result.picture, picture, late, result.plan, settings.tiles.edge)
        return result.picture.clamp(0, 1)

    def _flicker(self, source: torch.Tensor, result: torch.Tensor | None) -> Flicker:
        if not self._settings.flicker or result is None or self._source is None or self._result is None:
            return Flicker()
        before, after = (_shown_part(each, self._plan, self._settings.shown) for each in (self._source, source))
        old, new = (inside(each, self._plan.placed) for each in (self._result, result))
        return flicker_of_pair(after, before, new, old)


def _shown_part(picture: torch.Tensor, plan: FitPlan, shown: Size) -> torch.Tensor:
    """The part of the stored frame that the result shows, in whole pixels."""
    across, down = picture.shape[3] / shown.width, picture.shape[2] / shown.height
    box = plan.source_box
    left, top = round(box.x * across), round(box.y * down)
    right, bottom = round((box.x + box.width) * across), round((box.y + box.height) * down)
    return picture[..., top : max(bottom, top + 1), left : max(right, left + 1)]


def to_picture(frame: Frame, device: torch.device) -> torch.Tensor:
    """(1, 3, H, W), 0 to 1. Sent to the device at its own bit depth."""
    pixels = frame.pixels
    if pixels.dtype.itemsize > 1:
        values = torch.from_numpy(pixels.astype("int32")).to(device)  # torch has little for uint16
    else:
        values = torch.from_numpy(pixels).to(device)
    picture = values.permute(2, 0, 1)[None].float()
    return picture.div_(frame.white).clamp_(0, 1).contiguous()


def to_pixels(picture: torch.Tensor, deep: bool) -> Pixels:
    """(H, W, 3), rounded. Fetched from the device at the bit depth that it needs."""
    values = picture[0].permute(1, 2, 0).mul(WHITE_16 if deep else WHITE_8).round_()
    if deep:
        return values.to(torch.int32).contiguous().cpu().numpy().astype("uint16")
    return values.to(torch.uint8).contiguous().cpu().numpy()
