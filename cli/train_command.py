"""``backplate train`` and ``backplate finetune``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import reporting
from .options import Device, ModelsDir, WantedModel, takes

if TYPE_CHECKING:
    from ..core.training.config import TrainSettings
    from ..model_loader.loaded import LoadedModel

RECIPES = "photo|anime|portrait"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """A training run, as written on the command line."""

    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of the run; name it again to continue an interrupted run."),
    ]
    data: Annotated[
        Path | None, typer.Option(help="Folder of clean pictures. Default: pictures that Backplate draws.")
    ] = None
    settings_file: Annotated[
        Path | None, typer.Option("--settings", metavar="YAML", help="Settings, named as in a run's settings.yaml.")
    ] = None
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="One setting, such as losses.line=0.5. Repeatable."),
    ] = None
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None
    batch: Annotated[int | None, typer.Option(min=1, help="Crops per step.")] = None
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed.")] = None
    device: Device = None

    @property
    def given(self) -> list[str]:
        """All flags as assignments, with the named options last."""
        named = {name: getattr(self, name) for name in ("steps", "batch", "seed", "device")}
        flags = {"data.folder": self.data, **named}.items()
        return [*(self.assignments or []), *(f"{name}={value}" for name, value in flags if value is not None)]


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(TrainOptions):
    """The options of ``backplate train``, and the model to train further."""

    model: WantedModel
    recipe: Annotated[
        str, typer.Option(metavar=RECIPES, help="What to train the model for; `backplate diagnose` suggests one.")
    ]
    models_dir: ModelsDir = None


@reporting
@takes(TrainOptions)
def train(options: TrainOptions) -> None:
    """Train a small network from nothing. The settings `network` say how large it is."""
    # Not at the top: PyTorch would make --help wait.
    from ..core.training.config import TrainSettings

    _run(options, TrainSettings(), None)


@reporting
@takes(FinetuneOptions)
def finetune(options: FinetuneOptions) -> None:
    """Train a model further on your material. It is named best only if it got better on pictures held out."""
    from ..core.training.config import recipe_settings
    from ..model_loader.find import default_folders, find_model
    from ..model_loader.loaded import load_model
    from .parsing import as_usage

    with as_usage():
        start = recipe_settings(options.recipe)
    _run(options, start, load_model(find_model(options.model, default_folders(options.models_dir))))


def _run(options: TrainOptions, start: TrainSettings, base: LoadedModel | None) -> None:
    from ..core.training.config import load_settings
    from ..core.training.loop import train as run
    from .bars import TrainingScreen
    from .parsing import as_usage

    with as_usage():
        settings = load_settings(start, options.settings_file, options.given)
    with TrainingScreen() as screen:
        result = run(settings, options.output, base, screen)
    typer.echo(result.text())
