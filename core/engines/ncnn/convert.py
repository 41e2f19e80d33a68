"""Writes a network as the two files of an ncnn model: ``.param``, the graph as text, and ``.bin``, the weights.

The format is that of ncnn's tools (https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure), and the names
of input and output, ``data`` and ``output``, are those of the releases of realesrgan-ncnn-vulkan. The graph is taken
with torch.fx, so sizes stay free.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import fx, nn

from ....model_loader.errors import one_line
from ..fuse import Normalise

INPUT, OUTPUT = "data", "output"
_MAGIC = 7767517
_FP32, _FP16 = struct.pack("<I", 0), struct.pack("<I", 0x01306B47)
_ADD, _SUBTRACT, _MULTIPLY, _REVERSED_SUBTRACT = 0, 1, 2, 7


class NotWritable(Exception):
    """The network has an operation that is not known here. The message names it."""


@dataclass
class Layer:
    """One line of the ``.param`` file. ``inputs`` are the numbers of other layers; ``weights`` come with whether they
    are tagged with their type and may be stored in half precision."""

    kind: str
    inputs: list[int]
    options: dict[int, str] = field(default_factory=dict[int, str])
    weights: list[tuple[torch.Tensor, bool]] = field(default_factory=list[tuple[torch.Tensor, bool]])


def ncnn_files(network: nn.Module, *, half: bool = False) -> tuple[bytes, bytes]:
    """The content of ``.param`` and ``.bin`` for a network that ``fuse_for_export`` gave; ``half`` stores the weights
    of convolutions in half precision. Raises ``NotWritable``."""
    return files_of(*ncnn_layers(network), half=half)


def ncnn_layers(network: nn.Module) -> tuple[list[Layer], int]:
    """The layers of a network that ``fuse_for_export`` gave, each after those it reads, and the number of the one that
    gives the result, which nobody else reads. Raises ``NotWritable``."""
    layers, result = _Graph(network).layers()
    if any(result in layer.inputs for layer in layers):
        layers.append(Layer("Noop", [result]))
        result = len(layers) - 1
    return layers, result


def files_of(layers: list[Layer], result: int, *, half: bool = False) -> tuple[bytes, bytes]:
    """The content of ``.param`` and ``.bin``. The picture is layer 0; values that nobody reads, and further inputs, go
    by the numbers of their layers."""
    return _param(layers, result).encode("ascii"), b"".join(
        _stored(weight, tagged, half) for layer in layers for weight, tagged in layer.weights
    )


def _stored(weight: torch.Tensor, tagged: bool, half: bool) -> bytes:
    values = weight.detach().contiguous()
    if not tagged:
        return values.float().numpy().tobytes()
    if not half:
        return _FP32 + values.float().numpy().tobytes()
    content = values.half().numpy().tobytes()
    return _FP16 + content + b"\0" * (-len(content) % 4)


def _param(layers: list[Layer], result: int) -> str:
    """The text, with a Split layer after each layer that several others read, as ncnn demands."""
    uses: dict[int, int] = {}
    for layer in layers:
        for source in layer.inputs:
            uses[source] = uses.get(source, 0) + 1
    uses[result] = uses.get(result, 0) + 1
    taken: dict[int, int] = {}

    def name(source: int) -> str:
        last = OUTPUT if source == result and uses[source] == 1 else str(source)
        return INPUT if source == 0 else last

    def blob(source: int) -> str:
        if uses[source] == 1:
            return name(source)
        taken[source] = taken.get(source, 0) + 1
        return f"{source}_{taken[source]}"

    lines: list[str] = []
    blobs = 0
    for number, layer in enumerate(layers):
        count = uses.get(number, 0)
        own = name(number)
        names = " ".join(blob(source) for source in layer.inputs)
        options = "".join(f" {key}={value}" for key, value in layer.options.items())
        lines.append(f"{layer.kind} {number} {len(layer.inputs)} 1 {names} {own}{options}".replace("  ", " "))
        blobs += 1
        if count > 1:
            copies = " ".join(f"{number}_{index + 1}" for index in range(count))
            lines.append(f"Split split_{number} 1 {count} {own} {copies}")
            blobs += count
    return f"{_MAGIC}\n{len(lines)} {blobs}\n" + "\n".join(lines) + "\n"


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Normalise) or super().is_leaf_module(m, module_qualified_name)


class _Graph:
    """Turns the nodes of a traced network into layers, one after the other."""

    def __init__(self, network: nn.Module) -> None:
        try:
            self._nodes = list(_Tracer().trace(network).nodes)
        except Exception as error:  # tracing runs the model's own code
            raise NotWritable(f"a step that depends on the picture ({one_line(error, 80)})") from error
        self._modules = dict(cast("Iterator[tuple[str, nn.Module]]", network.named_modules()))
        self._layers: list[Layer] = []
        self._place: dict[fx.Node, int] = {}
        self._memory: dict[fx.Node, fx.Node] = {}
        """By node, the one whose memory its value lies in, where an operation in place gave it."""

    def layers(self) -> tuple[list[Layer], int]:
        """The layers and the number of the one that gives the result."""
        for node in self._nodes:
            if node.op == "output":
                return self._layers, self.place(node.all_input_nodes[0])
            if node.op == "placeholder":
                self._place[node] = self._add("Input", [])
            elif node.op == "call_module":
                self._module(node, self._modules[str(node.target)])
            else:
                self._function(node)
        raise NotWritable("no result")

    def place(self, value: object) -> int:
        """The layer that gives the present value of a node."""
        if not isinstance(value, fx.Node):
            raise NotWritable(f"an operation on a {type(value).__name__}")
        return self._place[self._memory.get(value, value)]

    def _add(
        self, kind: str, inputs: list[int], options: dict[int, str] | None = None, *weights: tuple[torch.Tensor, bool]
    ) -> int:
        self._layers.append(Layer(kind, inputs, options or {}, list(weights)))
        return len(self._layers) - 1

    def _settle(self, node: fx.Node, place: int, *, in_place: bool) -> None:
        """Remembers where the value of a node is. After an operation in place, who reads its first input reads its
        result."""
        first = _arguments(node)[0]
        if in_place and isinstance(first, fx.Node):
            self._memory[node] = self._memory.get(first, first)
        self._place[self._memory.get(node, node)] = place

    def _function(self, node: fx.Node) -> None:
        name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
        if name not in _FUNCTIONS:
            raise NotWritable(f"the operation {name}")
        in_place = name in _IN_PLACE or bool(node.kwargs.get("inplace"))
        self._settle(node, _FUNCTIONS[name](self, node), in_place=in_place)

    def _module(self, node: fx.Node, module: nn.Module) -> None:
        in_place = isinstance(module, (nn.Identity, nn.Dropout)) or bool(getattr(module, "inplace", False))
        self._settle(node, self._layer(node, module), in_place=in_place)

    def _layer(self, node: fx.Node, module: nn.Module) -> int:
        source = self.place(_arguments(node)[0])
        if isinstance(module, (nn.Identity, nn.Dropout)):
            return source
        if isinstance(module, nn.Conv2d):
            return self._convolution(source, module)
        if isinstance(module, Normalise):
            return self._convolution(source, _as_convolution(module))
        if isinstance(module, nn.PReLU):
            return self._add("PReLU", [source], {0: str(module.num_parameters)}, (module.weight, False))
        if isinstance(module, nn.PixelShuffle):
            return self._add("PixelShuffle", [source], {0: str(module.upscale_factor)})
        if isinstance(module, nn.PixelUnshuffle):
            return self._add("Reorg", [source], {0: str(module.downscale_factor)})
        if isinstance(module, nn.Upsample):
            return self._interpolation(source, module.scale_factor, module.size, module.mode, module.align_corners)
        if isinstance(module, nn.LeakyReLU):
            return self.slope(node, module.negative_slope, in_place=module.inplace)
        if isinstance(module, nn.ReLU):
            return self.slope(node, 0.0, in_place=module.inplace)
        if isinstance(module, nn.SiLU):
            return self._add("Swish", [source])
        if isinstance(module, nn.Sigmoid):
            return self._add("Sigmoid", [source])
        raise NotWritable(f"the layer {type(module).__name__}")

    def _convolution(self, source: int, module: nn.Conv2d) -> int:
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            raise NotWritable(f"a convolution with {module.padding_mode} {module.padding} padding")
        height, width = module.kernel_size
        options = {0: module.out_channels, 1: width, 11: height, 2: module.dilation[1], 12: module.dilation[0],
                   3: module.stride[1], 13: module.stride[0], 4: module.padding[1], 14: module.padding[0],
                   5: int(module.bias is not None), 6: module.weight.numel()}  # fmt: skip
        if module.groups > 1:
            options[7] = module.groups
        weights = [(module.weight, True)] + ([(module.bias, False)] if module.bias is not None else [])
        kind = "Convolution" if module.groups == 1 else "ConvolutionDepthWise"
        return self._add(kind, [source], {key: str(value) for key, value in options.items()}, *weights)

    def slope(self, node: fx.Node, slope: float, *, in_place: bool = False) -> int:
        """ReLU, leaky for ``slope`` above 0; done by the convolution before it where nobody else reads that."""
        before = _arguments(node)[0]
        source = self.place(before)
        layer = self._layers[source]
        only = len(before.users) == 1 or (in_place and not any(source in other.inputs for other in self._layers))
        if layer.kind.startswith("Convolution") and 9 not in layer.options and only:
            layer.options |= {9: "2", -23310: f"1,{slope:.9e}"} if slope else {9: "1"}
            return source
        return self._add("ReLU", [source], {0: f"{slope:.9e}"})

    def _interpolation(self, source: int, factor: Any, size: Any, mode: str, align_corners: Any) -> int:
        kinds = {"nearest": "1", "bilinear": "2"}
        factors = cast("tuple[Any, ...]", factor if isinstance(factor, tuple) else (factor, factor))
        if size is not None or mode not in kinds or align_corners or any(f is None or f != int(f) for f in factors):
            raise NotWritable(f"{mode} interpolation by {factor} to {size}")
        options = {0: kinds[mode], 1: f"{float(factors[0]):.6e}", 2: f"{float(factors[1]):.6e}"}
        return self._add("Interp", [source], options)

    def interpolate(self, node: fx.Node) -> int:
        given = ["input", "size", "scale_factor", "mode", "align_corners"]
        options: dict[str, Any] = {"mode": "nearest", **dict(zip(given, _arguments(node), strict=False)), **node.kwargs}
        source = self.place(options["input"])
        factor, size = options.get("scale_factor"), options.get("size")
        return self._interpolation(source, factor, size, options["mode"], options.get("align_corners"))

    def join(self, node: fx.Node) -> int:
        tensors, *rest = _arguments(node)
        axis = node.kwargs.get("dim", rest[0] if rest else 0)
        if axis not in (1, -3):
            raise NotWritable(f"concatenation along axis {axis}")
        return self._add("Concat", [self.place(each) for each in tensors], {0: "0"})

    def arithmetic(self, node: fx.Node, code: int) -> int:
        if node.kwargs:
            raise NotWritable(f"arithmetic with {', '.join(node.kwargs)}")
        left, right = _arguments(node)
        if isinstance(left, fx.Node) and isinstance(right, fx.Node):
            return self._between(left, right, code)
        if isinstance(left, fx.Node):
            return self._with_number(left, code, right)
        return self._with_number(right, _REVERSED_SUBTRACT if code == _SUBTRACT else code, left)

    def _with_number(self, value: object, code: int, number: object) -> int:
        return self._add("BinaryOp", [self.place(value)], {0: str(code), 1: "1", 2: f"{_number(number):.9e}"})

    def _between(self, left: fx.Node, right: fx.Node, code: int) -> int:
        inputs = [self.place(left), self.place(right)]
        scaled = self._layers[inputs[0]]
        factor = scaled.options.get(2) if scaled.kind == "BinaryOp" and scaled.options.get(0) == "2" else None
        if code != _ADD or factor is None or len(left.users) != 1 or inputs[0] != len(self._layers) - 1:
            return self._add("BinaryOp", inputs, {0: str(code)})
        # A scaled residual in one pass over memory.
        self._layers.pop()
        return self._add("Eltwise", [scaled.inputs[0], inputs[1]], {0: "1", -23301: f"2,{factor},1.0"})

    def pointwise(self, node: fx.Node, kind: str) -> int:
        return self._add(kind, [self.place(_arguments(node)[0])])

    def rectify(self, node: fx.Node) -> int:
        return self.slope(node, 0.0)

    def leak(self, node: fx.Node) -> int:
        _, *rest = _arguments(node)
        return self.slope(node, _number(node.kwargs.get("negative_slope", rest[0] if rest else 0.01)))

    def shuffle(self, node: fx.Node, kind: str) -> int:
        source, *rest = _arguments(node)
        factor = rest[0] if rest else next(iter(node.kwargs.values()))
        return self._add(kind, [self.place(source)], {0: str(factor)})


def _arguments(node: fx.Node) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", node.args)


def _as_convolution(module: Normalise) -> nn.Conv2d:
    """ncnn's own Scale layer crashes on the picture itself, which it would overwrite."""
    mean = cast("torch.Tensor", module.mean).flatten()
    convolution = nn.Conv2d(len(mean), len(mean), 1)
    convolution.weight.data = torch.diag(torch.full_like(mean, module.gain))[:, :, None, None]
    assert convolution.bias is not None
    convolution.bias.data = -mean * module.gain
    return convolution


