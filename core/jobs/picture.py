"""One picture from file to file, in three steps that may run in different threads: read, enlarge, write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from ..errors import InputError
from ..image.alpha import bleed
from ..image.canvas import Background, Fill, inside, parse_colour
from ..image.colour import to_rgb
from ..image.dither import Dither, Still, still_areas
from ..image.fidelity_lock import LockSettings, lock_fitted
from ..image.fit import Fit, FitPlan, Target, plan_fit
from ..image.grain import add_grain, missing_grain
from ..image.keep_colours import ColourChange
from ..image.protect import Protection, lay_over_fitted, split_by_lock
from ..image.room import check_room
from ..image.sharpen import SharpenSettings, sharpen_blend
from ..image.trim import find_content
from ..media.picture.description import Description, described_as, fitting, with_text, without_place_in_xmp
from ..media.picture.metadata import without_place
from ..media.picture.read import PictureFile, check_writable, format_of, read_picture, write_picture
from ..media.picture.sign import Signatory
from ..progress import Progress
from ..tiled.pipeline import TileSettings, upscale_to, upscale_with_alpha
from ..types import Box, FloatBox, Size, size_of
from ..upscaler import Upscaler
from .credentials import dropped_notes, signing
from .marketplace.framing import check_target, framed
from .marketplace.profile import Profile
from .protect import Mask, Protected, protect_file

Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """What is done to a picture.

    ``target`` None is the model's own scale. A ``background`` that is a colour also goes behind transparency.
    ``trim`` cuts uniform borders off first; the border's colour then is what ``Fill.EDGE`` pads with. ``bit_depth``
    None is that of the source where the format can hold it. ``srgb`` converts colours instead of carrying the
    profile. ``strip_gps`` leaves out where the shot was taken, ``strip_metadata`` all that the source's file says but
    its colour profile. ``embedded`` is text that each file is given, by keyword, such as the workflow that made it.
    ``source_type`` is IPTC's term for how it was made (``SOURCE_TYPES``), where the source does not say another.
    ``software`` is recorded in the file. ``profile`` holds the rules of a marketplace (see ``for_marketplace``).
    ``fidelity``, 0 to 1, is how strongly the result is locked to its source (``fidelity_lock``). ``dither`` is about
    results of 8 bits. ``grain`` gives back what the source has of it and the result lost. ``signatory`` signs the
    results of sources that have C2PA content credentials. Raises ``InputError`` for a fidelity beyond its range.
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
    strip_metadata: bool = False
    embedded: tuple[tuple[str, str], ...] = ()
    source_type: str = ""
    profile: Profile | None = None
    fidelity: float = 0.0
    dither: Dither = Dither.AUTO
    grain: bool = False
    signatory: Signatory | None = None

    def __post_init__(self) -> None:
        LockSettings(strength=self.fidelity)


def for_marketplace(settings: PictureSettings, profile: Profile) -> PictureSettings:
    """The settings with a marketplace's rules. Raises ``InputError`` for a size or background that contradicts them."""
    if settings.target:
        check_target(profile, settings.target)
    background, white = settings.background, Background(Fill.COLOUR, "white")
    other = background and background.fill is not Fill.EDGE and solid_colour(background) != solid_colour(white)
    if other and profile.must("white_background"):
        raise InputError(f"{profile.title} requires a white background; leave out the other background.")
    if (profile.must("white_background") or profile.must("opaque")) and solid_colour(background) is None:
        background = white
    srgb = settings.srgb or bool(profile.all("srgb"))
    return replace(settings, profile=profile, background=background, srgb=srgb)


