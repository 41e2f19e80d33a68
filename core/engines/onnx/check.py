"""Checks an ONNX file that somebody else made before ONNX Runtime sees it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ....model_loader.errors import one_line
from ..registry import EngineUnusable

MOST_BYTES = (1 << 31) - 1
"""That the format can hold in one file."""
MOST_NODES = 20_000
"""The networks of the field have up to some 10,000 when they are written with every small step."""
MOST_CHANNELS = 4
MOST_VALUES = 1 << 30
"""Of one tensor."""

_OWN_DOMAINS = ("", "ai.onnx")
_CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_BYTES = {"FLOAT": 4, "UINT8": 1, "INT8": 1, "UINT16": 2, "INT16": 2, "INT32": 4, "INT64": 8, "BOOL": 1, "FLOAT16": 2,
          "DOUBLE": 8, "UINT32": 4, "UINT64": 8, "BFLOAT16": 2}  # fmt: skip
_FIELDS = {"FLOAT": "float_data", "DOUBLE": "double_data", "INT64": "int64_data", "UINT32": "uint64_data",
           "UINT64": "uint64_data"}  # fmt: skip
"""Where the values are that are not kept as bytes; ``int32_data`` for all others."""


class _Refused(ValueError):
    """The message is a clause."""


def check_onnx(main: Path) -> None:
    """Raises ``EngineUnusable`` for a file that is no graph of ONNX's own operators from one picture to another, all of
    whose weights are in it, or one that holds other graphs (loops, branches, functions) or too many steps."""
    try:
        _check(_parsed(main))
    except _Refused as reason:
        raise EngineUnusable(f"it {reason}; export it again, or use another model") from reason


def _parsed(main: Path) -> Any:
    if main.stat().st_size > MOST_BYTES:
        raise _Refused(f"has {main.stat().st_size:,} bytes, and {MOST_BYTES:,} are allowed")
    onnx: Any = importlib.import_module("onnx")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(main.read_bytes())
    except Exception as error:  # the package has error types of its own
        raise _Refused(f"is not a model of ONNX ({one_line(error, 100)})") from error
    return model


def _check(model: Any) -> None:
    graph = model.graph
    if len(graph.node) > MOST_NODES:
        raise _Refused(f"has {len(graph.node):,} steps, and {MOST_NODES:,} are allowed")
    if model.functions or graph.sparse_initializer or model.training_info:
        raise _Refused("has functions, sparse weights or steps of a training, which no network for pictures needs")
    for tensor in graph.initializer:
        _check_tensor(tensor)
    for node in graph.node:
        _check_node(node)
    _check_input(graph)
    _check_output(graph)


def _check_node(node: Any) -> None:
    if node.domain not in _OWN_DOMAINS:
        raise _Refused(f"has a step {node.op_type[:40]} of {node.domain[:40]}, which is not one of ONNX's own")
    if node.op_type in _CONTROL_FLOW:
        raise _Refused(f"has a step {node.op_type}, which runs a graph inside the graph")
    for attribute in node.attribute:
        if attribute.HasField("g") or attribute.graphs:
            raise _Refused(f"has a step {node.op_type[:40]} that holds another graph")
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise _Refused("has sparse weights, which no network for pictures needs")
        for tensor in _tensors(attribute):
            _check_tensor(tensor)


def _tensors(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors


def _check_tensor(tensor: Any) -> None:
    name = f"{tensor.name[:40]!r}"
    if tensor.external_data or tensor.data_location:
        raise _Refused(f"keeps the weights {name} in another file, and only those in the file itself are read")
    onnx: Any = importlib.import_module("onnx")
    kind = _name(onnx.TensorProto.DataType, tensor.data_type)
    if kind not in _BYTES:
        raise _Refused(f"has weights {name} of the type {kind}, which is not known here")
    count = math.prod(tensor.dims) if min(tensor.dims, default=1) >= 0 else -1
    if not 0 <= count <= MOST_VALUES:
        raise _Refused(f"has weights {name} of the shape {list(tensor.dims)[:8]}")
    values = len(getattr(tensor, _FIELDS.get(kind, "int32_data")))
    there = values if values else len(tensor.raw_data) / _BYTES[kind]
    if there != count:
        raise _Refused(f"has weights {name} of {count:,} values, of which {there:g} are there")


def _check_input(graph: Any) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [each for each in graph.input if each.name not in weights]
    if len(inputs) != 1:
        raise _Refused(f"has {len(inputs)} inputs, and a picture is one")
    shape = _picture(inputs[0], "input")
    if shape is None or not isinstance(shape[1], int) or not 1 <= shape[1] <= MOST_CHANNELS:
        wanted = f"batch, 1 to {MOST_CHANNELS} channels, rows, columns"
        raise _Refused(f"has an input of {_text(shape)}, and a picture is {wanted}")
    if isinstance(shape[2], int) or isinstance(shape[3], int) or (isinstance(shape[0], int) and shape[0] != 1):
        raise _Refused(f"takes pictures of one size only ({_text(shape)})")


def _check_output(graph: Any) -> None:
    if not graph.output:
        raise _Refused("has no output")
    shape = _picture(graph.output[0], "output")
    if shape is not None and isinstance(shape[1], int) and not 1 <= shape[1] <= MOST_CHANNELS:
        raise _Refused(f"has an output of {_text(shape)}")
    if not any(graph.output[0].name in node.output for node in graph.node):
        raise _Refused("has an output that no step gives")


def _picture(value: Any, what: str) -> list[int | str] | None:
    """Its shape, with names for sides that are free; None if it is not said. Raises ``_Refused`` for a value that is no
    single precision tensor of four dimensions."""
    if value.type.WhichOneof("value") != "tensor_type":
        raise _Refused(f"has an {what} that is no tensor")
    kind = value.type.tensor_type
    onnx: Any = importlib.import_module("onnx")
    if kind.elem_type != onnx.TensorProto.FLOAT:
        found = _name(onnx.TensorProto.DataType, kind.elem_type)
        raise _Refused(f"has an {what} of the type {found}, and a picture is FLOAT")
    if not kind.HasField("shape"):
        return None
    shape = [int(side.dim_value) if side.HasField("dim_value") else str(side.dim_param) for side in kind.shape.dim]
    if len(shape) != 4:
        raise _Refused(f"has an {what} of {_text(shape)}, and a picture has 4 dimensions")
    return shape


def _name(kinds: Any, number: int) -> str:
    return str(kinds.Name(number)) if number in kinds.values() else f"number {number}"


def _text(shape: list[int | str] | None) -> str:
    return "x".join(str(side)[:20] or "?" for side in shape) if shape is not None else "no shape"
