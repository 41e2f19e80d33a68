"""Runs a convolutional model over a picture as a stream of rows: exact, without tiles and without a halo.

A chunk of rows passes through every layer before the next is read. Each convolution keeps the last rows of its
input, so nothing is computed twice and only a few rows per layer are held, however tall the picture. Where a
residual meets a branch that lags behind, the leading one waits in a buffer. This is layer-by-layer line buffering
as in depth-first or fused-layer inference (Alwani et al., "Fused-Layer CNN Accelerators", MICRO 2016), over a
graph taken with torch.fx.
"""

from __future__ import annotations

import copy
import operator
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import fx, nn
from torch.nn import functional

_POINTWISE_MODULES = (nn.PReLU, nn.LeakyReLU, nn.ReLU, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Identity, nn.Dropout)
_POINTWISE_FUNCTIONS = (
    functional.leaky_relu,
    functional.relu,
    functional.silu,
    functional.gelu,
    torch.relu,
    torch.sigmoid,
)
_JOINS: dict[str, Callable[..., torch.Tensor]] = {
    "add": operator.add,
    "add_": operator.add,
    "iadd": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "imul": operator.mul,
}
"""By the name of the function (of ``operator`` or ``torch``) or method; those in place work on new rows here."""

Rows = torch.Tensor


class NotStreamable(Exception):
    """The model has a part that needs more than a fixed number of rows, or that is not known here."""


class _Layer:
    """One node of the graph during one run: takes the new rows of its inputs, gives its own new rows."""

    def __init__(self, work: Callable[..., Rows]) -> None:
        self.work = work

    def step(self, inputs: list[Rows], last: bool) -> Rows:
        return self.work(*inputs)


class _Convolution(_Layer):
    """Holds back the rows that its kernel still needs; zeros above the first and below the last row."""

    def __init__(self, module: nn.Conv2d) -> None:
        self.module = module
        self.reach = (module.kernel_size[0] - 1) // 2 * module.dilation[0]
        self.columns = (module.kernel_size[1] - 1) // 2 * module.dilation[1]
        self.kept: Rows | None = None

    def step(self, inputs: list[Rows], last: bool) -> Rows:
        (rows,) = inputs
        if self.kept is None:
            shape = (*rows.shape[:2], self.reach, rows.shape[3])
            self.kept = rows.new_empty(shape).zero_().contiguous(memory_format=_layout(rows))
        parts = [self.kept, rows]
        if last:
            parts.append(torch.zeros_like(self.kept[:, :, :1]).expand(-1, -1, self.reach, -1))
        rows = torch.cat(parts, dim=2) if self.reach else rows
        keep = 0 if last else min(2 * self.reach, rows.shape[2])
        self._keep(rows[:, :, rows.shape[2] - keep :])
        if rows.shape[2] <= 2 * self.reach:
            shape = (rows.shape[0], self.module.out_channels, 0, rows.shape[3])
            return rows.new_empty(shape).contiguous(memory_format=_layout(rows))
        m = self.module
        return functional.conv2d(rows, m.weight, m.bias, 1, (0, self.columns), m.dilation, m.groups)

    def _keep(self, rows: Rows) -> None:
        """A copy, as a view would hold the whole chunk in memory; in the same place each time, as small pieces between
        the large ones would scatter the heap."""
        if self.kept is not None and self.kept.shape == rows.shape:
            self.kept.copy_(rows)
        else:
            self.kept = rows.clone(memory_format=torch.preserve_format)


def _layout(rows: Rows) -> torch.memory_format:
    """The layout that rows are in: joined with rows of another, they would have to be rewritten in every layer."""
    dense = rows.stride(1) == 1 and rows.shape[1] > 1
    return torch.channels_last if dense else torch.contiguous_format


class _Join(_Layer):
    """Brings inputs together row by row; whichever leads waits for the others, in the pieces that it came in."""

    def __init__(self, work: Callable[..., Rows], count: int) -> None:
        super().__init__(work)
        self.waiting: list[deque[Rows]] = [deque() for _ in range(count)]

    def step(self, inputs: list[Rows], last: bool) -> Rows:
        for pieces, rows in zip(self.waiting, inputs, strict=True):
            pieces.append(rows)
        ready = min(sum(piece.shape[2] for piece in pieces) for pieces in self.waiting)
        return self.work(*(_take_rows(pieces, ready) for pieces in self.waiting))


