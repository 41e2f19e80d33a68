"""What the user sees on stderr while a video is worked on."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from ..core.jobs.video import VideoProgress
from ..core.jobs.video_frame import Finished
from .errors import say

LINE_EVERY = 10.0
"""Seconds between lines where stderr is no terminal."""


class VideoScreen(VideoProgress):
    """A bar with frames per second, time left and frames reused on a terminal; now and then a line elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._total, self._done, self._reused = 1, 0, 0
        self._started = self._said = time.monotonic()
        self._bars: Bars | None = None
        if sys.stderr.isatty():
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[pace]}", markup=False),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bars.add_task(name, total=None, pace="")

    def __enter__(self) -> VideoScreen:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def begin(self, total: int, what: str = "") -> None:
        self._total, self._started = total, time.monotonic()
        self._said = self._started
        if self._bars:
            self._bars.reset(self._task, total=total)

    def extend(self, steps: int) -> None:
        self._total += steps
        if self._bars:
            self._bars.update(self._task, total=self._total)

    def finish_frame(self, frame: Finished) -> None:
        self._reused += frame.reused

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        now = time.monotonic()
        rate = self._done / max(now - self._started, 1e-6)
        pace = f"{rate:.1f} fps, {self._reused} reused"
        if self._bars:
            self._bars.update(self._task, advance=steps, pace=pace)
        elif now - self._said >= LINE_EVERY:
            self._said = now
            left = max(self._total - self._done, 0) / rate
            say(f"{self._name}: {self._done} of {self._total} frames, {pace}, {left:.0f} s left")

    def note(self, sentence: str) -> None:
        if self._bars:
            self._bars.console.print(f"backplate: {sentence}", markup=False, highlight=False, soft_wrap=True)
        else:
            say(sentence)
