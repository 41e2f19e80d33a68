"""``backplate shootout``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .choices import PRECISIONS
from .compare_command import (
    CHANNELS,
    METRICS,
    LpipsBackbone,
    LpipsDownload,
    LpipsNetName,
    VmafModelName,
    compare_settings,
)
from .errors import ALL_FAILED, SOME_FAILED, UsageProblem, reporting, say
from .options import NoTune, WantedEngine

if TYPE_CHECKING:
    from ..core.jobs.folder_job import Model
    from ..core.shootout.run import Contestant
    from ..core.upscaler import Upscaler

DEGRADATIONS = "bicubic|jpeg|realesrgan"


@reporting
def shootout(
    models: Annotated[
        list[str],
        typer.Option("--models", "-m", metavar="NAME_OR_PATH...", help="See `backplate models` for names."),
    ],
    images: Annotated[Path, typer.Option(help="A folder of pictures, or one; small ones unless --degrade is given.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")],
    scale: Annotated[int, typer.Option(min=1, help="Every result is enlarged by this, whatever the model's scale.")],
    more_models: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="More models.")] = None,
    references: Annotated[
        Path | None, typer.Option(help="A folder of what the pictures are reductions of, matched by name.")
    ] = None,
    degrade: Annotated[
        str | None, typer.Option(metavar=DEGRADATIONS, help="The pictures are references; make them small this way.")
    ] = None,
    metrics: Annotated[
        str, typer.Option(metavar="NAMES", help=f"With references: of {METRICS}.")
    ] = "psnr,ssim,lpips,vmaf",
    channel: Annotated[str, typer.Option(metavar=CHANNELS, help="Of PSNR and SSIM.")] = "y",
    border: Annotated[int | None, typer.Option(min=0, help="Pixels left out on every side; default: scale.")] = None,
    vmaf_model: VmafModelName = "vmaf_v0.6.1",
    lpips_net: LpipsNetName = "alex",
    lpips_backbone: LpipsBackbone = None,
    lpips_download: LpipsDownload = False,
    tile_size: Annotated[int, typer.Option(min=0, help="Side of a tile in source pixels; 0 is automatic.")] = 0,
    precision: Annotated[str, typer.Option(metavar=PRECISIONS, help="Float type that the models run in.")] = "auto",
    engine: WantedEngine = "pytorch",
    no_tune: NoTune = False,
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu. Default: the best there is.")] = None,
    models_dir: Annotated[Path | None, typer.Option(help="Folder to look for models in first.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides every chance in --degrade.")] = 0,
) -> None:
    """Compare models over pictures: figures, crops side by side, and which model to use for what. Writes report.html,
    report.csv, report.json and contact_sheet.png. Exit codes: 0; 1 no model ran; 2 a model or picture failed."""
    # Not at the top: PyTorch would make --help wait.
    from ..core.backends.engines import Engine
    from ..core.metrics.registry import metric_names
    from ..core.pipeline import TileSettings
    from ..core.shootout.report_files import write_report
    from ..core.shootout.run import ShootoutSettings, run_shootout
    from ..core.shootout.samples import Degrade, describe_samples, samples_in
    from ..model_loader.precision import Precision, choose_device
    from .picture_job import load_upscaler
    from .screen import Screen
    from .wishes import as_usage, choice

    with as_usage():
        how = None if degrade is None else choice(Degrade, degrade, "--degrade")
        compare = compare_settings(
            metric_names(metrics.split(",")),
            channel,
            scale if border is None else border,
            "none",
            vmaf_model,
            lpips_net,
            lpips_backbone,
            download=lpips_download,
        )
        wanted_precision = choice(Precision, precision, "--precision")
        wanted_engine = choice(Engine, engine, "--engine")
        settings = ShootoutSettings(
            scale=scale,
            compare=compare,
            tiles=TileSettings(size=tile_size),
            setting=(describe_samples(references is not None, how, scale, seed),),
        )
        if output.exists() and not output.is_dir():
            raise UsageProblem(f"{output} is a file; name a folder for the report.")
        names = [*models, *(more_models or [])]
        open_model = partial(
            load_upscaler,
            models_dir=models_dir,
            device=str(choose_device(device)),
            precision=wanted_precision,
            engine=wanted_engine,
            tune=not no_tune,
        )
        contestants = wanted_models(names, open_model)
        samples, problems = samples_in(images, references, how, scale, seed)
    with Screen(1) as screen:
        screen.start_picture(images)
        result = run_shootout(contestants, samples, settings, screen, problems)
    typer.echo(result.text())
    for path in write_report(result, output):
        say(f"wrote {path}")
    if not any(cell.values for cell in result.cells if cell.model in {each.name for each in contestants}):
        raise typer.Exit(ALL_FAILED)
    missing = len(result.models) <= len(contestants) or len(result.pictures) < len(samples)
    if missing or not all(cell.values for cell in result.cells):
        raise typer.Exit(SOME_FAILED)


def wanted_models(given: list[str], open_model: Callable[[str], tuple[Upscaler, Model]]) -> list[Contestant]:
    """A contestant for each model, by the stem of its file where that is clear. Nothing is loaded yet."""
    from ..core.shootout.run import Contestant
    from .wishes import model_stem

    distinct = list(dict.fromkeys(given))
    stems = [model_stem(name) for name in distinct]
    return [
        Contestant(stem if stems.count(stem) == 1 else name, partial(_opened, open_model, name))
        for name, stem in zip(distinct, stems, strict=True)
    ]


def _opened(open_model: Callable[[str], tuple[Upscaler, Model]], name: str) -> Upscaler:
    return open_model(name)[0]
