"""Streams rows through ncnn: the exact result without a halo, as ``rowstream`` does in PyTorch.

The graph is rewritten so that every convolution reads, above the new rows of its input, the last ones of the portion
before, and every join waits for the branch that lags behind; what the next portion needs comes out as further results.
Three versions of the graph do it: for the first portion, for those in the middle, and for the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import numpy
import torch
from torch import nn

from ...errors import ModelOutputError, OutOfMemory
from .convert import INPUT, OUTPUT, Layer, files_of, ncnn_layers
from .pools import pools

MOST_PARAMETERS = 5_000_000
"""Each version keeps its own weights, made ready for Winograd convolutions, several times their size."""

CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
JOINS = ("BinaryOp", "Eltwise", "Concat")
SINGLE_PIXELS = ("PReLU", "ReLU", "Sigmoid", "Swish", "Noop")

OUT_OF_MEMORY = -100
_END = "-233"
"""ncnn's sign for the end of an axis."""

STOP_EVERY = 8
"""Convolutions after which memory is given back in the last portion, where each layer has more rows than the one before
and no block fits again."""

SHAPE_HINT = -23330
"""Option of ncnn for the shape of a layer's result. Without any, a convolution of more than 32 channels prepares its
weights for Winograd blocks of 4x4, whatever the settings say; the numbers in it do not matter."""

ROWS, COLUMNS = (11, 12, 13, 14), (1, 2, 3, 4)
"""Options of a convolution along either side: size, dilation and stride of the kernel, and the padding before."""

Load = Callable[[bytes, bytes], Any]


class Place(IntEnum):
    """Of a portion in the picture."""

    FIRST = 0
    MIDDLE = 1
    LAST = 2


class NotStreamable(Exception):
    """The graph has a layer that needs more than a fixed number of rows, or that is not known here."""


@dataclass
class _Version:
    """A graph rewritten for a ``portion``. ``place``: where each layer of the original is in it. ``taken``: the layers
    through which rows of the last portion come in; ``left``: those that give them for the next, in the same order."""

    portion: Place
    layers: list[Layer] = field(default_factory=list[Layer])
    place: dict[int, int] = field(default_factory=dict[int, int])
    taken: list[int] = field(default_factory=list[int])
    left: list[int] = field(default_factory=list[int])

    @property
    def stops(self) -> list[int]:
        """Layers after which memory is given back."""
        convolutions = [number for number, layer in enumerate(self.layers) if layer.kind in CONVOLUTIONS]
        return convolutions[STOP_EVERY - 1 : -1 : STOP_EVERY] if self.portion is Place.LAST else []

    def add(self, layer: Layer) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1

    def with_carried(self, source: int, rows: int) -> int:
        """The rows that the last portion left above those of ``source``; leaves ``rows`` for the next."""
        if self.portion is not Place.FIRST:
            self.taken.append(self.add(Layer("Input", [])))
            source = self.add(Layer("Concat", [self.taken[-1], source], {0: "1"}))
        if self.portion is not Place.LAST:
            self.left.append(self.add(_crop(source, f"-{rows}", _END)))
        return source


def _crop(source: int, start: str, end: str) -> Layer:
    return Layer("Crop", [source], {-23309: f"1,{start}", -23310: f"1,{end}", -23311: "1,1"})


class RowGraph:
    """A network rewritten to be a stream of rows.

    Raises ``NotStreamable`` for networks that cannot be one, and what ``ncnn_layers`` raises.
    """

    def __init__(self, network: nn.Module) -> None:
        self._rewrite(*ncnn_layers(network))

    @classmethod
    def of_layers(cls, layers: list[Layer], result: int) -> RowGraph:
        """Of a part of a network; ``layers`` as ``ncnn_layers`` gives them."""
        graph = cls.__new__(cls)
        graph._rewrite(layers, result)
        return graph

    def _rewrite(self, layers: list[Layer], result: int) -> None:
        numbers = sum(weight.numel() for layer in layers for weight, _ in layer.weights)
        if numbers > MOST_PARAMETERS:
            raise NotStreamable(f"more than {MOST_PARAMETERS:,} parameters")
        self._result = result
        flows = flows_of(layers, ROWS)
        self.least_rows = _least_rows(layers, flows)
        """The first portion must have as many, so that rows come out of every layer, and are left for the next."""
        self.columns = _context(flows_of(layers, COLUMNS))
        """Columns on either side of a pixel that its result depends on."""
        self.channels = max(int(layer.options[0]) for layer in layers if layer.kind in CONVOLUTIONS)
        """Of the result of the largest convolution."""
        self.scale = flows[result].scale
        self.versions = [_rewritten(layers, flows, portion) for portion in Place]

    def files(self) -> Iterator[tuple[bytes, bytes]]:
        """Contents of ``.param`` and ``.bin`` of each version."""
        return (files_of(version.layers, version.place[self._result]) for version in self.versions)


class NcnnRows:
    """A network as streams of rows through ncnn. ``load`` makes a net of the contents of ``.param`` and ``.bin``."""

    def __init__(self, graph: RowGraph, load: Load, matrix: Callable[[numpy.ndarray], Any]) -> None:
        self._graph, self._matrix = graph, matrix
        self._nets = [load(*files) for files in graph.files()]

    def start(self, thread: int = 0) -> RowsRun:
        """A picture, or a part of one, whose portions are run in the thread with this number."""
        return RowsRun(self._graph.versions, self._nets, self._matrix, pools(thread))


