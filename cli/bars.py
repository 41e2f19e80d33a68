"""Bars on a terminal, lines elsewhere: what all screens have in common."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
from rich.progress import Progress as Bars

from .errors import say

Self = TypeVar("Self", bound="BarScreen")


class BarScreen:
    """To be used in a ``with`` block. ``bars`` is None where stderr is no terminal."""

    def __init__(self, *columns: ProgressColumn) -> None:
        """``columns`` come after description, bar and count."""
        self.bars: Bars | None = None
        if sys.stderr.isatty():
            self.bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                *columns,
                console=Console(stderr=True),
                transient=True,
            )

    def __enter__(self: Self) -> Self:
        if self.bars:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self.bars:
            self.bars.stop()

    def line(self, text: str) -> None:
        """A line that stays."""
        if self.bars:
            self.bars.console.print(f"backplate: {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)

    def note(self, sentence: str) -> None:
        self.line(sentence)
