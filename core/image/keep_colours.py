"""The colours of an enlarged picture brought back to those of its source, while it arrives in rows.

A model is trained to draw detail, and nothing keeps it from making a background a little lighter on the way. What
differs over areas of some ten source pixels is measured in flat parts and taken off again; detail stays the model's.
The difference is gathered in cells (``colour_cells``), blurred, and interpolated to the pixels of the result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch.nn.functional import interpolate, pad, softshrink

from .colour_cells import CELL, TONES, reduced, sums_of_cells, tones_of

REACH = 2
"""Cells on each side that have a part in the mean of one, with binomial weights. With the cells and the interpolation
between them that is nearly a Gaussian of 4.5 source pixels."""
MARGIN = CELL * (REACH + 2)
"""Source pixels beyond a place, rounded up, that have a part in it."""
UNSEEN = 0.05 / 255
"""Differences up to this are left, and others reduced by it: a model that keeps colours is left alone, to the bit."""
TOLD = 1.0
"""Levels of 255 from which a change of colours is worth a sentence."""
PORTION = 2**15
"""Source pixels that are worked on at a time at least, where there are as many: each step has a cost of its own."""


PIECE = 32
"""Source rows that are handed on at a time: memory of that size is used again and again."""


class ColourChange:
    """How much colours were moved, over all places of all pictures."""

    def __init__(self) -> None:
        self._largest = self._total = torch.zeros(())
        self._places = 0

    @property
    def largest(self) -> float:
        """Levels of 255 at the place that was moved most."""
        return 255 * float(self._largest)

    @property
    def mean(self) -> float:
        """Levels of 255."""
        return 255 * float(self._total) / self._places if self._places else 0.0

    @property
    def note(self) -> str:
        """What is to be said about it; nothing if no place was moved by more than a level."""
        if self.largest <= TOLD:
            return ""
        return (
            f"the colours are those of the source; the model had moved them by up to {self.largest:.1f} levels of 255, "
            f"{self.mean:.1f} on average"
        )

    @property
    def sentence(self) -> str:
        """The note as a sentence of its own."""
        return f"{self.note[:1].upper()}{self.note[1:]}." if self.note else ""

    def add(self, moved: torch.Tensor) -> None:
        """Does not wait for the device."""
        sizes = moved.abs()
        self._largest = torch.maximum(self._largest.to(sizes.device), sizes.amax())
        self._total = self._total.to(sizes.device) + sizes.sum()
        self._places += sizes.numel()


def keep_colours(
    rows: Iterator[torch.Tensor], source: torch.Tensor, scale: int, change: ColourChange | None = None
) -> Iterator[torch.Tensor]:
    """Magnified rows (1, C, h, W*scale) of the whole ``source`` (1, C, H, W), from top to bottom in any portions, with
    its colours. The result does not depend on the portions. ``change`` hears by how much they were moved."""
    keeper = _Keeper(source, scale, change if change is not None else ColourChange())
    for portion in rows:
        yield from keeper.push(portion)
    yield from keeper.finish()


class _Keeper:
    """Holds the rows whose surroundings are not known yet: those of ``REACH`` + 2 cells."""

    def __init__(self, source: torch.Tensor, scale: int, change: ColourChange) -> None:
        self._source, self._scale, self._change = source, scale, change
        self._height = -(-source.shape[2] // CELL)
        self._portion = CELL * -(-PORTION // (CELL * source.shape[3]))
        self._broken, self._unread, self._held = _Rows(), _Rows(), _Rows()
        """Magnified rows that fill no source row yet, reduced ones of which no sums are known, and magnified ones."""
        self._means: torch.Tensor = source[:, :, :0].float()
        """The magnified rows, reduced to the source's size, from row ``CELL * _first`` on."""
        self._sums: torch.Tensor = source.new_zeros((1, 0, 0, 0))
        """Weighted differences and weights of the rows of cells from ``_first`` on, for each tone."""
        self._first, self._known, self._done = 0, 0, 0
        """Rows of cells from the top: dropped, with known sums, and handed on."""

    def push(self, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        self._held.push(rows)
        self._reduce(rows)
        if count := self._unread.height // self._portion:
            self._read(self._unread.take(count * self._portion))
            yield from self._emit()

    def finish(self) -> Iterator[torch.Tensor]:
        if self._unread.height:
            self._read(self._unread.take(self._unread.height))
        yield from self._emit()

    def _reduce(self, rows: torch.Tensor) -> None:
        """A few rows at a time, which stay in the processor's cache; without copies where they fill source rows."""
        self._broken.push(rows)
        while count := min(self._broken.height // self._scale, self._portion):
            self._unread.push(reduced(self._broken.take(count * self._scale).float(), self._scale))

    def _read(self, means: torch.Tensor) -> None:
        """Adds the sums of the cells that these reduced rows fill, or end."""
        top = CELL * self._known
        sums = sums_of_cells(self._source, means, top).flatten(1, 2)
        self._means = torch.cat([self._means.to(means), means], dim=2)
        self._sums = torch.cat([self._sums.to(sums), sums], dim=2) if self._sums.shape[2] else sums
        self._known += sums.shape[2]

    def _emit(self) -> Iterator[torch.Tensor]:
        """The rows of all cells whose neighbours have their colours."""
        first, last = self._done, self._known - REACH - 2
        if self._known == self._height:
            last = self._height
        if last <= first:
            return
        missing = self._missing(first, last)
        self._change.add(missing[:, :, 1:-1])
        self._done = last
        kept = max(last - REACH - 2, self._first)
        self._sums, self._means = (
            self._sums[:, :, kept - self._first :],
            self._means[:, :, CELL * (kept - self._first) :],
        )
        self._first = kept
        for top in range(0, missing.shape[2] - 2, PIECE):
            around = missing[:, :, top : top + PIECE + 2]
            yield _with(self._held.take((around.shape[2] - 2) * self._scale), around, self._scale)

    def _missing(self, first: int, last: int) -> torch.Tensor:
        """(1, C, h + 2, W) what the source pixels of those rows of cells miss, and the rows next to them; beyond the
        picture the border goes on."""
        by_tone = self._by_tone(first - 2, last + 2)
        by_tone = torch.stack([_between(by_tone, index, CELL) for index in range(CELL)], dim=3).flatten(2, 3)
        low, high = max(CELL * first - 1, 0), min(CELL * last + 1, self._source.shape[2])
        offset = CELL * (first - 1)
        by_tone = by_tone[:, :, low - offset : high - offset]
        width = self._source.shape[3]
        by_tone = _across(by_tone, by_tone.shape[3] * CELL)[..., :width]
        offset = CELL * self._first
        tones = tones_of(self._means[:, :, low - offset : high - offset])
        by_tone = by_tone.reshape(1, -1, TONES, *tones.shape[2:])
        missing = by_tone[:, :, 0] * tones[:, :1]
        for tone in range(1, TONES):
            missing.addcmul_(by_tone[:, :, tone], tones[:, tone : tone + 1])
        return pad(softshrink(missing, UNSEEN), (0, 0, int(first == 0), int(last == self._height)), mode="replicate")

    def _by_tone(self, first: int, stop: int) -> torch.Tensor:
        """(1, C * TONES, stop - first, cells) what pixels of each tone miss in those rows of cells; beyond the picture
        the border goes on."""
        low, high = max(first, 0), min(stop, self._height)
        top, bottom = low - REACH, high + REACH
        sums = self._sums[:, :, max(top, 0) - self._first : bottom - self._first]
        sums = pad(sums, (REACH, REACH, max(-top, 0), max(bottom - self._known, 0)))
        for _ in range(2 * REACH):
            sums = sums[:, :, 1:] + sums[:, :, :-1]
            sums = sums[..., 1:] + sums[..., :-1]
        by_tone = sums.reshape(1, -1, TONES, *sums.shape[2:])
        missing = (by_tone[:, :-1] / by_tone[:, -1:]).flatten(1, 2)
        return pad(missing, (0, 0, low - first, stop - high), mode="replicate")


class _Rows:
    """Rows that wait, in the portions that they came in."""

    def __init__(self) -> None:
        self._portions: deque[torch.Tensor] = deque()
        self.height = 0

    def push(self, rows: torch.Tensor) -> None:
        self._portions.append(rows)
        self.height += rows.shape[2]

    def take(self, height: int) -> torch.Tensor:
        """The next rows in one piece."""
        self.height -= height
        taken: list[torch.Tensor] = []
        while height:
            rows = self._portions.popleft()
            if rows.shape[2] > height:
                self._portions.appendleft(rows[:, :, height:])
                rows = rows[:, :, :height]
            taken.append(rows)
            height -= rows.shape[2]
        return taken[0] if len(taken) == 1 else torch.cat(taken, dim=2)


def _with(rows: torch.Tensor, missing: torch.Tensor, scale: int) -> torch.Tensor:
    """``rows`` (1, C, h * scale, w * scale) and what they miss, (1, C, h + 2, w), with a row more above and below."""
    across = _across(missing, rows.shape[3])
    result = torch.empty_like(rows, dtype=torch.float32)
    for index in range(scale):
        lines = result[:, :, index::scale]
        torch.add(rows[:, :, index::scale], _between(across, index, scale), out=lines)
        lines.clamp_(0, 1)
    return result


def _across(lines: torch.Tensor, width: int) -> torch.Tensor:
    """(B, C, h, w) -> (B, C, h, width). In one direction, which is four times as fast as a bilinear interpolation."""
    result: torch.Tensor = interpolate(lines.flatten(0, 1), size=width, mode="linear")
    return result.reshape(*lines.shape[:3], width)


def _between(lines: torch.Tensor, index: int, count: int) -> torch.Tensor:
    """(B, C, n + 2, w) values at the middles of lines -> (B, C, n, w) at row ``index`` of ``count`` in inner ones."""
    share = (index + 0.5) / count
    before, here, after = lines[:, :, :-2], lines[:, :, 1:-1], lines[:, :, 2:]
    return torch.lerp(before, here, share + 0.5) if share < 0.5 else torch.lerp(here, after, share - 0.5)