@dataclass(frozen=True)
class SourcePicture:
    """What was read, as the model is to get it. ``background`` is the one for this picture; ``size`` is that of the
    file before it was trimmed; ``depth`` is that of the file to write; ``notes`` say what the result will not have;
    ``target`` is the size for this picture, None for the model's own scale; ``protection`` is where it is to be the
    source."""

    file: PictureFile
    background: Background | None
    size: Size
    depth: int
    notes: tuple[str, ...] = ()
    target: Target | None = None
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
    size = size_of(file.picture)
    prepared = _prepared(file, settings)
    protected = _protected(file, output, prepared.box, mask)
    file, background, target, _ = prepared
    colour = solid_colour(background)
    shows = file.alpha is not None or target is not None
    if file.picture.shape[1] == 1 and colour and len(set(colour)) > 1 and shows:
        if file.icc:
            # A grey profile says nothing about colours.
            file, _, target, _ = _prepared(read_picture(source, convert_to_srgb=True), settings)
        file = replace(file, picture=file.picture.expand(-1, 3, -1, -1).contiguous())
    file = _with_wanted_metadata(file, settings)
    depth = settings.bit_depth or (file.bit_depth if format_of(output).deep else 8)
    notes = (*_notes(file, output, settings), *protected.notes)
    result = SourcePicture(file, background, size, depth, notes, target, protected.protection)
    _check_output(result, output, scale)
    return result


def _protected(file: PictureFile, output: Path, box: Box, mask: Mask | None) -> Protected:
    if mask is not None:
        mask.refuse_as_output(output)
    return protect_file(mask, file, box)


def _with_wanted_metadata(file: PictureFile, settings: PictureSettings) -> PictureFile:
    if settings.strip_metadata:
        file = replace(file, exif=None, dpi=None, description=Description(), signed=None)
    elif settings.strip_gps:
        file = replace(file, exif=without_place(file.exif), description=without_place_in_xmp(file.description))
    if settings.embedded:
        file = replace(file, description=with_text(file.description, settings.embedded))
    if settings.source_type:
        file = replace(file, description=described_as(file.description, settings.source_type))
    return file


def _notes(file: PictureFile, output: Path, settings: PictureSettings) -> tuple[str, ...]:
    kind = format_of(output).name
    lost = fitting(file.description, kind, file.exif)[2]
    frames = (f"only the first of {file.frames} frames is used",) if file.frames > 1 else ()
    dropped = dropped_notes(file, kind, settings)
    lost_here = (f"left out, because {kind} cannot hold it: {lost}",) if lost else ()
    return (*frames, *dropped, *file.description.notes, *lost_here)


def enlarge(
    source: SourcePicture, upscaler: Upscaler | None, settings: PictureSettings, progress: Progress
) -> Enlarged:
    """Upscale, fit, flatten, sharpen. Without an upscaler the picture is only fitted to the target."""
    file, change = source.file, ColourChange()
    locking = bool(settings.fidelity) and upscaler is not None
    early, late = split_by_lock(source.protection, locking=locking)
    if source.target is None and upscaler is not None:
        picture, alpha = upscale_with_alpha(file.picture, file.alpha, upscaler, settings.tiles, progress, change, early)
        plan, passes = None, 1
    else:
        target = source.target or Target(fit=Fit.FACTOR, factor=1.0)
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
    enlarged = Enlarged(picture, alpha, plan, passes, tuple(filter(None, notes)))
    return _with_grain(source, enlarged) if settings.grain else enlarged


def _with_grain(source: SourcePicture, enlarged: Enlarged) -> Enlarged:
    before, after = source.file.picture, enlarged.picture
    if source.file.alpha is not None:
        # White is left out where grain is measured.
        before = over(before, source.file.alpha, (1.0, 1.0, 1.0))
    plan = enlarged.plan
    shown = after if plan is None else inside(after, plan.placed)
    if before.shape[1] != after.shape[1]:
        before, shown = to_rgb(before), to_rgb(shown)
    grain = missing_grain(before, shown, plan.source_box if plan else None)
    if grain is None:
        return enlarged
    return replace(enlarged, picture=add_grain(after, grain, still=_still(source, enlarged)))


