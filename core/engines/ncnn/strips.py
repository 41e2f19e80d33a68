"""Streams rows through ncnn in vertical strips of the picture, side by side, each in a thread of its own.

Threads that share every layer wait for each other after each part of it, and every value crosses from one core to the
other; where the cores have no cache in common, two threads were then no faster than one. Strips meet once for each
portion, and pay for it with the context that they read beyond their inner borders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise

import torch

from ..pytorch.threads import torch_threads
from .rows import NcnnRows, Place, RowGraph, RowsRun

MOST_CONTEXT = 0.2
"""Part of a picture's width that strips may read twice: below that they were faster than threads that share."""

PORTION_VALUES = 196_608
"""Of a strip's portion of rows in its largest layer: that is then 0.75 MB, and Winograd's work space twice as much."""

AHEAD = 1
"""Portions that strips may begin with before the one that all have to finish is taken."""

Portions = Iterator[tuple[torch.Tensor, Place]]


@dataclass(frozen=True)
class _Strip:
    """Columns of the picture: ``left`` to ``right`` are read, ``start`` to ``stop`` are wanted."""

    left: int
    start: int
    stop: int
    right: int

    def read(self, portion: torch.Tensor) -> torch.Tensor:
        return portion[:, :, self.left : self.right]

    def wanted(self, rows: torch.Tensor) -> torch.Tensor:
        scale = rows.shape[2] // (self.right - self.left)
        return rows[:, :, (self.start - self.left) * scale : (self.stop - self.left) * scale]


class NcnnStrips:
    """A network as streams of rows. ``make`` gives those of the graph that run in a number of threads; ``block``: rows
    of Winograd's blocks, of which a portion has a whole number; ``apart``: whether there may be several strips."""

    def __init__(
        self, graph: RowGraph, make: Callable[[int], NcnnRows], threads: int, block: int, apart: bool = True
    ) -> None:
        self._threads, self._block, self._apart = threads, block, apart
        self._make = cache(make)
        self._pixels = PORTION_VALUES / graph.channels
        self.graph = graph

    def height(self, width: int) -> int:
        """Rows of a portion that suit a picture ``width`` pixels wide."""
        widest = max(strip.right - strip.left for strip in self._strips(width))
        return max(1, round(self._pixels / widest / self._block)) * self._block

    def run(self, portions: Iterator[torch.Tensor]) -> Generator[torch.Tensor]:
        """Portions (C, h, W) of a picture from top to bottom, at least two, the first of ``graph.least_rows`` or more
        -> magnified rows (C, h, W). Equals the network on the whole picture up to rounding. Until it is closed, PyTorch
        has one thread where strips have the others."""
        first = next(portions)
        strips = self._strips(first.shape[2])
        placed = _placed(chain((first,), portions))
        if len(strips) > 1:
            yield from self._side_by_side(strips, placed)
            return
        # In the caller's thread: in another, ncnn would start its own threads once more.
        run = self._make(self._threads).start()
        for portion, place in placed:
            yield run.step(portion, place)

    def _side_by_side(self, strips: list[_Strip], placed: Portions) -> Iterator[torch.Tensor]:
        rows = self._make(1)
        with ExitStack() as stack:
            # What is done with finished rows is little, and PyTorch's other threads would wait for more of it at full
            # speed, where the strips should run.
            stack.enter_context(torch_threads(1))
            workers = [ThreadPoolExecutor(1, "ncnn-strip") for _ in range(self._threads)]
            for worker in workers:
                stack.callback(worker.shutdown, cancel_futures=True)
            runs: list[tuple[ThreadPoolExecutor, _Strip, RowsRun]] = []
            for number, strip in enumerate(strips):
                thread = number % self._threads
                runs.append((workers[thread], strip, rows.start(thread)))
            waiting: deque[list[Future[torch.Tensor]]] = deque()
            for portion, place in placed:
                waiting.append([worker.submit(_step, strip, run, portion, place) for worker, strip, run in runs])
                if len(waiting) > AHEAD:
                    yield _joined(waiting.popleft())
            while waiting:
                yield _joined(waiting.popleft())

    def _strips(self, width: int) -> list[_Strip]:
        count, columns = self._count(width), self.graph.columns
        borders = [round(width * number / count) for number in range(count + 1)]
        return [
            _Strip(max(start - columns, 0), start, stop, min(stop + columns, width))
            for start, stop in pairwise(borders)
        ]

    def _count(self, width: int) -> int:
        """The same number for each thread, until a portion of the least height is small enough; one in all where they
        would read too much twice."""
        most = 1 + int(MOST_CONTEXT * width / max(2 * self.graph.columns, 1))
        wanted = max(self._threads, int(width * self._block / self._pixels))
        each = min(most, wanted) // self._threads if self._apart else 0
        return max(each * self._threads, 1)


def _step(strip: _Strip, run: RowsRun, portion: torch.Tensor, place: Place) -> torch.Tensor:
    return strip.wanted(run.step(strip.read(portion), place))


def _joined(parts: list[Future[torch.Tensor]]) -> torch.Tensor:
    return torch.cat([part.result() for part in parts], dim=2)


def _placed(portions: Iterator[torch.Tensor]) -> Portions:
    held = next(portions)
    place = Place.FIRST
    for following in portions:
        yield held, place
        held, place = following, Place.MIDDLE
    yield held, Place.LAST
