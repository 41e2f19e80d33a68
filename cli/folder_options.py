"""The options about pictures and folders of them, and the job that they describe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import UsageProblem
from .options import (
    FORMATS,
    SOURCE_TYPES,
    C2paCertificate,
    C2paKey,
    C2paTimestamp,
    EnlargeOptions,
    Overwrite,
    Profile,
)

if TYPE_CHECKING:
    from ..core.jobs.folder.job import FolderJob
    from ..core.jobs.marketplace.profile import Profile as Rules
    from ..core.jobs.model_info import Model
    from ..core.jobs.picture import PictureSettings
    from ..core.jobs.protect import ProtectSettings
    from ..core.media.picture_folder import FileTask


@dataclass(frozen=True, kw_only=True)
class PictureOptions(EnlargeOptions):
    """What to do to pictures, as written on the command line."""

    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Pictures and folders of pictures.")]
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A picture, or a folder for results with the same names.")
    ]
    preset: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The winner of a study (see `backplate study`); other options take precedence."
        ),
    ] = None
    megapixels: Annotated[float | None, typer.Option(help="Enlarge to this many million pixels instead.")] = None
    background: Annotated[
        str | None,
        typer.Option(
            metavar="COLOUR|edge|transparent",
            help="Padding of --fit pad; a colour (#rrggbb, white, black or r,g,b) also goes behind transparency.",
        ),
    ] = None
    multiple_of: Annotated[int, typer.Option(min=1, help="Make both sides of the result multiples of this.")] = 1
    bit_depth: Annotated[int | None, typer.Option(metavar="8|16", help="Default: as the source.")] = None
    sharpen: Annotated[float | None, typer.Option(metavar="AMOUNT", help="Sharpen without halos; try 0.5.")] = None
    quality: Annotated[int, typer.Option(min=1, max=100, help="For JPEG, WebP (100: lossless) and AVIF.")] = 95
    trim: Annotated[bool, typer.Option("--trim", help="Cut off uniform borders before fitting.")] = False
    keep_gps: Annotated[
        bool, typer.Option("--keep-gps/--strip-gps", help="Keep or remove where the shot was taken.")
    ] = True
    srgb: Annotated[bool, typer.Option("--srgb", help="Convert to sRGB instead of keeping the profile.")] = False
    overwrite: Overwrite = False
    file_format: Annotated[
        str | None, typer.Option("--format", metavar=FORMATS, help="Format in the folder. Default: as the source.")
    ] = None
    recursive: Annotated[bool, typer.Option("--recursive", help="Include subfolders; the results mirror them.")] = False
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Skip pictures that the folder's manifest.jsonl lists as done, if they still are."
        ),
    ] = False
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="Number of threads that read, and of threads that write.")
    ] = 2
    report: Annotated[
        bool, typer.Option("--report", help="Write summary.json and index.html, with thumbnails, to the folder.")
    ] = False
    name_template: Annotated[
        str | None,
        typer.Option(metavar="TEMPLATE", help="Names of results: {stem}, {suffix}, {index:04d} and {model}."),
    ] = None
    min_bytes: Annotated[int, typer.Option(min=0, help="Note results that are smaller.")] = 0
    max_bytes: Annotated[int, typer.Option(min=0, help="Note results that are larger; 0: no limit.")] = 0
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Process only part I of N; each part can run on its own machine.")
    ] = None
    profile: Profile = None
    source_type: Annotated[
        str | None,
        typer.Option(metavar=SOURCE_TYPES, help="Write this to XMP (IPTC DigitalSourceType) if the source has none."),
    ] = None

    c2pa_certificate: C2paCertificate = None
    c2pa_key: C2paKey = None
    c2pa_timestamp: C2paTimestamp = None

    def checked_format(self) -> str | None:
        """Raises ``UsageProblem``."""
        from .parsing import one_of

        return one_of(FORMATS.split("|"), self.file_format, "--format")


def picture_settings(options: PictureOptions) -> PictureSettings:
    """What is done to each picture. Raises ``UsageProblem``."""
    from ..core.image.sharpen import SharpenSettings
    from ..core.jobs.picture import PictureSettings, for_marketplace
    from ..core.media.picture.sign import signatory_of
    from .parsing import as_usage, one_of, requested_background

    with as_usage():
        settings = PictureSettings(
            **options.common_settings(options.megapixels, options.multiple_of),
            background=requested_background(options.background),
            sharpen=None if options.sharpen is None else SharpenSettings(amount=options.sharpen),
            trim=options.trim,
            bit_depth=one_of((8, 16), options.bit_depth, "--bit-depth"),
            quality=options.quality,
            srgb=options.srgb,
            strip_gps=not options.keep_gps,
            strip_metadata=options.strip_metadata,
            source_type=one_of(SOURCE_TYPES.split("|"), options.source_type, "--source-type") or "",
            signatory=signatory_of(options.c2pa_certificate, options.c2pa_key, options.c2pa_timestamp),
        )
        profile = marketplace(options)
        if profile and settings.target is None and options.multiple_of > 1:
            raise UsageProblem("--multiple-of needs --size or --scale where --profile is given.")
        return for_marketplace(settings, profile) if profile else settings


def marketplace(options: PictureOptions) -> Rules | None:
    """The rules that ``--profile`` names. Raises ``UsageProblem``."""
    from ..core.jobs.marketplace.profile import find_profile
    from .parsing import as_usage

    with as_usage():
        return None if options.profile is None else find_profile(options.profile)


def settings_for_model(options: PictureOptions, settings: PictureSettings, model: Model, scale: int) -> PictureSettings:
    """The settings completed with what depends on the model: its scale, and the maker that files record."""
    from ..core.jobs.picture import own_scale
    from .picture_job import software_of

    if settings.target is None and options.multiple_of > 1:
        settings = replace(settings, target=own_scale(scale, options.multiple_of))
    return replace(settings, software=software_of(model))


def folder_tasks(options: PictureOptions) -> list[FileTask]:
    """What to read and what to write, for the shard that ``--shard`` names. Raises ``UsageProblem``."""
    from ..core.jobs.marketplace.framing import check_outputs, suffixes_for
    from ..core.media.picture_folder import parse_shard, parse_template
    from .files import into_folder
    from .parsing import as_usage, model_stem

    profile = marketplace(options)
    with as_usage():
        allowed = suffixes_for(profile) if profile else ()
        part = parse_shard(options.shard) if options.shard else None
        written = options.name_template
        template = parse_template(written, model_stem(options.model)) if written is not None else None
    tasks = into_folder(
        options.inputs,
        options.output,
        options.checked_format(),
        recursive=options.recursive,
        template=template,
        allowed=allowed,
    )
    if profile:
        with as_usage():
            check_outputs(profile, (task.output for task in tasks))
    return [task for task in tasks if part is None or part.holds(task.name)]


def folder_job(
    options: PictureOptions, tasks: list[FileTask], settings: PictureSettings, model: Model, protect: ProtectSettings
) -> FolderJob:
    from ..core.jobs.folder.job import FolderJob
    from ..core.media.picture_folder import parse_shard
    from .files import passed_over_in

    return FolderJob(
        tasks=tuple(tasks),
        output=options.output,
        settings=settings,
        model=model,
        jobs=options.jobs,
        resume=options.resume,
        overwrite=options.overwrite,
        smallest=options.min_bytes,
        largest=options.max_bytes,
        shard=parse_shard(options.shard) if options.shard else None,
        passed_over=passed_over_in(options.inputs, options.output, recursive=options.recursive),
        protect=protect,
    )
