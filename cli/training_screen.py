"""What the user sees on stderr during long work on one thing."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from ..core.progress import Progress
from .errors import say


class TrainingScreen(Progress):
    """One bar with the time that is left on a terminal; sentences everywhere."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        if sys.stderr.isatty():
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bars.add_task("", visible=False)

    def __enter__(self) -> TrainingScreen:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def begin(self, total: int, what: str = "") -> None:
        if self._bars:
            self._bars.reset(self._task, total=total, description=what, visible=True)

    def advance(self, steps: int = 1) -> None:
        if self._bars:
            self._bars.advance(self._task, steps)

    def extend(self, steps: int) -> None:
        if self._bars:
            self._bars.update(self._task, total=(self._bars.tasks[self._task].total or 0) + steps)

    def note(self, sentence: str) -> None:
        if self._bars:
            self._bars.console.print(f"backplate: {sentence}", markup=False, highlight=False, soft_wrap=True)
        else:
            say(sentence)
