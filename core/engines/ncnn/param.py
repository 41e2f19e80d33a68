"""Reads what is needed from the text of an ncnn ``.param`` file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ..registry import EngineUnusable

_MAGIC = "7767517"
_CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
_POINTWISE = (
    "Input", "Split", "Concat", "PReLU", "ReLU", "Swish", "Sigmoid", "Eltwise", "BinaryOp", "UnaryOp", "Scale", "Noop",
    "Dropout", "PixelShuffle", "Interp", "Clip", "GELU", "HardSwish", "Mish",
)  # fmt: skip
"""Layers whose result depends on the pixel itself only, or on those it is made larger from."""


@dataclass(frozen=True)
class Layer:
    """One line: kind, blobs read and written, options by number."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: dict[int, str]

    def number(self, key: int, default: int = 0) -> int:
        return int(float(self.options.get(key, default)))


@dataclass(frozen=True)
class ParamFile:
    """The graph of a model with one input and one output."""

    layers: tuple[Layer, ...]

    @property
    def input(self) -> str:
        return next(layer.outputs[0] for layer in self.layers if layer.kind == "Input")

    @property
    def output(self) -> str:
        read = {name for layer in self.layers for name in layer.inputs}
        return next(name for layer in reversed(self.layers) for name in layer.outputs if name not in read)

    @property
    def channels(self) -> int:
        """Of the picture that it takes."""
        unshuffled = 1
        for layer in self.layers:
            if layer.kind == "Reorg":
                unshuffled *= layer.number(0, 1) ** 2
            if layer.kind == "Convolution":
                kernel = layer.number(1) * layer.number(11, layer.number(1))
                return max(1, layer.number(6) // (layer.number(0) * kernel) // unshuffled)
        return 3

    @property
    def values_per_pixel(self) -> float:
        """Values of the largest thing that a convolution reads or writes, for each pixel of the picture."""
        area: dict[str, float] = {}
        largest = 1.0
        for layer in self.layers:
            before = max((area.get(name, 1.0) for name in layer.inputs), default=1.0)
            after = before * _magnification(layer)
            area.update(dict.fromkeys(layer.outputs, after))
            if layer.kind in _CONVOLUTIONS:
                largest = max(largest, after * layer.number(0), before * _channels_read(layer))
        return largest

    def stand_in(self) -> nn.Module:
        """A chain of convolutions with the reach of all convolutions of the model, or a network of unknown reach."""
        chain: list[nn.Module] = [nn.Conv2d(1, 1, 1)]
        for layer in self.layers:
            if layer.kind in _CONVOLUTIONS and layer.number(3, 1) == 1:
                size = (layer.number(11, layer.number(1)), layer.number(1))
                step = (layer.number(12, layer.number(2, 1)), layer.number(2, 1))
                chain.append(nn.Conv2d(1, 1, size, dilation=step))
            elif layer.kind not in _POINTWISE:
                return nn.Sequential(*chain, nn.AdaptiveAvgPool2d(1))
        return nn.Sequential(*chain)


def _channels_read(layer: Layer) -> int:
    """Those of a dense convolution, from the number of its weights; a depthwise one reads what it writes."""
    if layer.kind != "Convolution":
        return 0
    kernel = layer.number(1) * layer.number(11, layer.number(1))
    return layer.number(6) // max(layer.number(0) * kernel, 1)


def read_param(path: Path) -> ParamFile:
    """Raises ``EngineUnusable`` for a file that is no graph of one picture."""
    try:
        return parse_param(path.read_text(encoding="ascii"))
    except (OSError, ValueError, IndexError, StopIteration) as error:
        raise EngineUnusable(f"{path.name} is not the graph of an ncnn model ({error or 'nothing in it'})") from error


def parse_param(text: str) -> ParamFile:
    """Raises ``ValueError``, ``IndexError`` or ``StopIteration`` for a text that is no graph of one picture."""
    lines = text.splitlines()
    if lines[0].strip() != _MAGIC:
        raise ValueError(f"it does not start with {_MAGIC}")
    file = ParamFile(tuple(_layer(line.split()) for line in lines[2:] if line.strip()))
    if not (file.input and file.output):
        raise ValueError("no input or output")
    return file


def _magnification(layer: Layer) -> float:
    """Pixels that a layer gives for each that it takes."""
    if layer.kind in _CONVOLUTIONS:
        across = layer.number(3, 1)
        return 1.0 / (across * layer.number(13, across))
    if layer.kind == "PixelShuffle":
        return float(layer.number(0, 1) ** 2)
    if layer.kind == "Reorg":
        return 1.0 / layer.number(0, 1) ** 2
    if layer.kind == "Interp":
        return float(layer.options.get(1, 1.0)) * float(layer.options.get(2, 1.0))
    return 1.0


def _layer(words: list[str]) -> Layer:
    inputs, outputs = int(words[2]), int(words[3])
    blobs, options = words[4 : 4 + inputs + outputs], words[4 + inputs + outputs :]
    pairs = (option.partition("=") for option in options)
    return Layer(words[0], tuple(blobs[:inputs]), tuple(blobs[inputs:]), {int(key): value for key, _, value in pairs})
