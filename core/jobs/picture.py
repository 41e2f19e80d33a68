"""One picture from file to file, in three steps that may run in different threads: read, enlarge, write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..image.alpha import bleed
from ..image.canvas import Background, Fill, parse_colour
from ..image.fidelity_lock import LockSettings, lock_fitted
from ..image.fit import Fit, FitPlan, Target, plan_fit
from ..image.keep_colours import ColourChange
from ..image.protect import Protection, lay_over_fitted, split_by_lock
from ..image.room import check_room
from ..image.sharpen import SharpenSettings, sharpen_blend
from ..image.trim import find_content
from ..media.picture.description import fitting, without_place_in_xmp
from ..media.picture.metadata import without_place
from ..media.picture.read import PictureFile, check_writable, format_of, read_picture, write_picture
from ..progress import Progress
from ..tiled.pipeline import TileSettings, upscale_to, upscale_with_alpha
from ..types import Size
from ..upscaler import Upscaler
from .protect import Mask, Protected, protect_file

Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """What is done to a picture.

    ``target`` None is the model's own scale. A ``background`` that is a colour also goes behind transparency.
    ``trim`` cuts uniform borders off first; the border's colour then is what ``Fill.EDGE`` pads with. ``bit_depth``
    None is that of the source where the format can hold it. ``srgb`` converts colours instead of carrying the
    profile. ``strip_gps`` leaves out where the shot was taken. ``software`` is recorded in the file. ``fidelity``, 0 to
    1, is how strongly the result is locked to its source (``fidelity_lock``); ``InputError`` for one beyond that.
    """

    target: Target | None = None
    background: Background | None = None
    tiles: TileSettings = TileSettings()
    sharpen: SharpenSettings | None = None
    trim: bool = False
    bit_depth: int | None = None
    quality: int = 95
    srgb: bool = False
    strip_gps: bool = False
    software: str = ""
    fidelity: float = 0.0

    def __post_init__(self) -> None:
        LockSettings(strength=self.fidelity)


@dataclass(frozen=True)
class SourcePicture:
    """What was read, as the model is to get it. ``background`` is the one for this picture; ``size`` is that of the
    file before it was trimmed; ``depth`` is that of the file to write; ``notes`` say what the result will not have;
    ``protection`` is where it is to be the source."""

    file: PictureFile
    background: Background | None
    size: Size
    depth: int
    notes: tuple[str, ...] = ()
    protection: Protection | None = None


@dataclass(frozen=True)
class Enlarged:
    """``plan`` is None for the model's own scale. ``notes`` say what was done to it beside that."""

    picture: torch.Tensor
    alpha: torch.Tensor | None
    plan: FitPlan | None
    passes: int
    notes: tuple[str, ...] = ()


def own_scale(scale: int, multiple_of: int) -> Target:
    """The model's own scale, cut to multiples."""
    return Target(fit=Fit.FACTOR, factor=float(scale), multiple_of=multiple_of)


def read_source(
    source: Path, output: Path, settings: PictureSettings, scale: int, mask: Mask | None = None
) -> SourcePicture:
    """Reads a picture and takes care of what ``output`` cannot carry: a profile, or grey on a coloured background.
    ``scale`` is that of the model, ``mask`` says what is protected.

    Raises ``InputError`` if the picture cannot be read, or if what becomes of it could not be written.
    """
    srgb = settings.srgb or not format_of(output).profile
    file = read_picture(source, convert_to_srgb=srgb)
    size = _size(file.picture)
    protected = _protected(file, output, settings, mask)
    file, background = _trimmed(file, settings)
    colour = solid_colour(background)
    shows = file.alpha is not None or settings.target is not None
    if file.picture.shape[1] == 1 and colour and len(set(colour)) > 1 and shows:
        if file.icc:
            # A grey profile says nothing about colours.
            file, _ = _trimmed(read_picture(source, convert_to_srgb=True), settings)
        file = replace(file, picture=file.picture.expand(-1, 3, -1, -1).contiguous())
    if settings.strip_gps:
        described = without_place_in_xmp(file.description)
        file = replace(file, exif=without_place(file.exif), description=described)
    depth = settings.bit_depth or (file.bit_depth if format_of(output).deep else 8)
    result = SourcePicture(
        file, background, size, depth, (*_notes(file, output), *protected.notes), protected.protection
    )
    _check_output(result, output, settings, scale)
    return result


def _protected(file: PictureFile, output: Path, settings: PictureSettings, mask: Mask | None) -> Protected:
    if mask is not None:
        mask.refuse_as_output(output)
    return protect_file(mask, file, trim=settings.trim)


