"""A folder of pictures from the command line: display, interruption and exit code."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

import torch
import typer

from ..core.jobs.folder.job import FolderJob, FolderProgress, FolderRun
from ..core.jobs.folder.manifest import Entry, Status
from ..core.jobs.folder.report_page import write_report
from ..core.jobs.folder.summary import Summary, summarise
from ..core.media.picture_folder import FileTask
from .errors import ALL_FAILED, INTERRUPTED, SOME_FAILED, say
from .screen import ModelScreen


class RunJob(Protocol):
    """Does the job: on this machine, or on others."""

    def __call__(self, job: FolderJob, *, progress: FolderProgress) -> FolderRun: ...


class FolderScreen(ModelScreen, FolderProgress):
    """Bars and lines for a folder. The first Ctrl-C stops the job after the current picture."""

    def __init__(self, tasks: Sequence[FileTask]) -> None:
        super().__init__(len(tasks))
        self._tasks = {task.name: task for task in tasks}
        self._stopping = False

    @property
    def stopping(self) -> bool:
        return self._stopping

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handles SIGINT."""
        if self._stopping:
            raise KeyboardInterrupt
        self._stopping = True
        self.line("finishing the picture in hand; Ctrl-C once more stops at once.")

    def start_picture(self, name: str) -> None:
        self.start_file(self._tasks[name].source)

    def finish_picture(
        self, entry: Entry, picture: torch.Tensor | None, skipped: bool, alpha: torch.Tensor | None = None
    ) -> None:
        task = self._tasks[entry.source]
        if not entry.written:
            self.line(f"{task.source}: {entry.reason}")
        elif not skipped:
            size = f"{entry.width}x{entry.height}, {entry.seconds:.1f} s"
            doubt = f"; look at it: {entry.reason}" if entry.status is Status.FLAGGED else ""
            self.line(f"{task.source} -> {task.output} ({size}){doubt}")
            for note in entry.notes:
                self.line(f"{task.source}: {note}")
        self.finish_file()


def run_folder_job(job: FolderJob, run_job: RunJob, *, report: bool) -> None:
    """Runs the job and sums it up on stderr. Raises ``typer.Exit`` with the agreed code unless all is done."""
    with FolderScreen(job.tasks) as progress, _ctrl_c(progress):
        run = run_job(job, progress=progress)
    summary = summarise(job, run)
    for line in summary.text().splitlines():
        typer.echo(line, err=True)
    if report:
        typer.echo(f"Report: {write_report(job, summary)[-1]}", err=True)
    if run.remaining:
        say(f"stopped after the picture in hand; go on with: {command_to_resume()}")
        raise typer.Exit(INTERRUPTED)
    if code := exit_code(summary):
        raise typer.Exit(code)


@contextmanager
def _ctrl_c(progress: FolderScreen) -> Generator[None]:
    before = signal.signal(signal.SIGINT, progress.interrupt)
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped; go on with: {command_to_resume()}")
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def command_to_resume() -> str:
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])


def exit_code(summary: Summary) -> int:
    """0 if everything is done and nothing needs a look, 1 if nothing could be done, else 2, also if results break the
    rules of a marketplace."""
    if summary.complete:
        return 0
    return SOME_FAILED if summary.written or any(entry.rules for entry in summary.entries) else ALL_FAILED