class RowsRun:
    """The rows of one picture on their way through the network."""

    def __init__(
        self,
        versions: list[_Version],
        nets: list[Any],
        matrix: Callable[[numpy.ndarray], Any],
        memory: tuple[Any, Any],
    ) -> None:
        self._versions, self._nets, self._matrix, self._memory = versions, nets, matrix, memory
        self._carried: list[Any] = []

    def step(self, portion: torch.Tensor, place: Place) -> torch.Tensor:
        """The next portion (C, h, W) of the picture, from top to bottom, the first of ``least_rows`` or more -> the
        rows (C, h, W) that it completes. All of them equal the network on the whole picture up to rounding."""
        version = self._versions[place]
        extractor = self._nets[place].create_extractor()
        extractor.set_blob_allocator(self._memory[0])
        extractor.set_workspace_allocator(self._memory[1])
        extractor.input(INPUT, self._matrix(portion.contiguous().numpy()))
        for name, rows in zip(version.taken, self._carried, strict=True):
            extractor.input(str(name), rows)
        for stop in version.stops:
            _extract(extractor, str(stop), 1)
            self._release()
        # Packed as ncnn computes with them. Before the result, as layers that have yet to give rows keep their memory.
        self._carried = [_extract(extractor, str(name), 1) for name in version.left]
        result = torch.as_tensor(numpy.array(_extract(extractor, OUTPUT)))
        if place is Place.FIRST:
            # Its portion is the tallest, and blocks of that size suit no other.
            del extractor
            self._release()
        return result

    def _release(self) -> None:
        for pool in self._memory:
            pool.clear()


def _extract(extractor: Any, name: str, packed: int = 0) -> Any:
    code, value = extractor.extract(name, packed)
    if code == OUT_OF_MEMORY:
        raise OutOfMemory("ncnn ran out of memory")
    if code != 0 or value.empty():
        raise ModelOutputError(f"ncnn failed at the value {name} (code {code}); use the engine pytorch.")
    return value


@dataclass(frozen=True)
class Flow:
    """How the rows of a layer come: ``scale`` of them for each of the picture, the last ``lag`` not before more of the
    picture is there. The same along the other side."""

    scale: int
    lag: int

    def scaled(self, factor: int) -> Flow:
        return Flow(self.scale * factor, self.lag * factor)


def _context(flows: list[Flow]) -> int:
    """Pixels of the picture on either side of one that its result depends on."""
    return max(-(-flow.lag // flow.scale) for flow in flows)


def _least_rows(layers: list[Layer], flows: list[Flow]) -> int:
    """Rows of the picture in a first portion. A convolution leaves the last ``2 * reach`` rows of what it reads, and
    ncnn's Crop would begin above the first row if there were fewer."""
    least = _context(flows) + 1
    for layer in layers:
        if layer.kind in CONVOLUTIONS:
            before = flows[layer.inputs[0]]
            least = max(least, -(-(before.lag + 2 * _reach(layer)) // before.scale))
    return least


def flows_of(layers: list[Layer], side: tuple[int, int, int, int]) -> list[Flow]:
    """By layer. Raises ``NotStreamable``."""
    flows: list[Flow] = []
    for layer in layers:
        flows.append(_flow(layer, [flows[source] for source in layer.inputs], side))
    return flows


def _flow(layer: Layer, before: list[Flow], side: tuple[int, int, int, int]) -> Flow:
    if layer.kind == "Input":
        return Flow(1, 0)
    if layer.kind in CONVOLUTIONS:
        return replace(before[0], lag=before[0].lag + _reach(layer, side))
    if layer.kind in SINGLE_PIXELS or layer.kind in JOINS:
        return max(before, key=lambda flow: flow.lag)
    if layer.kind == "PixelShuffle":
        return before[0].scaled(int(layer.options[0]))
    if layer.kind == "Interp" and layer.options[0] == "1" and float(layer.options[1]).is_integer():
        return before[0].scaled(int(float(layer.options[1])))
    raise NotStreamable(f"the layer {layer.kind}")


def _reach(layer: Layer, side: tuple[int, int, int, int] = ROWS) -> int:
    """Pixels before and after one that a convolution reads."""
    size, dilation, stride, padding = (int(layer.options[key]) for key in side)
    reach = (size - 1) // 2 * dilation
    if stride != 1 or size % 2 == 0 or padding != reach:
        raise NotStreamable("a convolution that changes the number of rows or columns")
    return reach


def _rewritten(layers: list[Layer], flows: list[Flow], portion: Place) -> _Version:
    version = _Version(portion)
    for number, layer in enumerate(layers):
        sources = [version.place[source] for source in layer.inputs]
        if layer.kind in CONVOLUTIONS and (reach := _reach(layer)):
            version.place[number] = _convolution(version, layer, sources[0], reach)
            continue
        if layer.kind in JOINS:
            waits = [flows[number].lag - flows[source].lag for source in layer.inputs]
            sources = [_delayed(version, *each) for each in zip(sources, waits, strict=True)]
        version.place[number] = version.add(replace(layer, inputs=sources))
    return version


def _convolution(version: _Version, layer: Layer, source: int, reach: int) -> int:
    """Zeros only above the first row of the picture and below its last."""
    source = version.with_carried(source, 2 * reach)
    borders = {
        14: str(reach if version.portion is Place.FIRST else 0),
        16: str(reach if version.portion is Place.LAST else 0),
    }
    # Without its own key, the padding on the right is that on the left.
    options = {**layer.options, **borders, 15: layer.options[4], SHAPE_HINT: f"4,3,64,64,{layer.options[0]}"}
    return version.add(replace(layer, inputs=[source], options=options))


def _delayed(version: _Version, source: int, rows: int) -> int:
    """``source`` so many rows late."""
    if not rows:
        return source
    source = version.with_carried(source, rows)
    return source if version.portion is Place.LAST else version.add(_crop(source, "0", f"-{rows}"))