def _notes(file: PictureFile, output: Path) -> tuple[str, ...]:
    kind = format_of(output).name
    lost = fitting(file.description, kind, file.exif)[2]
    frames = (f"only the first of {file.frames} frames is used",) if file.frames > 1 else ()
    return frames + ((f"left out, because {kind} cannot hold it: {lost}",) if lost else ())


def enlarge(
    source: SourcePicture, upscaler: Upscaler | None, settings: PictureSettings, progress: Progress
) -> Enlarged:
    """Upscale, fit, flatten, sharpen. Without an upscaler the picture is only fitted to the target."""
    file, change = source.file, ColourChange()
    locking = bool(settings.fidelity) and upscaler is not None
    early, late = split_by_lock(source.protection, locking=locking)
    if settings.target is None and upscaler is not None:
        picture, alpha = upscale_with_alpha(file.picture, file.alpha, upscaler, settings.tiles, progress, change, early)
        plan, passes = None, 1
    else:
        target = settings.target or Target(fit=Fit.FACTOR, factor=1.0)
        result = upscale_to(
            file.picture,
            file.alpha,
            upscaler,
            target,
            settings.tiles,
            source.background,
            progress,
            change=change,
            protection=early,
        )
        picture, alpha, plan, passes = result.picture, result.alpha, result.plan, result.passes
    notes = [change.note]
    if locking and early is None:
        shown = file.picture if file.alpha is None else bleed(file.picture, file.alpha)
        notes.append(lock_fitted(picture, shown, plan, settings.fidelity, progress))
        if late and passes:
            lay_over_fitted(picture, shown, late, plan, settings.tiles.edge)
    colour = solid_colour(source.background)
    if colour and alpha is not None:
        picture, alpha = over(picture, alpha, colour), None
    if settings.sharpen:
        picture, _ = sharpen_blend(picture, settings.sharpen)
    return Enlarged(picture, alpha, plan, passes, tuple(filter(None, notes)))


def write_enlarged(output: Path, enlarged: Enlarged, source: SourcePicture, settings: PictureSettings) -> None:
    """Writes the result with what its source's file said; folders are made as needed. Raises ``InputError``."""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_picture(
        output,
        enlarged.picture,
        enlarged.alpha,
        bit_depth=source.depth,
        icc=source.file.icc,
        exif=source.file.exif,
        dpi=source.file.dpi,
        quality=settings.quality,
        software=settings.software,
        description=source.file.description,
    )


def solid_colour(background: Background | None) -> Colour | None:
    return parse_colour(background.colour) if background and background.fill is Fill.COLOUR else None


def over(picture: torch.Tensor, alpha: torch.Tensor, colour: Colour) -> torch.Tensor:
    """The picture (B, C, H, W) with straight alpha (B, 1, H, W) in front of a colour (its red for grey)."""
    behind = torch.tensor(colour, dtype=picture.dtype, device=picture.device)
    return picture * alpha + behind[: picture.shape[1]].reshape(1, -1, 1, 1) * (1 - alpha)


def _trimmed(file: PictureFile, settings: PictureSettings) -> tuple[PictureFile, Background | None]:
    """The file without its uniform borders, and the background for it: there is no edge to continue any more, so
    the colour of the border takes its place."""
    background = settings.background
    if not settings.trim:
        return file, background
    box, colour = find_content(file.picture, file.alpha)
    rows, columns = slice(box.y, box.bottom), slice(box.x, box.right)
    cut = replace(
        file,
        picture=file.picture[..., rows, columns].contiguous(),
        alpha=None if file.alpha is None else file.alpha[..., rows, columns].contiguous(),
    )
    if colour and (background or Background()).fill is Fill.EDGE and file.alpha is None:
        levels = [round(255 * value) for value in (colour * 3 if len(colour) == 1 else colour)]
        background = Background(Fill.COLOUR, ",".join(map(str, levels)))
    return cut, background


def _check_output(source: SourcePicture, output: Path, settings: PictureSettings, scale: int) -> None:
    """Asks before the work whether the result could be written."""
    file = source.file
    plan = plan_fit(_size(file.picture), settings.target) if settings.target else None
    alpha = file.alpha is not None and bool((file.alpha < 1).any())
    if plan and plan.padded and source.background and source.background.fill is Fill.TRANSPARENT:
        alpha = True
    size = plan.canvas if plan else _size(file.picture).scaled(scale)
    check_room(_size(file.picture), size, file.picture.shape[1] + alpha)
    check_writable(
        output,
        size,
        alpha=alpha and solid_colour(source.background) is None,
        bit_depth=source.depth,
        profile=file.icc is not None,
    )


def _size(picture: torch.Tensor) -> Size:
    return Size(picture.shape[3], picture.shape[2])
