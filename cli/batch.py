"""``backplate batch``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import reporting
from .folder_options import (
    PictureOptions,
    folder_job,
    folder_tasks,
    picture_settings,
    settings_for_model,
)
from .options import ENGINES, SCHEDULERS, takes
from .presets import with_model

if TYPE_CHECKING:
    from ..core.jobs.folder.ray_cluster import Loader
    from ..core.jobs.model_info import Model
    from ..core.upscaler import Upscaler


@dataclass(frozen=True, kw_only=True)
class BatchOptions(PictureOptions):
    """The options of ``backplate upscale``, and where to do the work."""

    engine: Annotated[
        str, typer.Option(metavar=ENGINES, help="What runs the model on each machine; see `backplate engines`.")
    ] = "auto"
    scheduler: Annotated[str, typer.Option(metavar=SCHEDULERS, help="What distributes the work over machines.")] = "ray"
    address: Annotated[
        str | None,
        typer.Option(help="A running Ray cluster: auto, HOST:6379 or ray://HOST:10001. Default: only this machine."),
    ] = None
    workers: Annotated[
        int,
        typer.Option(min=0, help="Models that run at once; 0: one for each GPU, or for each machine without a GPU."),
    ] = 0


@reporting
@takes(BatchOptions, with_model)
def batch(options: BatchOptions) -> None:
    """Enlarge a folder of pictures on the machines of a Ray cluster.

    The job, its manifest.jsonl and the exit codes are those of `backplate upscale FOLDER`. The machines must see the
    pictures, the output and the model under the same paths. Needs the extra `cluster`.
    """
    from ..core.engines.autotune.choose import tuning_wanted
    from ..core.jobs.folder.ray_cluster import Cluster, run_folder_on_cluster
    from ..core.jobs.model_info import model_of
    from ..model_loader.find import default_folders, find_model
    from ..model_loader.loaded import load_model
    from .folder_job import run_folder_job
    from .parsing import one_of

    options = _without_old_spelling(options)
    one_of(SCHEDULERS.split("|"), options.scheduler, "--scheduler")
    engine = options.checked_engine()
    settings, precision = picture_settings(options), options.checked_precision()
    protect = options.protection()
    tasks = folder_tasks(options)
    path = find_model(options.model, default_folders(options.models_dir))
    facts = load_model(path).facts
    model = model_of(facts, precision)
    if options.commercial:
        model.check_commercial_use()
    settings = settings_for_model(options, settings, model, facts.scale)
    # This machine's environment decides, not each worker's.
    tune = tuning_wanted(not options.no_tune)
    how = (options.device, precision.value, engine.value, options.tile_size)
    load: Loader = partial(_load, str(path.resolve()), *how, tune=tune)
    cluster = Cluster(address=options.address, workers=options.workers)
    run = partial(run_folder_on_cluster, load=load, scale=facts.scale, cluster=cluster)
    run_folder_job(folder_job(options, tasks, settings, model, protect), run, report=options.report)


def _without_old_spelling(options: BatchOptions) -> BatchOptions:
    """Until there was ``--scheduler``, ``--engine ray`` said the same."""
    if options.engine in SCHEDULERS.split("|"):
        return replace(options, engine="auto", scheduler=options.engine)
    return options


def _load(
    path: str, device: str | None, precision: str, engine: str, tile: int, *, tune: bool
) -> tuple[Upscaler, Model]:
    """The model, on the machine of a worker."""
    from ..core.engines.registry import Engine
    from ..model_loader.precision import Precision
    from .picture_job import load_upscaler

    return load_upscaler(path, None, device, Precision(precision), Engine(engine), tile, tune=tune)
