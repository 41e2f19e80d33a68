"""From one picture file to another."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .. import __version__
from ..core.backends.eager import EagerUpscaler
from ..core.image.place import Background, Fill, parse_colour
from ..core.image.sharpen import SharpenSettings, sharpen_blend
from ..core.image.target import Fit, Target, plan_fit
from ..core.media.picture_file import PictureFile, check_writable, format_of, read_picture, write_picture
from ..core.pipeline import TileSettings, upscale_to, upscale_with_alpha
from ..core.progress import Progress
from ..core.types import Size
from ..core.upscaler import InputError, Upscaler
from ..model_loader.find import default_folders, find_model
from ..model_loader.loaded import load_model
from ..model_loader.precision import Precision, choose_device
from .errors import debugging, say, sentence_for
from .files import Errand
from .screen import Screen


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """``target`` None is the model's own scale. ``bit_depth`` None is that of the source where the format can hold
    it. ``software`` is recorded in the file."""

    target: Target | None
    background: Background | None
    tiles: TileSettings
    sharpen: SharpenSettings | None
    bit_depth: int | None
    quality: int
    srgb: bool
    overwrite: bool
    software: str = ""


def load_upscaler(
    name: str, models_dir: Path | None, device: str | None, precision: Precision
) -> tuple[EagerUpscaler, str]:
    """The upscaler of that model, and what to record in files as their maker. Raises ``ModelError``."""
    model = load_model(find_model(name, default_folders(models_dir)))
    upscaler = EagerUpscaler(model, choose_device(device), precision)
    if upscaler.note:
        say(upscaler.note)
    return upscaler, f"Backplate {__version__}; {model.facts.name}; sha256 {model.facts.sha256[:12]}"


def own_scale(upscaler: Upscaler, multiple_of: int) -> Target:
    """The model's own scale, cut to multiples."""
    return Target(fit=Fit.FACTOR, factor=float(upscaler.spec.scale), multiple_of=multiple_of)


def run_errands(errands: Sequence[Errand], upscaler: Upscaler, settings: JobSettings) -> int:
    """All errands, one after the other; one that fails is reported and the others go on. The number that failed."""
    failures = 0
    with Screen(len(errands)) as screen:
        for errand in errands:
            screen.start_picture(errand.source)
            started = time.monotonic()
            try:
                size = run_errand(errand, upscaler, settings, screen)
            except Exception as error:  # noqa: BLE001  one bad picture must not cost the others
                failures += 1
                if debugging():
                    traceback.print_exc()
                screen.line(_about(errand.source, sentence_for(error)))
            else:
                screen.line(f"{errand.source} -> {errand.output} ({size}, {time.monotonic() - started:.1f} s)")
            screen.finish_picture()
    return failures


def _about(source: Path, sentence: str) -> str:
    return sentence if sentence.startswith(f"{source}: ") else f"{source}: {sentence}"


def run_errand(errand: Errand, upscaler: Upscaler, settings: JobSettings, progress: Progress) -> Size:
    """Read, upscale, fit, flatten, sharpen, write; the size of what was written.

    Raises ``InputError`` before the model runs if the picture cannot be read or the result could not be written.
    """
    if errand.output.exists() and not settings.overwrite:
        raise InputError(f"{errand.output} exists already; --overwrite replaces it.")
    source = _read(errand, settings)
    if source.frames > 1:
        progress.note(f"only the first of its {source.frames} frames or pages is used.")
    bit_depth = settings.bit_depth or (source.bit_depth if format_of(errand.output).deep else 8)
    _check_output(errand, source, upscaler, settings, bit_depth)
    picture, alpha = _upscaled(source, upscaler, settings, progress)
    if settings.sharpen:
        picture, _ = sharpen_blend(picture, settings.sharpen)
    errand.output.parent.mkdir(parents=True, exist_ok=True)
    write_picture(
        errand.output,
        picture,
        alpha,
        bit_depth=bit_depth,
        icc=source.icc,
        exif=source.exif,
        dpi=source.dpi,
        quality=settings.quality,
        software=settings.software,
    )
    return Size(picture.shape[3], picture.shape[2])


def _read(errand: Errand, settings: JobSettings) -> PictureFile:
    """The source with what the output cannot carry taken care of: a profile, or grey on a coloured background."""
    srgb = settings.srgb or not format_of(errand.output).profile
    source = read_picture(errand.source, convert_to_srgb=srgb)
    colour = _colour(settings.background)
    shows = source.alpha is not None or settings.target is not None
    if source.picture.shape[1] == 1 and colour and len(set(colour)) > 1 and shows:
        source = read_picture(errand.source, convert_to_srgb=True)
        source = replace(source, picture=source.picture.expand(-1, 3, -1, -1).contiguous())
    return source


def _colour(background: Background | None) -> tuple[float, float, float] | None:
    return parse_colour(background.colour) if background and background.fill is Fill.COLOUR else None


def _check_output(
    errand: Errand, source: PictureFile, upscaler: Upscaler, settings: JobSettings, bit_depth: int
) -> None:
    size = Size(source.picture.shape[3], source.picture.shape[2])
    plan = plan_fit(size, settings.target) if settings.target else None
    alpha = source.alpha is not None and bool((source.alpha < 1).any())
    if plan and plan.padded and settings.background and settings.background.fill is Fill.TRANSPARENT:
        alpha = True
    check_writable(
        errand.output,
        plan.canvas if plan else size.times(upscaler.spec.scale),
        alpha=alpha and _colour(settings.background) is None,
        bit_depth=bit_depth,
        profile=source.icc is not None,
    )


def _upscaled(
    source: PictureFile, upscaler: Upscaler, settings: JobSettings, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor | None]:
    if settings.target is None:
        picture, alpha = upscale_with_alpha(source.picture, source.alpha, upscaler, settings.tiles, progress)
    else:
        result = upscale_to(
            source.picture,
            source.alpha,
            upscaler,
            settings.target,
            settings.tiles,
            settings.background,
            progress,
        )
        picture, alpha = result.picture, result.alpha
    colour = _colour(settings.background)
    if colour and alpha is not None:
        behind = torch.tensor(colour, dtype=picture.dtype)[: picture.shape[1]].reshape(1, -1, 1, 1)
        picture, alpha = picture * alpha + behind * (1 - alpha), None
    return picture, alpha
