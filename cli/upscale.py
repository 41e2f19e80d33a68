"""``backplate upscale``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..model_loader.find import DEFAULT_MODEL
from .choices import ANCHORS, EDGES, FITS, FORMATS, PRECISIONS
from .errors import FAILED, reporting


@reporting
def upscale(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Pictures, and folders of pictures.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A picture, or a folder in which names are kept.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME_OR_PATH",
            help="See `backplate models`. backplate-lite is small and fast; for final quality fetch Real-ESRGAN.",
        ),
    ] = DEFAULT_MODEL,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Size of the result: 2000x1000, 2000x, x1000 or 2000. Default: the model's."),
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Enlarge both sides by this factor instead.")] = None,
    megapixels: Annotated[float | None, typer.Option(help="Enlarge to millions of pixels instead.")] = None,
    fit: Annotated[
        str | None, typer.Option(metavar=FITS, help="How --size is met where the aspect differs. Default: cover.")
    ] = None,
    anchor: Annotated[str, typer.Option(metavar=ANCHORS, help="What stays in a crop, or where padding is not.")] = (
        "center"
    ),
    background: Annotated[
        str | None,
        typer.Option(
            metavar="COLOUR|edge|transparent",
            help="Padding of --fit pad; a colour (#rrggbb, white, black or r,g,b) also goes behind transparency.",
        ),
    ] = None,
    multiple_of: Annotated[int, typer.Option(min=1, help="Both sides of the result are multiples of this.")] = 1,
    tile_size: Annotated[int, typer.Option(min=0, help="Side of a tile in source pixels; 0 is automatic.")] = 0,
    edge: Annotated[str, typer.Option(metavar=EDGES, help="What lies beyond the border; wrap for textures.")] = "plain",
    precision: Annotated[str, typer.Option(metavar=PRECISIONS, help="Float type that the model runs in.")] = "auto",
    bit_depth: Annotated[int | None, typer.Option(metavar="8|16", help="Default: that of the source.")] = None,
    sharpen: Annotated[float | None, typer.Option(metavar="AMOUNT", help="Sharpen, without halos; try 0.5.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu. Default: the best there is.")] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Folder to look for models in first.")] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="For JPEG, WebP (100: lossless) and AVIF.")] = 95,
    trim: Annotated[bool, typer.Option("--trim", help="Cut uniform borders off before fitting.")] = False,
    keep_gps: Annotated[
        bool, typer.Option("--keep-gps/--strip-gps", help="Whether EXIF may say where the shot was taken.")
    ] = True,
    srgb: Annotated[bool, typer.Option("--srgb", help="Convert to sRGB instead of keeping the profile.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    file_format: Annotated[
        str | None, typer.Option("--format", metavar=FORMATS, help="Format in the folder. Default: as the source.")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Sub-folders too; they are mirrored.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip what the folder's manifest.jsonl says is done, and still is.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="Threads that read, and as many that write, beside the model.")
    ] = 2,
    report: Annotated[
        bool, typer.Option("--report", help="Write summary.json and index.html, with thumbnails, into the folder.")
    ] = False,
    name_template: Annotated[
        str | None,
        typer.Option(metavar="TEMPLATE", help="Names in the folder: {stem}, {suffix}, {index:04d} and {model}."),
    ] = None,
    min_bytes: Annotated[int, typer.Option(min=0, help="Note files in the folder that are smaller.")] = 0,
    max_bytes: Annotated[int, typer.Option(min=0, help="Note files in the folder that are larger; 0: no limit.")] = 0,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only the I-th of N parts; each part may run on its own machine.")
    ] = None,
) -> None:
    """Enlarge pictures with a super-resolution model.

    A folder, or several inputs, is a job: --output gets a manifest.jsonl of what became of each picture, and the
    exit code is 0 if all is done, 2 if some failed or should be looked at, and 1 if nothing could be done.
    """
    # Not at the top: PyTorch would make --help wait.
    from ..core.image.sharpen import SharpenSettings
    from ..core.image.tiling import Edge
    from ..core.jobs.folder_job import FolderJob
    from ..core.jobs.picture import PictureSettings, own_scale
    from ..core.media.folder import parse_shard, parse_template
    from ..core.pipeline import TileSettings
    from ..model_loader.precision import Precision
    from .files import into_folder, into_one_file
    from .folder_job import run_folder_job
    from .picture_job import load_upscaler, maker, run_picture
    from .wishes import as_usage, choice, model_stem, one_of, refuse_for_one_picture, wanted_background, wanted_target

    with as_usage():
        settings = PictureSettings(
            target=wanted_target(size, scale, megapixels, fit, anchor, multiple_of),
            background=wanted_background(background),
            tiles=TileSettings(size=tile_size, edge=choice(Edge, edge, "--edge")),
            sharpen=None if sharpen is None else SharpenSettings(amount=sharpen),
            trim=trim,
            bit_depth=one_of((8, 16), bit_depth, "--bit-depth"),
            quality=quality,
            srgb=srgb,
            strip_gps=not keep_gps,
        )
        wanted_precision = choice(Precision, precision, "--precision")
        kind = one_of(FORMATS.split("|"), file_format, "--format")
        part = parse_shard(shard) if shard else None
        template = parse_template(name_template, model_stem(model)) if name_template is not None else None
    single = into_one_file(inputs, output, kind)
    errands = [single] if single else into_folder(inputs, output, kind, recursive=recursive, template=template)
    as_job = len(errands) > 1 or any(given.is_dir() for given in inputs)
    if not as_job:
        refuse_for_one_picture(
            {"--resume": resume, "--report": report, "--recursive": recursive, "--shard": shard,
             "--min-bytes": min_bytes, "--max-bytes": max_bytes}
        )  # fmt: skip
    upscaler, identity = load_upscaler(model, models_dir, device, wanted_precision)
    if settings.target is None and multiple_of > 1:
        settings = replace(settings, target=own_scale(upscaler, multiple_of))
    settings = replace(settings, software=maker(identity))
    if not as_job:
        if not run_picture(errands[0], upscaler, settings, overwrite=overwrite):
            raise typer.Exit(FAILED)
        return
    job = FolderJob(
        errands=tuple(errand for errand in errands if part is None or part.holds(errand.name)),
        output=output,
        settings=settings,
        model=identity,
        jobs=jobs,
        resume=resume,
        overwrite=overwrite,
        smallest=min_bytes,
        largest=max_bytes,
        shard=part,
    )
    run_folder_job(job, upscaler, report=report)
