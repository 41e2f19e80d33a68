"""How long-running work reports progress to its caller, and how the caller stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Cancelled(Exception):
    """The caller asked for the work to stop."""


class Progress:
    """Receives progress; this base class ignores it and never stops the work.

    Each host (command line, ComfyUI) has a subclass. ``check`` is called before each tile or frame and may raise
    whatever the host uses to interrupt; the exception passes through the work unchanged.
    """

    def begin(self, total: int, what: str = "") -> None:
        """Work of ``total`` steps starts; ``what`` is a short label."""

    def advance(self, steps: int = 1) -> None:
        """``steps`` more steps are done. The total may have grown since ``begin``; see ``extend``."""

    def extend(self, steps: int) -> None:
        """``steps`` more steps are needed than announced."""

    def show_rows(self, picture: torch.Tensor, rows: int) -> None:
        """The first ``rows`` of a picture (1, C, H, W), 0 to 1, are finished. The picture must not be changed or
        kept."""

    def note(self, sentence: str) -> None:
        """Something that the user should know, although the work continues (a smaller tile, another precision)."""

    def check(self) -> None:
        """Raises to stop the work."""


STRETCH_STEPS = 1000


class Stretch(Progress):
    """A part of longer work: ``share`` (0 to 1) of its ``STRETCH_STEPS`` steps, whatever its own number of steps."""

    def __init__(self, whole: Progress, share: float) -> None:
        self._whole, self._share = whole, share
        self._total, self._done, self._reported = 1, 0, 0

    def begin(self, total: int, what: str = "") -> None:
        self._total, self._done = max(total, 1), 0
        self._whole.check()

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        reached = round(min(self._done / self._total, 1.0) * self._share * STRETCH_STEPS)
        if reached > self._reported:
            self._whole.advance(reached - self._reported)
            self._reported = reached

    def extend(self, steps: int) -> None:
        self._total += steps

    def show_rows(self, picture: torch.Tensor, rows: int) -> None:
        self._whole.show_rows(picture, rows)

    def note(self, sentence: str) -> None:
        self._whole.note(sentence)

    def check(self) -> None:
        self._whole.check()