def write_enlarged(output: Path, enlarged: Enlarged, source: SourcePicture, settings: PictureSettings) -> str:
    """Writes the result with what its source's file said; folders are made as needed. The note is about its signature,
    if there is something to say. Raises ``InputError``."""
    output.parent.mkdir(parents=True, exist_ok=True)
    sign = signing(output, enlarged, source, settings)
    write_picture(
        output,
        enlarged.picture,
        enlarged.alpha,
        bit_depth=source.depth,
        icc=source.file.icc,
        exif=source.file.exif,
        dpi=source.file.dpi,
        quality=settings.quality,
        software="" if settings.strip_metadata else settings.software,
        description=source.file.description,
        dither=settings.dither,
        still=_still(source, enlarged) if source.depth == 8 and settings.dither is not Dither.OFF else None,
        finish=sign,
    )
    return sign.note if sign else ""


def _still(source: SourcePicture, enlarged: Enlarged) -> Still:
    """Where the source is of one colour, as the result shows it."""
    size, canvas = size_of(source.file.picture), size_of(enlarged.picture)
    plan = enlarged.plan
    if plan is None:
        return still_areas(source.file.picture, FloatBox(0, 0, *size), Box(0, 0, *canvas), canvas)
    return still_areas(source.file.picture, plan.source_box, plan.placed, canvas)


def solid_colour(background: Background | None) -> Colour | None:
    return parse_colour(background.colour) if background and background.fill is Fill.COLOUR else None


def over(picture: torch.Tensor, alpha: torch.Tensor, colour: Colour) -> torch.Tensor:
    """The picture (B, C, H, W) with straight alpha (B, 1, H, W) in front of a colour (its red for grey)."""
    behind = torch.tensor(colour, dtype=picture.dtype, device=picture.device)
    return picture * alpha + behind[: picture.shape[1]].reshape(1, -1, 1, 1) * (1 - alpha)


class Prepared(NamedTuple):
    """``box`` is the part of the picture that is enlarged; it may reach beyond it."""

    file: PictureFile
    background: Background | None
    target: Target | None
    box: Box


def _prepared(file: PictureFile, settings: PictureSettings) -> Prepared:
    """The part of the picture that is enlarged, what lies behind it, and the size that it gets."""
    profile, fills = settings.profile, settings.profile is not None and settings.profile.must("fill") is not None
    whole = Box(0, 0, *size_of(file.picture))
    file, background, box = (file, settings.background, whole) if fills else _trimmed(file, settings)
    if profile is None:
        return Prepared(file, background, settings.target, box)
    file, target, frame = framed(file, settings.target, profile, anew=settings.trim)
    return Prepared(file, background, target, frame if fills else box)


def _trimmed(file: PictureFile, settings: PictureSettings) -> tuple[PictureFile, Background | None, Box]:
    """The file without its uniform borders, the background for it: there is no edge to continue any more, so the
    colour of the border takes its place; and what is left of the picture."""
    background = settings.background
    if not settings.trim:
        return file, background, Box(0, 0, *size_of(file.picture))
    box, colour = find_content(file.picture, file.alpha)
    cut = replace(
        file,
        picture=inside(file.picture, box).contiguous(),
        alpha=None if file.alpha is None else inside(file.alpha, box).contiguous(),
    )
    if colour and (background or Background()).fill is Fill.EDGE and file.alpha is None:
        levels = [round(255 * value) for value in (colour * 3 if len(colour) == 1 else colour)]
        background = Background(Fill.COLOUR, ",".join(map(str, levels)))
    return cut, background, box


def _check_output(source: SourcePicture, output: Path, scale: int) -> None:
    """Asks before the work whether the result could be written."""
    file = source.file
    plan = plan_fit(size_of(file.picture), source.target) if source.target else None
    alpha = file.alpha is not None and bool((file.alpha < 1).any())
    if plan and plan.padded and source.background and source.background.fill is Fill.TRANSPARENT:
        alpha = True
    size = plan.canvas if plan else size_of(file.picture).scaled(scale)
    check_room(size_of(file.picture), size, file.picture.shape[1] + alpha)
    check_writable(
        output,
        size,
        alpha=alpha and solid_colour(source.background) is None,
        bit_depth=source.depth,
        profile=file.icc is not None,
    )
