"""``backplate upscale``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .choices import ANCHORS, EDGES, FITS, FORMATS, PRECISIONS
from .errors import FAILED, reporting, say


@reporting
def upscale(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Pictures, and folders of pictures.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A picture, or a folder in which names are kept.")],
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME_OR_PATH", help="See `backplate models` for names.")
    ],
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
    srgb: Annotated[bool, typer.Option("--srgb", help="Convert to sRGB instead of keeping the profile.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace files that exist.")] = False,
    file_format: Annotated[
        str | None, typer.Option("--format", metavar=FORMATS, help="Format in the folder. Default: as the source.")
    ] = None,
) -> None:
    """Enlarge pictures with a super-resolution model."""
    # Not at the top: PyTorch would make --help wait.
    from ..core.image.sharpen import SharpenSettings
    from ..core.image.tiling import Edge
    from ..core.pipeline import TileSettings
    from ..model_loader.precision import Precision
    from .files import plan_errands
    from .picture_job import JobSettings, load_upscaler, own_scale, run_errands
    from .wishes import as_usage, choice, one_of, wanted_background, wanted_target

    with as_usage():
        settings = JobSettings(
            target=wanted_target(size, scale, megapixels, fit, anchor, multiple_of),
            background=wanted_background(background),
            tiles=TileSettings(size=tile_size, edge=choice(Edge, edge, "--edge")),
            sharpen=None if sharpen is None else SharpenSettings(amount=sharpen),
            bit_depth=one_of((8, 16), bit_depth, "--bit-depth"),
            quality=quality,
            srgb=srgb,
            overwrite=overwrite,
        )
        wanted_precision = choice(Precision, precision, "--precision")
        errands = plan_errands(inputs, output, one_of(FORMATS.split("|"), file_format, "--format"))
    upscaler, maker = load_upscaler(model, models_dir, device, wanted_precision)
    if settings.target is None and multiple_of > 1:
        settings = replace(settings, target=own_scale(upscaler, multiple_of))
    if failures := run_errands(errands, upscaler, replace(settings, software=maker)):
        if len(errands) > 1:
            say(f"{failures} of {len(errands)} pictures failed")
        raise typer.Exit(FAILED)
