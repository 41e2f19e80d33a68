"""``backplate diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .errors import reporting
from .options import Device, ModelsDir, NoTune, WantedModel

MODES = "bicubic|jpeg|cel|second-order"


@reporting
def diagnose(
    model: WantedModel,
    data: Annotated[Path, typer.Option(help="Folder of clean pictures of the kind you care about.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for diagnosis.json and crops of the worst places.")
    ] = None,
    degradation: Annotated[
        str, typer.Option(metavar=MODES, help="How to reduce and damage the pictures before the model sees them.")
    ] = "bicubic",
    side: Annotated[int, typer.Option(min=32, help="Use the middle of each picture, up to this many pixels.")] = 512,
    worst: Annotated[int, typer.Option(min=0, help="Number of pictures to write crops of.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    device: Device = None,
    models_dir: ModelsDir = None,
    no_tune: NoTune = False,
) -> None:
    """Find what a model does worst. Ranks pictures, names the failure and the recipe that aims at it."""
    # Not at the top: PyTorch would make --help wait.
    from ..core.engines.registry import open_upscaler
    from ..core.training import diagnose as room
    from ..core.training.degrade.pipeline import DegradationSettings, Mode
    from ..model_loader.find import default_folders, find_model
    from ..model_loader.loaded import load_model
    from ..model_loader.precision import choose_device
    from .bars import TrainingScreen
    from .parsing import choice

    settings = room.DiagnoseSettings(
        degradation=DegradationSettings(mode=choice(Mode, degradation, "--degradation")),
        side=side,
        worst=worst,
        seed=seed,
    )
    loaded = load_model(find_model(model, default_folders(models_dir)))
    upscaler = open_upscaler(loaded, choose_device(device), tune=not no_tune)
    with TrainingScreen() as screen:
        result = room.diagnose(upscaler, data, output, settings, screen)
    typer.echo(result.text())
    if output is not None:
        typer.echo(f"Crops (input, result, reference) and diagnosis.json are in {output}.")
