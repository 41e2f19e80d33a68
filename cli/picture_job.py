"""From one picture file to another."""

from __future__ import annotations

import time
import traceback
from pathlib import Path

from .. import __version__
from ..core.engines.export.files import is_engine_file, open_engine_file
from ..core.engines.registry import Engine, open_upscaler
from ..core.errors import InputError
from ..core.jobs.marketplace.deliver import deliver
from ..core.jobs.model_info import Model, model_of, model_of_file
from ..core.jobs.picture import PictureSettings, enlarge, read_source
from ..core.jobs.protect import Mask, ProtectSettings
from ..core.media.picture_folder import FileTask
from ..core.progress import Progress
from ..core.types import Size, size_of
from ..core.upscaler import Upscaler
from ..model_loader.find import default_folders, find_model
from ..model_loader.loaded import load_model
from ..model_loader.precision import Precision, choose_device
from .errors import debugging, sentence_for
from .screen import ModelScreen, Screen


def load_upscaler(
    name: str,
    models_dir: Path | None,
    device: str | None,
    precision: Precision,
    engine: Engine = Engine.AUTO,
    tile: int = 0,
    *,
    tune: bool = True,
    pixels: int = 0,
    commercial: bool = False,
) -> tuple[Upscaler, Model]:
    """The upscaler of that model or exported model, and what the model is. ``pixels``: see ``EngineRequest``.
    ``commercial`` refuses a model that is not known to allow commercial use. Raises ``ModelError`` and
    ``InputError``."""
    path, where = find_model(name, default_folders(models_dir)), choose_device(device)
    if is_engine_file(path):
        opened = open_engine_file(path, where)
        if engine not in (Engine.AUTO, Engine.PYTORCH):
            with ModelScreen(1) as screen:
                screen.note(f"{opened.name} runs in the engine that it was made for; --engine is for other models.")
        return opened.upscaler, _allowed(model_of_file(opened, precision), commercial)
    model = load_model(path)
    known = _allowed(model_of(model.facts, precision), commercial)
    with ModelScreen(1) as screen:
        screen.start_file(Path(model.facts.name))
        upscaler = open_upscaler(model, where, precision, engine, tile=tile, tune=tune, progress=screen, pixels=pixels)
    return upscaler, known


def _allowed(model: Model, commercial: bool) -> Model:
    if commercial:
        model.check_commercial_use()
    return model


def software_of(model: Model) -> str:
    return model.software_tag(f"Backplate {__version__}")


def run_picture(
    task: FileTask, upscaler: Upscaler, settings: PictureSettings, protect: ProtectSettings, *, overwrite: bool
) -> bool:
    """Does the task and reports success or the reason for failure; returns whether it succeeded."""
    with Screen(1) as screen:
        screen.start_file(task.source)
        started = time.monotonic()
        try:
            mask = protect.mask_for(task.source)
            size = _run(task, upscaler, settings, screen, mask, overwrite=overwrite)
        except Exception as error:  # noqa: BLE001  the edge of the program
            if debugging():
                traceback.print_exc()
            screen.line(about(task.source, sentence_for(error)))
            return False
        screen.line(f"{task.source} -> {task.output} ({size}, {time.monotonic() - started:.1f} s)")
        screen.finish_file()
    return True


def about(source: Path, sentence: str) -> str:
    return sentence if sentence.startswith(f"{source}: ") else f"{source}: {sentence}"


def _run(
    task: FileTask,
    upscaler: Upscaler,
    settings: PictureSettings,
    progress: Progress,
    mask: Mask | None,
    *,
    overwrite: bool,
) -> Size:
    if task.output.exists() and not overwrite:
        raise InputError(f"{task.output} already exists; --overwrite replaces it.")
    source = read_source(task.source, task.output, settings, upscaler.spec.scale, mask)
    for note in source.notes:
        progress.note(f"{note}.")
    enlarged = enlarge(source, upscaler, settings, progress)
    for note in enlarged.notes:
        progress.note(f"{note}.")
    delivery = deliver(task.source, task.output, enlarged, source, settings)
    for note in delivery.notes:
        progress.note(f"{note}.")
    for finding in delivery.findings:
        progress.note(f"{finding.rule}: {finding.text}")
    if delivery.reason:
        raise InputError(delivery.reason)
    return size_of(enlarged.picture)
