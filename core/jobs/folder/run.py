"""Runs a folder job unattended: threads read ahead and write behind while the model works, a failure affects only its
own picture, and finished pictures stay finished."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ....model_loader.files import sha256_of
from ...atomic_write import remove_leftovers
from ...engines.memory import release_cached
from ...errors import InputError, sentence_for
from ...media.picture_folder import FileTask, within
from ...progress import Progress
from ...upscaler import Upscaler
from ..marketplace.deliver import deliver
from ..picture import Enlarged, SourcePicture, enlarge, read_source
from ..quality import Figures, measure
from .disk_space import check_space
from .job import FolderJob, FolderProgress, FolderRun
from .manifest import Entry, History, Manifest, Status, manifest_files, manifest_path, now


@dataclass(frozen=True)
class _Loaded:
    entry: Entry
    task: FileTask
    source: SourcePicture


@dataclass(frozen=True)
class _Finished:
    entry: Entry
    picture: torch.Tensor | None = None
    skipped: bool = False
    alpha: torch.Tensor | None = None
    disk_full: bool = False


class _HostErrorRecorder(Progress):
    """Forwards everything, and remembers that the host ended the work, which is not a failure of the picture."""

    def __init__(self, host: FolderProgress) -> None:
        self._host = host
        self.raised: BaseException | None = None

    def begin(self, total: int, what: str = "") -> None:
        self._call(self._host.begin, total, what)

    def advance(self, steps: int = 1) -> None:
        self._call(self._host.advance, steps)

    def extend(self, steps: int) -> None:
        self._call(self._host.extend, steps)

    def note(self, sentence: str) -> None:
        self._call(self._host.note, sentence)

    def check(self) -> None:
        self._call(self._host.check)

    def _call(self, method: Any, *arguments: object) -> None:
        try:
            method(*arguments)
        except BaseException as error:
            self.raised = error
            raise


def run_folder(job: FolderJob, upscaler: Upscaler, progress: FolderProgress | None = None) -> FolderRun:
    """Runs the job and returns when the last file is written.

    A picture that cannot be read, enlarged or written becomes a failed entry, and the others continue. At most ``2 *
    jobs + 1`` pictures are in memory. An exception that the host raises through ``progress`` (its Cancel) ends the job;
    the pictures that the model has finished are written first.

    Raises ``InputError`` before any work if ``output`` contains another job and neither ``resume`` nor ``overwrite`` is
    set, or if the results do not fit on the disk; and later if the disk is full.
    """
    progress = progress or FolderProgress()
    with full_disk_said(job.output), begun(job, upscaler.spec.scale, progress) as (start, manifest):
        return work_through(job, upscaler, start, manifest.append, progress)


@contextmanager
def full_disk_said(folder: Path) -> Generator[None]:
    """Writing the manifest may be the first to fail on a full disk."""
    try:
        yield
    except OSError as error:
        if not _is_disk_full(error):
            raise
        raise InputError(f"The disk of {folder} is full; make room there and resume.") from error


@dataclass(frozen=True)
class Start:
    """What is known when a run starts: earlier outcomes, and the outputs whose files do not belong to the job."""

    history: History
    foreign: frozenset[str] = frozenset()


@contextmanager
def begun(job: FolderJob, scale: int, progress: FolderProgress) -> Generator[tuple[Start, Manifest]]:
    """The checks before the work, and the open manifest. ``scale`` is the model's. Raises as ``run_folder`` does."""
    _make_folder(job.output)
    existing = {task.output_name for task in job.tasks if task.output.exists()}
    # Checked after the outputs and created before any of them, so that two workers do not mistake each other's files
    # for foreign ones.
    own = manifest_path(job.output, job.shard)
    was_there = own.exists()
    history = History(manifest_files(job.output))
    _check_start(job, history, progress)
    todo = [task for task in job.tasks if task.output_name not in existing]
    check_space(job.output, todo, job.settings, scale)
    foreign = {name for name in existing if not (job.overwrite or history.is_ours(name, begun=was_there))}
    manifest = Manifest(own)
    try:
        if manifest.alone:
            remove_leftovers(task.output for task in job.tasks)
        yield Start(history, frozenset(foreign)), manifest
    finally:
        manifest.close()


def work_through(
    job: FolderJob,
    upscaler: Upscaler,
    start: Start,
    record: Callable[[Entry], None],
    progress: FolderProgress,
) -> FolderRun:
    """Does the tasks of a job that has begun. ``record`` is called with each entry as soon as it exists, from any
    thread."""
    return _Run(job, upscaler, start, record, progress).run()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be created ({error.strerror or error}).") from error


