"""``backplate upscale``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import typer

from .errors import FAILED, reporting
from .folder_options import PictureOptions, folder_errands, folder_job, picture_settings, settings_for_model
from .options import takes

if TYPE_CHECKING:
    from ..core.media.picture_folder import Errand


@reporting
@takes(PictureOptions)
def upscale(options: PictureOptions) -> None:
    """Enlarge pictures with a super-resolution model.

    A folder, or several inputs, is a job: --output gets a manifest.jsonl of what became of each picture, and the
    exit code is 0 if all is done, 2 if some failed or should be looked at, and 1 if nothing could be done.
    """
    # Not at the top: PyTorch would make --help wait.
    from ..core.jobs.folder.run import run_folder
    from .folder_job import run_folder_job
    from .picture_job import load_upscaler, run_picture

    settings, precision = picture_settings(options), options.checked_precision()
    engine = options.checked_engine()
    single = _single(options)
    errands = [] if single else folder_errands(options)
    upscaler, model = load_upscaler(
        options.model,
        options.models_dir,
        options.device,
        precision,
        engine,
        options.tile_size,
        tune=not options.no_tune,
    )
    settings = settings_for_model(options, settings, model, upscaler.spec.scale)
    if single is None:
        run = partial(run_folder, upscaler=upscaler)
        run_folder_job(folder_job(options, errands, settings, model), run, report=options.report)
    elif not run_picture(single, upscaler, settings, overwrite=options.overwrite):
        raise typer.Exit(FAILED)


def _single(options: PictureOptions) -> Errand | None:
    """The errand if there is only one picture, into a file or a folder; None for the job of a folder."""
    from .files import into_one_file
    from .parsing import refuse_for_one_picture

    errand = into_one_file(options.inputs, options.output, options.checked_format())
    if errand is None and (len(set(options.inputs)) > 1 or options.inputs[0].is_dir()):
        return None
    refuse_for_one_picture(
        {"--resume": options.resume, "--report": options.report, "--recursive": options.recursive,
         "--shard": options.shard, "--min-bytes": options.min_bytes, "--max-bytes": options.max_bytes}
    )  # fmt: skip
    if errand is None:
        (errand,) = folder_errands(options)
    return errand
