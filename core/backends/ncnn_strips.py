"""Streams rows through ncnn in vertical strips of the picture, side by side, each in threads of its own.

Threads that share every layer wait for each other after each part of it, and every value crosses from one core to the
other; where the cores have no cache in common, two threads were then no faster than one. Strips meet once for each
portion, and pay for it with the context that they read beyond their inner borders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise

import torch

from .ncnn_rows import NcnnRows, Place, RowGraph, RowsRun

MOST_CONTEXT = 0.2
"""Part of a picture's width that strips may read twice: below that they were faster than threads that share."""

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
    """A network as streams of rows. ``make`` gives those of the graph that run in a number of threads."""

    def __init__(self, graph: RowGraph, make: Callable[[int], NcnnRows], threads: int) -> None:
        self._threads = threads
        self._make = lru_cache(VERSIONS)(make)
        self._columns, self._least_rows = graph.columns, graph.least_rows

    @property
    def least_rows(self) -> int:
        """The first portion must have as many, so that rows come out of every layer."""
        return self._least_rows

    def width(self, width: int) -> int:
        """Columns that the widest strip of a picture ``width`` pixels wide reads."""
        return max(strip.right - strip.left for strip in self._strips(width))

    def run(self, portions: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Portions (C, h, W) of a picture from top to bottom, at least two, the first of ``least_rows`` or more ->
        magnified rows (C, h, W). Equals the network on the whole picture up to rounding."""
        first = next(portions)
        strips = self._strips(first.shape[2])
        rows = self._make(self._threads // len(strips))
        with ExitStack() as stack:
            workers = [_Worker(strip, rows.start(number), stack) for number, strip in enumerate(strips)]
            waiting: deque[list[Future[torch.Tensor]]] = deque()
            for portion, place in _placed(chain((first,), portions)):
                waiting.append([worker.submit(portion, place) for worker in workers])
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
        """The most strips that share the threads evenly and do not read too much twice."""
        most = 1 + int(MOST_CONTEXT * width / max(2 * self._columns, 1))
        return max(count for count in range(1, self._threads + 1) if self._threads % count == 0 and count <= most)


class _Worker:
    """A strip, and the thread that its portions are run in one after the other until ``stack`` is left."""

    def __init__(self, strip: _Strip, run: RowsRun, stack: ExitStack) -> None:
        self._strip, self._run = strip, run
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ncnn-strip")
        stack.callback(self._thread.shutdown, cancel_futures=True)

    def submit(self, portion: torch.Tensor, place: Place) -> Future[torch.Tensor]:
        return self._thread.submit(self._step, self._strip.read(portion), place)

    def _step(self, portion: torch.Tensor, place: Place) -> torch.Tensor:
        return self._strip.wanted(self._run.step(portion, place))


def _joined(parts: list[Future[torch.Tensor]]) -> torch.Tensor:
    return torch.cat([part.result() for part in parts], dim=2)


def _placed(portions: Iterator[torch.Tensor]) -> Iterator[tuple[torch.Tensor, Place]]:
    held = next(portions)
    place = Place.FIRST
    for following in portions:
        yield held, place
        held, place = following, Place.MIDDLE
    yield held, Place.LAST
