"""What the user sees on stderr during long work on one thing."""

from __future__ import annotations

from rich.progress import TimeElapsedColumn, TimeRemainingColumn

from ..core.progress import Progress
from .bars import BarScreen


class TrainingScreen(BarScreen, Progress):
    """One bar with the time that is left on a terminal; sentences everywhere."""

    def __init__(self) -> None:
        super().__init__(TimeElapsedColumn(), TimeRemainingColumn())
        if self.bars:
            self._task = self.bars.add_task("", visible=False)

    def begin(self, total: int, what: str = "") -> None:
        if self.bars:
            self.bars.reset(self._task, total=total, description=what, visible=True)

    def advance(self, steps: int = 1) -> None:
        if self.bars:
            self.bars.advance(self._task, steps)

    def extend(self, steps: int) -> None:
        if self.bars:
            self.bars.update(self._task, total=(self.bars.tasks[self._task].total or 0) + steps)
