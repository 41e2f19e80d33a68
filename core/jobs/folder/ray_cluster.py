"""Runs a folder job on the machines of a Ray cluster, with one model on each device.

The list of pictures is a Ray dataset; each worker is an actor that reads, enlarges and writes a few of them at a time
with the threads of the job on one machine, and returns lines of the manifest. Pictures do not go through Ray, because
the machines share the file system of the results anyway.
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import socket
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ....model_loader.errors import one_line
from ...errors import InputError
from ...media.picture_folder import FileTask
from ...upscaler import Upscaler
from ..model_info import Model
from .job import FolderJob, FolderProgress, FolderRun
from .manifest import Entry, History, Manifest, parse_line
from .run import Start, begun, full_disk_said, work_through

MOST_BLOCKS = 20_000
"""Ray keeps a record of every block of the list."""
LEAST_CPUS = 0.5
"""CPUs that an actor reserves. If actors reserved whole machines, Ray's own tasks would wait forever; the number of
threads that a model uses is set separately."""
RETRIES = 3
"""How often a dead worker is restarted and its pictures are retried."""
CONNECT_SECONDS = 10.0
"""Seconds within which an address must answer."""

Row = dict[str, Any]
Loader = Callable[[], tuple[Upscaler, Model]]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """``address`` of a running Ray cluster (``auto``, ``host:6379``, ``ray://host:10001``); None starts Ray on this
    machine for the duration of the job. ``workers``: models that run at once; 0 is one for each GPU, or one for each
    machine of a cluster without GPUs."""

    address: str | None = None
    workers: int = 0


@dataclass(frozen=True)
class Share:
    """What each of ``workers`` gets: CPUs and GPUs from Ray, and threads for its model (0: PyTorch's default)."""

    workers: int
    cpus: float
    gpus: int
    threads: int


def share_out(workers: int, nodes: Sequence[Mapping[str, float]]) -> Share:
    """Divides machines, each a mapping with its numbers of ``CPU`` and ``GPU``, among ``workers`` models; 0 is one for
    each GPU, or one for each machine if there is none. Some capacity is left for Ray's own tasks.

    Raises ``InputError`` for too many workers, which Ray would wait for forever.
    """
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    machines = [node["CPU"] for node in nodes if node.get("CPU", 0)]
    workers = workers or gpus or max(1, len(machines))
    if gpus:
        if workers > gpus:
            raise InputError(f"{workers} workers need a GPU each and the cluster has {gpus}; ask for at most {gpus}.")
        return Share(workers, LEAST_CPUS, 1, 0)
    if workers * LEAST_CPUS >= sum(machines):
        raise InputError(f"The cluster's {sum(machines):g} CPUs are too few for {workers} workers; ask for fewer.")
    own = min(machines) / -(-workers // len(machines))
    return Share(workers, int(own) - 1 if own >= 2 else LEAST_CPUS, 0, max(1, int(own)))


def run_folder_on_cluster(
    job: FolderJob, load: Loader, scale: int, cluster: Cluster, progress: FolderProgress | None = None
) -> FolderRun:
    """``run_folder`` on the machines of a cluster, which must see the sources, the output and the model under the same
    paths. ``load`` is pickled and called once by each worker; ``scale`` is the model's.

    Raises ``InputError`` as ``run_folder`` does, if Ray is missing, and if the cluster is unreachable or too small.
    """
    progress = progress or FolderProgress()
    ray = _import_ray(own=cluster.address is None)
    started = time.monotonic()
    with full_disk_said(job.output), begun(job, scale, progress) as (start, manifest), _connected(ray, cluster):
        share = share_out(cluster.workers, _nodes(ray))
        progress.start_folder(len(job.tasks))
        collected = _Collected(manifest, progress)
        for batch in _batches(ray, job, load, start, share):
            collected.add(batch)
            if progress.stopping:
                break
    done = len(collected.entries) + len(collected.skipped)
    return FolderRun(
        entries=tuple(collected.entries),
        skipped=tuple(collected.skipped),
        remaining=len(job.tasks) - done,
        seconds=time.monotonic() - started,
    )


class _Collected:
    """Records what workers return as it arrives."""

    def __init__(self, manifest: Manifest, progress: FolderProgress) -> None:
        self._manifest, self._progress = manifest, progress
        self.entries: list[Entry] = []
        self.skipped: list[Entry] = []

    def add(self, batch: Mapping[str, Sequence[Any]]) -> None:
        """Raises ``InputError`` for what ended a worker, such as a full disk, after recording what it had done."""
        for line, skipped in zip(batch["line"], batch["skipped"], strict=True):
            if entry := parse_line(str(line)):
                if not skipped:
                    self._manifest.append(entry)
                (self.skipped if skipped else self.entries).append(entry)
                self._progress.finish_picture(entry, None, bool(skipped))
        for note in filter(None, map(str, batch["note"])):
            self._progress.note(note)
        for problem in filter(None, map(str, batch["problem"])):
            raise InputError(problem)


class Worker:
    """Holds a model and processes batches, inside a Ray actor."""

    def __init__(self, job: FolderJob, load: Loader, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._job = job
        self._upscaler, model = load()
        self._problem = ""
        if model.sha256 != job.model.sha256:
            self._problem = f"{model.name} is another file on one of the machines; copy it there or share it."

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Lines of the manifest for the rows of ``rows_of``."""
        listener, entries = _Listener(), list[Entry]()
        skipped: tuple[Entry, ...] = ()
        problem = self._problem
        if not problem:
            part, start = _part_of(self._job, batch)
            try:
                skipped = work_through(part, self._upscaler, start, entries.append, listener).skipped
            except InputError as error:
                problem = str(error)
        rows: list[Row] = [_row(entry, False) for entry in entries] + [_row(entry, True) for entry in skipped]
        rows += [_row(None, False, note=note) for note in listener.notes]
        rows += [_row(None, False, problem=problem)] if problem else []
        return {name: [row[name] for row in rows] for name in _row(None, False)}


class _Listener(FolderProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


def _row(entry: Entry | None, skipped: bool, *, note: str = "", problem: str = "") -> Row:
    return {"line": entry.to_json() if entry else "", "skipped": skipped, "note": note, "problem": problem}


def rows_of(job: FolderJob, start: Start) -> list[Row]:
    """What a worker needs to know about each picture: its task, its line in the manifest, and whether a file that does
    not belong to the job has its name."""
    rows: list[Row] = []
    for name, source, output_name, output in job.tasks:
        before = start.history.written.get(name)
        rows.append(
            {
                "name": name,
                "source": str(source),
                "output_name": output_name,
                "output": str(output),
                "before": before.to_json() if before else "",
                "foreign": output_name in start.foreign,
            }
        )
    return rows


def _part_of(job: FolderJob, batch: Mapping[str, Sequence[Any]]) -> tuple[FolderJob, Start]:
    columns = (batch[name] for name in ("name", "source", "output_name", "output"))
    tasks = tuple(FileTask(str(a), Path(str(b)), str(c), Path(str(d))) for a, b, c, d in zip(*columns, strict=True))
    known = [entry for line in batch["before"] if (entry := parse_line(str(line)))]
    foreign = (task.output_name for task, yes in zip(tasks, batch["foreign"], strict=True) if yes)
    return replace(job, tasks=tasks), Start(History.of(known), frozenset(foreign))


def _batches(ray: Any, job: FolderJob, load: Loader, start: Start, share: Share) -> Iterator[Mapping[str, Any]]:
    rows = rows_of(job, start)
    if not rows:
        return
    at_once = 2 * job.jobs
    listed = ray.data.from_items(rows, override_num_blocks=min(MOST_BLOCKS, -(-len(rows) // at_once)))
    _silence_ray()
    results = listed.map_batches(
        Worker,
        fn_constructor_args=(replace(job, tasks=()), load, share.threads),
        batch_size=at_once,
        compute=ray.data.ActorPoolStrategy(size=share.workers),
        num_cpus=share.cpus,
        num_gpus=share.gpus,
        max_restarts=RETRIES,
        max_task_retries=RETRIES,
    )
    try:
        yield from results.iter_batches(batch_size=None, prefetch_batches=0)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise InputError(
            f"The cluster gave up: {reason[0]}; finished pictures are in the manifest, so resume it."
        ) from error


def _import_ray(*, own: bool) -> Any:
    """Ray without its log messages. It reads these variables when it is imported."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if own:
        _keep_to_ourselves()
    try:
        import ray

        importlib.import_module("ray.data")  # has requirements of its own
    except ImportError as error:
        raise InputError('Ray is not installed; run: python -m pip install "ray[data]"') from error
    return ray


@contextmanager
def _connected(ray: Any, cluster: Cluster) -> Generator[None]:
    """Raises ``InputError`` if ``cluster.address`` does not answer."""
    if ray.is_initialized():
        yield
        return
    options: Row = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if cluster.address is None:
        # Capacity for Ray's own tasks in addition to the workers.
        room = max(os.cpu_count() or 1, cluster.workers + 1)
        options |= {"address": "local", "_node_ip_address": "127.0.0.1", "include_dashboard": False, "num_cpus": room}
    else:
        _check_reachable(cluster.address)
        options |= {"address": cluster.address}
    try:
        ray.init(**options)
    except Exception as error:
        where = cluster.address or "this machine"
        raise InputError(f"Ray cannot be reached at {where}: {one_line(error, 200)}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises ``InputError`` if nothing listens there: Ray would keep trying for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"Ray cannot be reached at {address}: {error}.") from error


def _keep_to_ourselves() -> None:
    """Restricts Ray on this machine to clients that know a secret of this run, and disables its telemetry."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _nodes(ray: Any) -> list[Mapping[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _silence_ray() -> None:
    """Hides Ray Data's own messages; ours say what happens."""
    for handler in logging.getLogger("ray.data").handlers:
        handler.setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
