"""Streams rows through ncnn in vertical strips of the picture, side by side, each in threads of its own.

Threads that share every layer wait for each other after each part of it, and every value crosses from one core to the
other; where the cores have no cache in common, two threads were then no faster than one. Strips meet once for each
portion, and pay for it with the context that they read beyond their inner borders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, cycle, pairwise

import torch

from .ncnn_rows import NcnnRows, Place, RowGraph, RowsRun

MOST_CONTEXT = 0.2
"""Part of a picture's width that strips may read twice: below that they were faster than threads that share."""

PORTION_VALUES = 393_216
"""Of a strip's portion of rows in its largest layer: that is then 1.5 MB, and Winograd's work space twice as much."""

AHEAD = 1
"""Portions that strips may begin with before the one that all have to finish is taken."""

VERSIONS = 2
"""Networks held that differ in their number of threads, which is fixed when their weights are made ready."""


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
        self._make = lru_cache(VERSIONS)(make)
        self._columns, self._least_rows = graph.columns, graph.least_rows
        self._pixels = PORTION_VALUES / graph.channels

    @property
    def least_rows(self) -> int:
        """The first portion must have as many, so that rows come out of every layer."""
        return self._least_rows

    def height(self, width: int) -> int:
        """Rows of a portion that suit a picture ``width`` pixels wide."""
        widest = max(strip.right - strip.left for strip in self._strips(width))
        return max(1, round(self._pixels / widest / self._block)) * self._block

    def run(self, portions: Iterator[torch.Tensor]) -> Generator[torch.Tensor]:
        """Portions (C, h, W) of a picture from top to bottom, at least two, the first of ``least_rows`` or more ->
        magnified rows (C, h, W). Equals the network on the whole picture up to rounding. Until it is closed, PyTorch
        has one thread where strips have the others."""
        first = next(portions)
        strips = self._strips(first.shape[2])
        side_by_side = min(len(strips), self._threads)
        rows = self._make(self._threads // side_by_side)
        with ExitStack() as stack:
            if side_by_side > 1:
                stack.enter_context(_torch_in_one_thread())
            workers = [ThreadPoolExecutor(1, "ncnn-strip") for _ in range(side_by_side)]
            for worker in workers:
                stack.callback(worker.shutdown, cancel_futures=True)
            runs = [(strip, rows.start(number % side_by_side)) for number, strip in enumerate(strips)]
            waiting: deque[list[Future[torch.Tensor]]] = deque()
            for portion, place in _placed(chain((first,), portions)):
                pairs = zip(cycle(workers), runs, strict=False)
                waiting.append([worker.submit(_step, *run, portion, place) for worker, run in pairs])
                if len(waiting) > AHEAD:
                    yield _joined(waiting.popleft())
            while waiting:
                yield _joined(waiting.popleft())

    def _strips(self, width: int) -> list[_Strip]:
        borders = [round(width * number / self._count(width)) for number in range(self._count(width) + 1)]
        return [
            _Strip(max(start - self._columns, 0), start, stop, min(stop + self._columns, width))
            for start, stop in pairwise(borders)
        ]

    def _count(self, width: int) -> int:
        """As many as share the threads evenly, or that the threads share evenly, until a portion of the least height is
        small enough; fewer where they would read too much twice."""
        if not self._apart:
            return 1
        most = 1 + int(MOST_CONTEXT * width / max(2 * self._columns, 1))
        wanted = max(self._threads, int(width * self._block / self._pixels))
        return max(n for n in range(1, min(most, wanted) + 1) if self._threads % n == 0 or n % self._threads == 0)


@contextmanager
def _torch_in_one_thread() -> Generator[None]:
    """What is done with finished rows is little, and PyTorch's other threads would wait for more of it at full speed,
    where the strips should run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _step(strip: _Strip, run: RowsRun, portion: torch.Tensor, place: Place) -> torch.Tensor:
    return strip.wanted(run.step(strip.read(portion), place))


def _joined(parts: list[Future[torch.Tensor]]) -> torch.Tensor:
    return torch.cat([part.result() for part in parts], dim=2)


def _placed(portions: Iterator[torch.Tensor]) -> Iterator[tuple[torch.Tensor, Place]]:
    held = next(portions)
    place = Place.FIRST
    for following in portions:
        yield held, place
        held, place = following, Place.MIDDLE
    yield held, Place.LAST
