"""A folder of a hundred small pictures of every kind, and a model of a few hundred weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.image.canvas import Background, Fill
from backplate.core.image.fit import Fit, Target
from backplate.core.jobs.folder.job import FolderJob, FolderProgress
from backplate.core.jobs.model_info import Model
from backplate.core.jobs.picture import PictureSettings
from backplate.core.media.picture_folder import list_pictures, plan_tasks
from backplate.model_loader.loaded import load_model


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny_x2.pth"
    torch.save({"params": tiny_models.compact(seed=1, scale=2)}, path)
    return path


@pytest.fixture(scope="session")
def upscaler(model_file: Path) -> EagerUpscaler:
    return EagerUpscaler(load_model(model_file), torch.device("cpu"))


SETTINGS = PictureSettings(target=Target(fit=Fit.PAD, width=48, height=48), background=Background(Fill.COLOUR, "white"))


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., FolderJob]:
    """``job(folder)``: all its pictures to 48x48 on white in ``tmp_path / "out"``, as PNG; anything can be given
    otherwise."""

    def make(folder: Path, *, suffix: str | None = ".png", **given: object) -> FolderJob:
        output = given.setdefault("output", tmp_path / "out")
        sources = list_pictures(folder, recursive=True)
        given = {"settings": SETTINGS, "model": Model(name="tiny", sha256="0" * 64), **given}
        given.setdefault("tasks", tuple(plan_tasks(sources, output, suffix)))
        return FolderJob(**given)

    return make


class Listening(FolderProgress):
    """Remembers what a host would hear; ``stop_after`` pictures it asks to stop."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.notes: list[str] = []
        self.finished: list[tuple[str, bool]] = []
        self.total = 0
        self.stop_after = stop_after

    def start_folder(self, total: int) -> None:
        self.total = total

    def finish_picture(self, entry, picture, skipped, alpha=None) -> None:
        self.finished.append((entry.source, skipped))

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    @property
    def stopping(self) -> bool:
        return self.stop_after is not None and len(self.finished) >= self.stop_after


@pytest.fixture
def listening() -> type[Listening]:
    return Listening
