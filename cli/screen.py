"""What the user sees on stderr while pictures are processed."""

from __future__ import annotations

from pathlib import Path

from rich.progress import ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from ..core.progress import Progress
from .bars import BarScreen


class RateColumn(ProgressColumn):
    """Items per second, or seconds per item."""

    def render(self, task: Task) -> Text:
        speed = task.speed or 0.0
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each" if speed else "")


class Screen(BarScreen, Progress):
    """Bars for pictures and tiles on a terminal; plain lines where stderr goes elsewhere."""

    def __init__(self, pictures: int) -> None:
        super().__init__(RateColumn(), TimeRemainingColumn())
        self._source = Path()
        self._pictures = self.bars.add_task("pictures", total=pictures, visible=pictures > 1)
        self._tiles = self.bars.add_task("", visible=False)

    def start_file(self, source: Path) -> None:
        self._source = source

    def finish_file(self) -> None:
        self.bars.update(self._tiles, visible=False)
        self.bars.advance(self._pictures)

    def begin(self, total: int, what: str = "") -> None:
        self.bars.reset(self._tiles, total=total, description=f"{self._source.name} {what}", visible=True)

    def advance(self, steps: int = 1) -> None:
        self.bars.advance(self._tiles, steps)

    def extend(self, steps: int) -> None:
        self.grow(self._tiles, steps)

    def note(self, sentence: str) -> None:
        self.line(f"{self._source}: {sentence}")


class ModelScreen(Screen):
    """While a model is opened or exported, which may take a minute. Notes name the model themselves."""

    def note(self, sentence: str) -> None:
        self.line(sentence)
