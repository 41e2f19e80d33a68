"""Bars on a terminal, lines elsewhere: shared by all screens."""

from __future__ import annotations

import sys
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from ..core.progress import Progress
from .errors import say

Self = TypeVar("Self", bound="BarScreen")


class BarScreen:
    """Use in a ``with`` block; ``bars`` show nothing if stderr is not a terminal."""

    def __init__(self, *columns: ProgressColumn) -> None:
        """``columns`` come after description, bar and count."""
        self.visible = sys.stderr.isatty()
        self.bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            *columns,
            console=Console(stderr=True),
            transient=True,
            disable=not self.visible,
        )

    def __enter__(self: Self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def line(self, text: str) -> None:
        """A line that stays."""
        if self.visible:
            self.bars.console.print(f"backplate: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)

    def grow(self, task: TaskID, steps: int) -> None:
        """Adds steps to a task that turned out to be longer."""
        self.bars.update(task, total=(self.bars.tasks[task].total or 0) + steps)

    def note(self, sentence: str) -> None:
        self.line(sentence)


class TrainingScreen(BarScreen, Progress):
    """A single long task: a bar with the time left on a terminal; sentences everywhere."""

    def __init__(self) -> None:
        super().__init__(TimeElapsedColumn(), TimeRemainingColumn())
        self._task = self.bars.add_task("", visible=False)

    def begin(self, total: int, what: str = "") -> None:
        self.bars.reset(self._task, total=total, description=what, visible=True)

    def advance(self, steps: int = 1) -> None:
        self.bars.advance(self._task, steps)

    def extend(self, steps: int) -> None:
        self.grow(self._task, steps)