def _number(value: object) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    raise NotWritable(f"arithmetic with a {type(value).__name__}")


_FUNCTIONS: dict[str, Callable[[_Graph, fx.Node], int]] = {
    **dict.fromkeys(("add", "add_"), lambda graph, node: graph.arithmetic(node, _ADD)),
    **dict.fromkeys(("sub", "sub_"), lambda graph, node: graph.arithmetic(node, _SUBTRACT)),
    **dict.fromkeys(("mul", "mul_"), lambda graph, node: graph.arithmetic(node, _MULTIPLY)),
    **dict.fromkeys(("cat", "concat"), _Graph.join),
    "interpolate": _Graph.interpolate,
    "sigmoid": lambda graph, node: graph.pointwise(node, "Sigmoid"),
    "silu": lambda graph, node: graph.pointwise(node, "Swish"),
    "relu": _Graph.rectify,
    "leaky_relu": _Graph.leak,
    "pixel_shuffle": lambda graph, node: graph.shuffle(node, "PixelShuffle"),
    "pixel_unshuffle": lambda graph, node: graph.shuffle(node, "Reorg"),
}
"""By the name of the function (of ``torch`` or ``operator``) or method."""

_IN_PLACE = ("add_", "sub_", "mul_")
"""``x += y`` is traced as ``x = x + y``; whoever reads the old x is found out by ``verify``."""
