"""``backplate upscale``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import typer

from .errors import FAILED, reporting
from .folder_options import (
    PictureOptions,
    folder_job,
    folder_tasks,
    marketplace,
    picture_settings,
    settings_for_model,
)
from .options import takes
from .presets import with_model

if TYPE_CHECKING:
    from ..core.media.picture_folder import FileTask


@reporting
@takes(PictureOptions, with_model)
def upscale(options: PictureOptions) -> None:
    """Enlarge pictures with a super-resolution model.

    A folder, or several inputs, is a job: --output gets a manifest.jsonl of what became of each picture, and the
    exit code is 0 if all is done, 2 if some failed or should be looked at, and 1 if nothing could be done.
    """
    # Not at the top: PyTorch would make --help wait.
    from ..core.jobs.folder.run import run_folder
    from ..core.media.picture_folder import pixels_of
    from .folder_job import run_folder_job
    from .picture_job import run_picture

    settings, protect, single = picture_settings(options), options.protection(), _single(options)
    tasks = [] if single else folder_tasks(options)
    pixels = pixels_of([task.source for task in ([single] if single else tasks)], settings.target)
    upscaler, model = options.opener(pixels=pixels, commercial=options.commercial)(options.model)
    settings = settings_for_model(options, settings, model, upscaler.spec.scale)
    if single is None:
        run = partial(run_folder, upscaler=upscaler)
        run_folder_job(folder_job(options, tasks, settings, model, protect), run, report=options.report)
    elif not run_picture(single, upscaler, settings, protect, overwrite=options.overwrite):
        raise typer.Exit(FAILED)


def _single(options: PictureOptions) -> FileTask | None:
    """The task if there is only one picture, into a file or a folder; None for the job of a folder."""
    from ..core.jobs.marketplace.framing import check_outputs
    from .files import into_one_file
    from .parsing import as_usage, refuse_for_one_picture

    task = into_one_file(options.inputs, options.output, options.checked_format())
    if task and (profile := marketplace(options)):
        with as_usage():
            check_outputs(profile, [task.output])
    if task is None and (len(set(options.inputs)) > 1 or options.inputs[0].is_dir()):
        return None
    refuse_for_one_picture(
        {"--resume": options.resume, "--report": options.report, "--recursive": options.recursive,
         "--shard": options.shard, "--min-bytes": options.min_bytes, "--max-bytes": options.max_bytes}
    )  # fmt: skip
    if task is None:
        (task,) = folder_tasks(options)
    return task
