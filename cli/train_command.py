"""``backplate train`` and ``backplate finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import reporting

if TYPE_CHECKING:
    from ..core.training.config import TrainSettings
    from ..model_loader.loaded import LoadedModel

RECIPES = "photo|anime|portrait"

Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the run; an interrupted run continues when it is given again.")
]
Data = Annotated[
    Path | None, typer.Option(help="Folder of clean pictures. Default: pictures that Backplate draws itself.")
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", metavar="YAML", help="Settings, named as in a run's settings.yaml.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="One setting, such as losses.line=0.5; as often as needed."),
]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps of learning.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Crops a step.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Decides every draw.")]
Device = Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu. Default: the best there is.")]


@reporting
def train(
    output: Output,
    data: Data = None,
    settings_file: SettingsFile = None,
    assignments: Assignments = None,
    steps: Steps = None,
    batch: Batch = None,
    seed: Seed = None,
    device: Device = None,
) -> None:
    """Train a small network from nothing. The settings `network` say how large it is."""
    # Not at the top: PyTorch would make --help wait.
    from ..core.training.config import TrainSettings

    given = _given(data, assignments, steps, batch, seed, device)
    _run(TrainSettings(), settings_file, given, output, None)


@reporting
def finetune(
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="NAME_OR_PATH", help="See `backplate models` for names.")
    ],
    output: Output,
    recipe: Annotated[
        str, typer.Option(metavar=RECIPES, help="What the model is to become good at; `backplate diagnose` names one.")
    ],
    data: Data = None,
    settings_file: SettingsFile = None,
    assignments: Assignments = None,
    steps: Steps = None,
    batch: Batch = None,
    seed: Seed = None,
    device: Device = None,
    models_dir: Annotated[Path | None, typer.Option(help="Folder to look for models in first.")] = None,
) -> None:
    """Train a model further on your material. It is named best only if it got better on pictures held out."""
    from ..core.training.config import recipe_settings
    from ..model_loader.find import default_folders, find_model
    from ..model_loader.loaded import load_model
    from .parsing import as_usage

    with as_usage():
        start = recipe_settings(recipe)
    given = _given(data, assignments, steps, batch, seed, device)
    _run(start, settings_file, given, output, load_model(find_model(model, default_folders(models_dir))))


def _given(
    data: Path | None,
    assignments: list[str] | None,
    steps: int | None,
    batch: int | None,
    seed: int | None,
    device: str | None,
) -> list[str]:
    """All flags as assignments, those with a name of their own last."""
    named = {"data.folder": data, "steps": steps, "batch": batch, "seed": seed, "device": device}
    return [*(assignments or []), *(f"{name}={value}" for name, value in named.items() if value is not None)]


def _run(
    start: TrainSettings, settings_file: Path | None, given: list[str], output: Path, base: LoadedModel | None
) -> None:
    from ..core.training.config import load_settings
    from ..core.training.loop import train as run
    from .parsing import as_usage
    from .training_screen import TrainingScreen

    with as_usage():
        settings = load_settings(start, settings_file, given)
    with TrainingScreen() as screen:
        result = run(settings, output, base, screen)
    typer.echo(result.text())
