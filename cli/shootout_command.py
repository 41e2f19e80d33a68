"""``backplate shootout``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .compare_command import CHANNELS, METRICS, MetricOptions
from .errors import ALL_FAILED, SOME_FAILED, UsageProblem, reporting, say
from .options import ModelOptions, takes

if TYPE_CHECKING:
    from ..core.jobs.model_info import Model
    from ..core.shootout.results import ShootoutResult
    from ..core.shootout.run import ModelEntry, ShootoutSettings
    from ..core.shootout.samples import Degrade
    from ..core.upscaler import Upscaler

DEGRADATIONS = "bicubic|jpeg|realesrgan"


@dataclass(frozen=True, kw_only=True)
class ShootoutOptions(MetricOptions, ModelOptions):
    """Which models are compared over which pictures, as written on the command line."""

    models: Annotated[
        list[str],
        typer.Option("--models", "-m", metavar="NAME_OR_PATH...", help="`backplate models` lists the names."),
    ]
    images: Annotated[Path, typer.Option(help="A picture or a folder; small pictures unless --degrade is given.")]
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")]
    scale: Annotated[int, typer.Option(min=1, help="Enlarge every result by this, whatever the model's scale.")]
    more_models: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="More models.")] = None
    references: Annotated[
        Path | None, typer.Option(help="Folder of the originals that the pictures were reduced from, matched by name.")
    ] = None
    degrade: Annotated[
        str | None,
        typer.Option(metavar=DEGRADATIONS, help="Treat the pictures as references and reduce them this way."),
    ] = None
    metrics: Annotated[str, typer.Option(metavar="NAMES", help=f"With references: of {METRICS}.")] = (
        "psnr,ssim,lpips,vmaf"
    )
    channel: Annotated[str, typer.Option(metavar=CHANNELS, help="Channel for PSNR and SSIM.")] = "y"
    border: Annotated[
        int | None, typer.Option(min=0, help="Pixels to leave out on every side. Default: the scale.")
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Random seed of --degrade.")] = 0


@reporting
@takes(ShootoutOptions)
def shootout(options: ShootoutOptions) -> None:
    """Compare models over pictures: figures, crops side by side, and which model to use for what. Writes report.html,
    report.csv, report.json and contact_sheet.png. Exit codes: 0; 1 no model ran; 2 a model or picture failed."""
    # Not at the top: PyTorch would make --help wait.
    from ..core.shootout.report_files import write_report
    from ..core.shootout.run import run_shootout
    from ..core.shootout.samples import samples_in
    from .parsing import as_usage
    from .screen import Screen

    with as_usage():
        how = _degradation(options)
        settings = _settings(options, how)
        if options.output.exists() and not options.output.is_dir():
            raise UsageProblem(f"{options.output} is a file; name a folder for the report.")
        entries = requested_models([*options.models, *(options.more_models or [])], options.opener())
        samples, problems = samples_in(options.images, options.references, how, options.scale, options.seed)
    with Screen(1) as screen:
        screen.start_file(options.images)
        result = run_shootout(entries, samples, settings, screen, problems)
    typer.echo(result.text())
    for path in write_report(result, options.output):
        say(f"wrote {path}")
    _exit_unless_complete(result, entries, len(samples))


def _degradation(options: ShootoutOptions) -> Degrade | None:
    from ..core.shootout.samples import Degrade
    from .parsing import choice

    return None if options.degrade is None else choice(Degrade, options.degrade, "--degrade")


def _settings(options: ShootoutOptions, how: Degrade | None) -> ShootoutSettings:
    """How results are made and measured. Raises ``UsageProblem`` and ``InputError``."""
    from ..core.shootout.run import ShootoutSettings
    from ..core.shootout.samples import describe_samples
    from ..core.tiled.pipeline import TileSettings

    border = options.scale if options.border is None else options.border
    compare = options.settings(options.metrics.split(","), options.channel, border)
    return ShootoutSettings(
        scale=options.scale,
        compare=compare,
        tiles=TileSettings(size=options.tile_size),
        setting=(describe_samples(options.references is not None, how, options.scale, options.seed),),
    )


def _exit_unless_complete(result: ShootoutResult, entries: list[ModelEntry], samples: int) -> None:
    """Raises ``typer.Exit`` if no model ran, or if one or a picture failed."""
    if not any(cell.values for cell in result.cells if cell.model in {each.name for each in entries}):
        raise typer.Exit(ALL_FAILED)
    missing = len(result.models) <= len(entries) or len(result.pictures) < samples
    if missing or not all(cell.values for cell in result.cells):
        raise typer.Exit(SOME_FAILED)


def requested_models(given: list[str], open_model: Callable[[str], tuple[Upscaler, Model]]) -> list[ModelEntry]:
    """A entry for each model, by the stem of its file where that is clear. Nothing is loaded yet."""
    from ..core.shootout.run import ModelEntry
    from .parsing import model_stem

    distinct = list(dict.fromkeys(given))
    stems = [model_stem(name) for name in distinct]
    return [
        ModelEntry(stem if stems.count(stem) == 1 else name, partial(_opened, open_model, name))
        for name, stem in zip(distinct, stems, strict=True)
    ]


def _opened(open_model: Callable[[str], tuple[Upscaler, Model]], name: str) -> Upscaler:
    return open_model(name)[0]
