"""The part of a network behind its last value of the picture's own size, run in portions of rows.

Networks that magnify at their end hold most of their memory there: RRDBNet of four times has 16 times the pixels in its
last layers, whose Winograd convolutions take 2 GB for a tile of 256x192. Nearly all weights are in front of them, so
that a tile goes through that part at once, and only what comes out of it is a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import numpy
import torch

from .convert import Layer, files_of
from .rows import ROWS, Load, NcnnRows, NotStreamable, Place, RowGraph, flows_of

PORTION_VALUES = 4 * 2**20
"""Of a portion of rows in the largest layer: 16 MB."""


def cut(layers: list[Layer], result: int) -> tuple[list[Layer], list[Layer]] | None:
    """The layers up to the last value of the picture's own size that all later layers depend on, and those behind it,
    with that value as their picture. None where there is no such value, or nothing is magnified behind it."""
    try:
        scales = [flow.scale for flow in flows_of(layers, ROWS)]
    except NotStreamable:
        return None
    if scales[result] == 1:
        return None
    earliest = len(layers)
    for number in range(len(layers) - 2, 0, -1):
        earliest = min([earliest, *layers[number + 1].inputs])
        if scales[number] == 1 and earliest >= number:
            return layers[: number + 1], _behind(layers, number)
    return None


def _behind(layers: list[Layer], number: int) -> list[Layer]:
    moved = [replace(each, inputs=[source - number for source in each.inputs]) for each in layers[number + 1 :]]
    return [Layer("Input", []), *moved]


class NcnnTail:
    """The layers behind the cut; ``load`` and ``matrix`` as for ``NcnnRows``. Raises ``NotStreamable``."""

    def __init__(self, layers: list[Layer], load: Load, matrix: Callable[[numpy.ndarray], Any]) -> None:
        result = len(layers) - 1
        self._graph = RowGraph.of_layers(layers, result)
        self._rows = NcnnRows(self._graph, load, matrix)
        self.net = load(*files_of(layers, result))
        """All of it at once, for values of fewer than ``least`` rows."""

    def run(self, values: torch.Tensor) -> torch.Tensor:
        """(C, h, W) -> (C, h * scale, W * scale), h of at least ``least`` rows."""
        portions = list(self._portions(values))
        run = self._rows.start()
        places = chain([Place.FIRST], [Place.MIDDLE] * (len(portions) - 2), [Place.LAST])
        return torch.cat([run.step(rows, place) for rows, place in zip(portions, places, strict=True)], dim=1)

    @property
    def least(self) -> int:
        """Rows of a value from which there are two portions."""
        return self._graph.least_rows + 1

    def _portions(self, values: torch.Tensor) -> Iterator[torch.Tensor]:
        height, width = values.shape[1:]
        most = PORTION_VALUES // (self._graph.channels * self._graph.scale**2 * width)
        first = max(most, self._graph.least_rows)
        if height <= first:
            first = height - 1
        borders = [0, *range(first, height, max(most, 1)), height]
        return (values[:, top:bottom] for top, bottom in pairwise(borders))