def _check_start(job: FolderJob, history: History, progress: FolderProgress) -> None:
    if not (job.resume or job.overwrite) and (before := history.among(job.tasks)):
        raise InputError(
            f"{job.output} holds the results of an earlier run on {len(before)} of these pictures; resume it, "
            "overwrite them, or name another folder."
        )
    if history.unreadable:
        progress.note(f"{history.unreadable} lines of the manifest cannot be read and are passed over.")
    written = [entry for entry in history.among(job.tasks) if entry.written]
    changed = [entry for entry in written if entry.settings_sha256 != job.settings_sha256]
    if changed and job.resume:
        model = any(entry.model_sha256 != job.model.sha256 for entry in changed)
        what = "another model" if model else "other settings"
        progress.note(f"{len(changed)} of these pictures were made with {what}; they are made again.")


class _Run:
    """One run over the tasks of a job."""

    def __init__(
        self,
        job: FolderJob,
        upscaler: Upscaler,
        start: Start,
        record: Callable[[Entry], None],
        progress: FolderProgress,
    ) -> None:
        self._job, self._upscaler, self._progress = job, upscaler, progress
        self._start, self._record = start, record
        self._settings_sha256 = job.settings_sha256
        self._measuring = threading.Lock()
        self._writing: deque[Future[_Finished]] = deque()
        self._entries: list[Entry] = []
        self._skipped: list[Entry] = []

    def run(self) -> FolderRun:
        started = time.monotonic()
        self._progress.start_folder(len(self._job.tasks))
        self._refuse_foreign()
        readers = ThreadPoolExecutor(self._job.jobs, "backplate-read")
        writers = ThreadPoolExecutor(self._job.jobs, "backplate-write")
        try:
            for item in self._read_ahead(readers):
                if isinstance(item, _Finished):
                    self._collect(item)
                else:
                    self._work_on(item, writers)
                if self._progress.stopping:
                    break
            while self._writing:
                self._collect(self._writing.popleft().result())
        finally:
            readers.shutdown(cancel_futures=True)
            writers.shutdown()
        count = len(self._entries) + len(self._skipped)
        return FolderRun(
            entries=tuple(self._entries),
            skipped=tuple(self._skipped),
            remaining=len(self._job.tasks) - count,
            seconds=time.monotonic() - started,
        )

    def _refuse_foreign(self) -> None:
        """Runs before anything is written: later, such a file could not be told from one of ours."""
        for task in self._job.tasks:
            if task.output_name in self._start.foreign:
                reason = f"{task.output} already exists and does not belong to this job; overwrite it, or move it away."
                self._collect(self._failed(self._begun(task), reason, kept=True))

    def _read_ahead(self, readers: ThreadPoolExecutor) -> Iterator[_Loaded | _Finished]:
        tasks = (task for task in self._job.tasks if task.output_name not in self._start.foreign)
        ahead = deque(readers.submit(self._read, task) for task in islice(tasks, self._job.jobs))
        while ahead:
            item = ahead.popleft().result()
            ahead.extend(readers.submit(self._read, task) for task in islice(tasks, 1))
            yield item

    def _read(self, task: FileTask) -> _Loaded | _Finished:
        started = time.perf_counter()
        entry = self._begun(task)
        try:
            self._check_places(task)
            entry = replace(entry, source_bytes=task.source.stat().st_size, source_sha256=sha256_of(task.source))
            mask = self._job.protect.mask_for(task.source)
            entry = replace(entry, protect_sha256=mask.sha256 if mask else "")
            if before := self._finished_before(task, entry):
                return _Finished(before, skipped=True)
            source = read_source(task.source, task.output, self._job.settings, self._upscaler.spec.scale, mask)
        except Exception as error:  # noqa: BLE001  one bad picture must not cost the others
            return self._failed(entry, _sentence(error, task))
        width, height = source.size
        share = round(source.protection.share, 4) if source.protection else 0.0
        entry = replace(entry, source_width=width, source_height=height, notes=source.notes, protected=share)
        return _Loaded(_after(entry, started), task, source)

    def _check_places(self, task: FileTask) -> None:
        if self._job.roots is None:
            return
        if not within(task.source, self._job.roots):
            raise InputError(f"{task.source}: the link leads outside the folders that may be read.")
        mask = self._job.protect.mask_for(task.source)
        if mask and mask.path and not within(mask.path, self._job.roots):
            raise InputError(f"{mask.path}: the link leads outside the folders that may be read.")
        if not within(task.output, [self._job.output]):
            raise InputError(f"{task.output}: a link leads outside the results folder.")

    def _finished_before(self, task: FileTask, entry: Entry) -> Entry | None:
        if not self._job.resume:
            return None
        before = self._start.history.finished(entry)
        return before if before and task.output.is_file() and task.output.stat().st_size else None

    def _work_on(self, loaded: _Loaded, writers: ThreadPoolExecutor) -> None:
        self._progress.start_picture(loaded.task.name)
        guard, started = _HostErrorRecorder(self._progress), time.perf_counter()
        try:
            guard.check()
            enlarged = enlarge(loaded.source, self._upscaler, self._job.settings, guard)
        except Exception as error:
            if guard.raised is not None:
                raise
            self._collect(self._failed(_after(loaded.entry, started), _sentence(error, loaded.task)))
            return
        while self._writing and (len(self._writing) >= self._job.jobs or self._writing[0].done()):
            self._collect(self._writing.popleft().result())
        self._writing.append(
            writers.submit(self._write, replace(loaded, entry=_after(loaded.entry, started)), enlarged)
        )

    @torch.inference_mode()
    def _write(self, loaded: _Loaded, enlarged: Enlarged) -> _Finished:
        started, task = time.perf_counter(), loaded.task
        try:
            figures, suspicion = self._judged(loaded.source, enlarged)
            delivery = deliver(task.source, task.output, enlarged, loaded.source, self._job.settings)
            size = delivery.path.stat().st_size
        except Exception as error:  # noqa: BLE001  as in _read
            failed = self._failed(_after(loaded.entry, started), _sentence(error, task))
            return replace(failed, disk_full=_is_disk_full(error))
        entry = replace(_after(loaded.entry, started), rules=delivery.findings)
        if delivery.reason:
            return self._failed(entry, delivery.reason)
        entry = replace(
            entry,
            status=Status.FLAGGED if suspicion else Status.DONE,
            reason=suspicion,
            notes=(*loaded.entry.notes, *enlarged.notes, *delivery.notes, *self._size_notes(size)),
            output_bytes=size,
            width=enlarged.picture.shape[3],
            height=enlarged.picture.shape[2],
            passes=enlarged.passes,
            lr_psnr=round(figures.lr_psnr, 3) if figures else None,
            delta_e=round(figures.delta_e, 3) if figures else None,
        )
        return _Finished(self._append(entry), enlarged.picture, alpha=enlarged.alpha)

    def _judged(self, source: SourcePicture, enlarged: Enlarged) -> tuple[Figures | None, str]:
        """Metrics, and why the result should be reviewed; a result that cannot be measured is written anyway. One at a
        time, because measuring needs several times the memory of the picture."""
        try:
            with self._measuring:
                figures = measure(source, enlarged)
        except InputError as error:
            return None, f"it could not be measured: {error}"
        return figures, figures.suspicion(self._job.limits)

    def _size_notes(self, size: int) -> list[str]:
        smallest, largest = self._job.smallest, self._job.largest
        notes = [f"{size:,} bytes are under the least of {smallest:,}"] if size < smallest else []
        return notes + ([f"{size:,} bytes are over the most of {largest:,}"] if largest and size > largest else [])

    def _begun(self, task: FileTask) -> Entry:
        return Entry(
            source=task.name,
            output=task.output_name,
            status=Status.FAILED,
            model=self._job.model.name,
            model_sha256=self._job.model.sha256,
            model_licence=self._job.model.licence,
            model_commercial_use=self._job.model.commercial_use,
            settings_sha256=self._settings_sha256,
        )

    def _failed(self, entry: Entry, reason: str, *, kept: bool = False) -> _Finished:
        return _Finished(self._append(replace(entry, status=Status.FAILED, reason=reason, kept=kept)))

    def _append(self, entry: Entry) -> Entry:
        entry = replace(entry, finished=now(), seconds=round(entry.seconds, 3))
        self._record(entry)
        return entry

    def _collect(self, finished: _Finished) -> None:
        (self._skipped if finished.skipped else self._entries).append(finished.entry)
        self._progress.finish_picture(finished.entry, finished.picture, finished.skipped, finished.alpha)
        if finished.picture is not None:
            release_cached(torch.device("cpu"))
        if finished.disk_full:
            written = sum(entry.written for entry in self._entries)
            raise InputError(
                f"The disk of {self._job.output} is full after {written} pictures; make room there and resume."
            )


def _after(entry: Entry, started: float) -> Entry:
    return replace(entry, seconds=entry.seconds + time.perf_counter() - started)


def _sentence(error: Exception, task: FileTask) -> str:
    """Why the picture failed, without its name, which is shown beside it anyway."""
    return sentence_for(error).removeprefix(f"{task.source}: ")


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False