def _take_rows(pieces: deque[Rows], count: int) -> Rows:
    """The first ``count`` rows, which the pieces then no longer hold."""
    taken: list[Rows] = []
    while count > 0 and pieces:
        piece = pieces.popleft()
        taken.append(piece[:, :, :count])
        if piece.shape[2] > count:
            pieces.appendleft(piece[:, :, count:])
        count -= taken[-1].shape[2]
    if not taken:
        return pieces[0][:, :, :0]
    return taken[0] if len(taken) == 1 else torch.cat(taken, dim=2)


@dataclass(frozen=True)
class _Step:
    start: Callable[[], _Layer]
    inputs: tuple[int, ...]
    frees: tuple[int, ...]


class RowStream:
    """A model as a stream: ``run`` takes a picture's rows chunk by chunk and yields its magnified rows.

    Raises ``NotStreamable`` on construction if the model is not made of stride-1 zero-padded convolutions and
    operations on single pixels. The module itself is not changed and shares its weights with the stream.
    """

    def __init__(self, model: nn.Module) -> None:
        self._steps = list(_schedule(model))

    def run(self, chunks: Iterator[torch.Tensor], count: int) -> Iterator[torch.Tensor]:
        """``chunks``: ``count`` pieces (B, C, h, W) from top to bottom -> magnified rows as they become final.

        Equals the model on the whole picture up to rounding.
        """
        layers = [step.start() for step in self._steps]
        tallest = 1
        for index, chunk in enumerate(chunks):
            last = index + 1 == count
            tallest = max(tallest, chunk.shape[2])
            # In the last pass every layer catches up; with a whole chunk on top that would take the most memory.
            parts = (chunk[:, :, :-1], chunk[:, :, -1:]) if last and chunk.shape[2] > 1 else (chunk,)
            for number, part in enumerate(parts, start=1):
                most = tallest / chunk.shape[3]
                for rows in self._pass(layers, 0, {-1: part}, most, last and number == len(parts)):
                    if rows.shape[2]:
                        yield rows

    def _pass(
        self, layers: list[_Layer], start: int, values: dict[int, Rows], most: float, last: bool
    ) -> Iterator[torch.Tensor]:
        """New rows through the layers from number ``start`` on. ``most``: rows for each column of a value that may go
        on together; more of them, as layers give when they catch up, go on in slices."""
        for index in range(start, len(layers)):
            step = self._steps[index]
            rows = layers[index].step([values[i] for i in step.inputs], last)
            for done in step.frees:
                del values[done]
            height = max(1, round(most * rows.shape[3]))
            if last and rows.shape[2] > height and index + 1 < len(layers):
                yield from self._slices(layers, index, rows, values, most, height)
                return
            values[index] = rows
        yield values[len(layers) - 1]

    def _slices(
        self, layers: list[_Layer], index: int, rows: Rows, values: dict[int, Rows], most: float, height: int
    ) -> Iterator[torch.Tensor]:
        """``rows`` of layer ``index`` in slices through the layers after it. Other values wait there for theirs."""
        nothing = {i: value[:, :, :0].clone(memory_format=torch.preserve_format) for i, value in values.items()}
        pieces = deque(cast("tuple[Rows, ...]", rows.split(height, dim=2)))  # pyright: ignore[reportUnknownMemberType]
        del rows
        while pieces:
            piece = pieces.popleft()
            yield from self._pass(layers, index + 1, {**values, index: piece}, most, not pieces)
            values = nothing

    @property
    def rows_kept(self) -> int:
        """Channels times rows that all convolutions keep: what a column of the picture costs in memory, in values.
        Residuals that wait for a branch come on top."""
        layers = [step.start() for step in self._steps]
        convolutions = [layer for layer in layers if isinstance(layer, _Convolution)]
        return sum(2 * layer.reach * layer.module.in_channels for layer in convolutions)


def _schedule(model: nn.Module) -> Iterator[_Step]:
    graph, modules = _trace(model)
    place: dict[fx.Node, int] = {}
    plan: list[tuple[Callable[[], _Layer], tuple[int, ...]]] = []
    for node in graph.nodes:
        if node.op == "placeholder":
            place[node] = -1
        elif node.op == "output":
            if place[node.all_input_nodes[0]] != len(plan) - 1 or len(node.all_input_nodes) != 1:
                raise NotStreamable("the model's result is not its last operation")
        else:
            plan.append((_layer(node, modules), tuple(place[i] for i in _inputs(node))))
            place[node] = len(plan) - 1
    last_use = {source: index for index, (_, inputs) in enumerate(plan) for source in inputs}
    for index, (start, inputs) in enumerate(plan):
        yield _Step(start, inputs, tuple({i for i in inputs if last_use[i] == index}))


