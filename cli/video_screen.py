"""What the user sees on stderr while a video is processed."""

from __future__ import annotations

import time

from rich.progress import TextColumn, TimeRemainingColumn

from ..core.jobs.video.frame import Finished
from ..core.jobs.video.run import VideoProgress
from ..core.progress import Progress
from .bars import BarScreen
from .errors import say

LINE_EVERY = 10.0
"""Seconds between lines where stderr is no terminal."""


class TrialScreen(Progress):
    """While models are timed: notes only, as a bar would take some of the time."""

    def note(self, sentence: str) -> None:
        say(sentence)


class VideoScreen(BarScreen, VideoProgress):
    """A bar with frames per second, time left and frames reused on a terminal; now and then a line elsewhere."""

    def __init__(self, name: str) -> None:
        super().__init__(TextColumn("{task.fields[pace]}", markup=False), TimeRemainingColumn())
        self._name = name
        self._total, self._done, self._reused = 1, 0, 0
        self._started = self._said = time.monotonic()
        self._task = self.bars.add_task(name, total=None, pace="")

    def begin(self, total: int, what: str = "") -> None:
        self._total, self._started = total, time.monotonic()
        self._said = self._started
        self.bars.reset(self._task, total=total)

    def extend(self, steps: int) -> None:
        self._total += steps
        self.bars.update(self._task, total=self._total)

    def finish_frame(self, frame: Finished) -> None:
        self._reused += frame.reused

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        now = time.monotonic()
        rate = self._done / max(now - self._started, 1e-6)
        pace = f"{rate:.1f} fps, {self._reused} reused"
        self.bars.update(self._task, advance=steps, pace=pace)
        if not self.visible and now - self._said >= LINE_EVERY:
            self._said = now
            left = max(self._total - self._done, 0) / rate
            say(f"{self._name}: {self._done} of {self._total} frames, {pace}, {left:.0f} s left")
