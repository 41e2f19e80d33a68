"""What the user sees on stderr while pictures are worked on."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from ..core.progress import Progress
from .errors import say


class RateColumn(ProgressColumn):
    """How many a second, or how many seconds each."""

    def render(self, task: Task) -> Text:
        speed = task.speed or 0.0
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each" if speed else "")


class Screen(Progress):
    """Bars for pictures and tiles on a terminal; plain lines where stderr goes elsewhere."""

    def __init__(self, pictures: int) -> None:
        self._bars: Bars | None = None
        self._source = Path()
        if sys.stderr.isatty():
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                RateColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._pictures = self._bars.add_task("pictures", total=pictures, visible=pictures > 1)
            self._tiles = self._bars.add_task("", visible=False)

    def __enter__(self) -> Screen:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def start_picture(self, source: Path) -> None:
        self._source = source

    def finish_picture(self) -> None:
        if self._bars:
            self._bars.update(self._tiles, visible=False)
            self._bars.advance(self._pictures)

    def line(self, text: str) -> None:
        """A line that stays."""
        if self._bars:
            self._bars.console.print(f"backplate: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)

    def begin(self, total: int, what: str = "") -> None:
        if self._bars:
            self._bars.reset(self._tiles, total=total, description=f"{self._source.name} {what}", visible=True)

    def advance(self, steps: int = 1) -> None:
        if self._bars:
            self._bars.advance(self._tiles, steps)

    def extend(self, steps: int) -> None:
        if self._bars:
            total = self._bars.tasks[self._tiles].total or 0
            self._bars.update(self._tiles, total=total + steps)

    def note(self, sentence: str) -> None:
        self.line(f"{self._source}: {sentence}")