def _trace(model: nn.Module) -> tuple[fx.Graph, dict[str, nn.Module]]:
    # A copy that shares the weights: some models (SPAN) keep on themselves what they compute, which is a proxy here.
    weights = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    try:
        return fx.Tracer().trace(copy.deepcopy(model, weights)), dict(
            cast("Iterator[tuple[str, nn.Module]]", model.named_modules())
        )
    except Exception as error:  # noqa: BLE001 - tracing runs the model's own code, which may raise anything
        raise NotStreamable(str(error)) from None


def _inputs(node: fx.Node) -> list[fx.Node]:
    """The node's inputs in order, with repeats (``x + x``)."""
    found: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), lambda n: found.append(n) or n)
    return found


def _layer(node: fx.Node, modules: dict[str, nn.Module]) -> Callable[[], _Layer]:
    if node.op == "call_module":
        return _module_layer(modules[str(node.target)])
    if node.op == "call_function" and node.target in _POINTWISE_FUNCTIONS:
        return partial(_Layer, _bound(node, cast("Callable[..., Rows]", node.target)))
    if node.op == "call_function" and node.target is functional.interpolate:
        return _nearest(node)
    if node.op == "call_function" and node.target in (torch.cat, torch.concat):
        return _channel_join(node)
    name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", "")
    work = _JOINS.get(name) if node.op in ("call_function", "call_method") else None
    if work is None:
        raise NotStreamable(f"{node.op} {node.target}")
    return partial(_Join, _bound(node, work), len(_inputs(node)))


def _bound(node: fx.Node, work: Callable[..., Rows]) -> Callable[..., Rows]:
    """``work`` with the node's constants filled in, as a function of its tensors in order."""

    def call(*tensors: Rows) -> Rows:
        rest = iter(tensors)
        arguments = fx.map_arg(node.args, lambda _: next(rest))
        options = fx.map_arg(node.kwargs, lambda _: next(rest))
        return work(*arguments, **{**options, **({"inplace": False} if "inplace" in options else {})})

    return call


def _module_layer(module: nn.Module) -> Callable[[], _Layer]:
    if isinstance(module, nn.Conv2d):
        same = tuple((k - 1) // 2 * d for k, d in zip(module.kernel_size, module.dilation, strict=True))
        odd = all(k % 2 for k in module.kernel_size)
        if module.stride != (1, 1) or module.padding != same or module.padding_mode != "zeros" or not odd:
            raise NotStreamable(f"{module}")
        return partial(_Convolution, module)
    if isinstance(module, _POINTWISE_MODULES):
        return partial(_Layer, _out_of_place(module))
    if isinstance(module, nn.PixelShuffle):
        return partial(_Layer, module)
    if isinstance(module, nn.Upsample) and module.mode == "nearest" and module.scale_factor:
        return partial(_Layer, _magnify(module.scale_factor))
    raise NotStreamable(f"{module}")


def _out_of_place(module: nn.Module) -> Callable[..., Rows]:
    """An activation that overwrites its input would change rows that another layer has kept."""
    if isinstance(module, nn.LeakyReLU):
        return partial(functional.leaky_relu, negative_slope=module.negative_slope)
    if isinstance(module, nn.ReLU):
        return functional.relu
    if isinstance(module, nn.SiLU):
        return functional.silu
    return module


def _nearest(node: fx.Node) -> Callable[[], _Layer]:
    options = node.kwargs
    if options.get("mode", "nearest") != "nearest" or options.get("size") is not None or len(node.args) != 1:
        raise NotStreamable("interpolation over rows")
    return partial(_Layer, _magnify(options.get("scale_factor")))


def _magnify(factor: object) -> Callable[..., Rows]:
    if not isinstance(factor, (int, float)) or factor != int(factor):
        raise NotStreamable(f"magnification by {factor}")
    times = float(factor)

    def magnify(rows: Rows) -> Rows:
        if not rows.shape[2]:
            return rows.new_empty((*rows.shape[:3], int(rows.shape[3] * times)))
        return functional.interpolate(rows, scale_factor=times, mode="nearest")

    return magnify


def _channel_join(node: fx.Node) -> Callable[[], _Layer]:
    axis = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
    if axis not in (1, -3):
        raise NotStreamable(f"concatenation along axis {axis}")
    return partial(_Join, lambda *tensors: torch.cat(tensors, dim=1), len(_inputs(node)))
