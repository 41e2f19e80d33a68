"""Progress that remembers."""

from __future__ import annotations

import math

from backplate.core.progress import Cancelled, Progress


class Recorder(Progress):
    """Keeps what it hears, and stops the work after ``checks``."""

    def __init__(self, checks: float = math.inf) -> None:
        self.notes: list[str] = []
        self.labels: list[str] = []
        self.checks = checks
        self.total = self.done = 0

    def begin(self, total: int, what: str = "") -> None:
        self.labels.append(what)
        self.total, self.done = total, 0

    def extend(self, steps: int) -> None:
        self.total += steps

    def advance(self, steps: int = 1) -> None:
        self.done += steps

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            raise Cancelled
