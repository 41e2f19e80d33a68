"""Runs an engine of TensorRT on PyTorch's memory and streams, and records CUDA graphs of shapes that come back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from ...errors import OutOfMemory
from ...out_of_memory import is_out_of_memory
from ..onnx.export import INPUT, OUTPUT
from ..registry import EngineUnusable
from ..shape_counter import RepeatedShapes, Shape
from .package import Package

logger = logging.getLogger(__name__)

MOST_GRAPHS = 4
"""Shapes with a CUDA graph: the corners, borders and middle of a picture in tiles."""


class ExecutionFailed(RuntimeError):
    """TensorRT did not run the engine; the message is its reason."""


class Lane(Protocol):
    """Where the work is queued."""

    @property
    def handle(self) -> int:
        """Of the CUDA stream."""
        ...

    def work(self, *tensors: torch.Tensor) -> AbstractContextManager[None]:
        """What is queued in the block waits for the caller's stream, which waits for it in turn. ``tensors`` of the
        caller are used in it."""
        ...

    def capture(self, launch: Callable[[], None]) -> Callable[[], None]:
        """Records what ``launch`` queues; the function it gives queues it again. Raises ``RuntimeError``."""
        ...


class CudaStream:
    """A stream of its own: on the default one TensorRT waits for the whole device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    @property
    def handle(self) -> int:
        return self._stream.cuda_stream

    @contextmanager
    def work(self, *tensors: torch.Tensor) -> Generator[None]:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        for tensor in tensors:
            tensor.record_stream(self._stream)
        yield
        current.wait_stream(self._stream)

    def capture(self, launch: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            launch()
        return graph.replay


@dataclass
class _Recorded:
    """A context that is bound to one shape, its fixed input and output, and what runs it."""

    context: Any
    source: torch.Tensor
    result: torch.Tensor
    replay: Callable[[], None]


def load_engine(package: Package, content: bytes) -> tuple[Any, Any] | None:
    """The engine and the runtime, which must live as long; None if this GPU and this version do not take it."""
    package.messages.clear()
    runtime = package.trt.Runtime(package.logger)
    engine = runtime.deserialize_cuda_engine(content)
    return None if engine is None else (engine, runtime)


class EngineRunner:
    """Runs a loaded engine. All contexts share one block of memory, which suffices because they run in turn.

    Raises ``EngineUnusable`` if that block does not fit on the device.
    """

    def __init__(
        self, package: Package, loaded: tuple[Any, Any], scale: int, channels: int, device: torch.device, lane: Lane
    ) -> None:
        self._package, (self._engine, self._runtime) = package, loaded
        self._scale, self._channels, self._device, self._lane = scale, channels, device, lane
        self._memory = None if package.rtx else _workspace(self._engine, device)
        self._shapes = RepeatedShapes(0 if package.rtx else MOST_GRAPHS)
        self._recorded: dict[Shape, _Recorded] = {}
        self._context = self._new_context()

    def run(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W), single precision, on the device and within the profile -> (B, C, H*scale, W*scale), in memory
        that the next run leaves alone. Raises ``ExecutionFailed``, ``OutOfMemory``."""
        shape = tuple(batch.shape)
        if self._shapes.pick(shape):
            if shape not in self._recorded:
                self._record(shape, batch)
            recorded = self._recorded.get(shape)
            if recorded is not None:
                return self._replayed(recorded, batch)
        batch = batch.contiguous()
        result = self._empty_result(shape)
        self._bind(self._context, batch, result)
        with self._lane.work(batch, result):
            self._execute(self._context)
        return result

    def _replayed(self, recorded: _Recorded, batch: torch.Tensor) -> torch.Tensor:
        recorded.source.copy_(batch)
        with self._lane.work():
            recorded.replay()
        return recorded.result.clone()

    def _record(self, shape: Shape, batch: torch.Tensor) -> None:
        """A graph for a shape, in a context of its own: a recorded context must not be changed."""
        source, result = torch.empty_like(batch, memory_format=torch.contiguous_format), self._empty_result(shape)
        context = self._new_context()
        self._bind(context, source, result)
        with self._lane.work():
            # TensorRT prepares itself for a new shape outside the graph.
            self._execute(context)
        try:
            replay = self._lane.capture(lambda: self._execute(context))
        except RuntimeError as error:
            logger.info("No CUDA graph for %s, it runs without: %s", shape, error)
            self._shapes = RepeatedShapes(0)
            return
        self._recorded[shape] = _Recorded(context, source, result, replay)

    def _new_context(self) -> Any:
        trt = self._package.trt
        if self._package.rtx:
            config = self._engine.create_runtime_config()
            # It finishes its kernels while it runs, and records graphs itself.
            config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            context = self._engine.create_execution_context(config)
        else:
            context = self._engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise EngineUnusable(f"{self._package.name} could not prepare to run ({self._package.messages.reason})")
        if self._memory is not None:
            context.set_device_memory(self._memory.data_ptr(), self._memory.numel())
        return context

    def _bind(self, context: Any, source: torch.Tensor, result: torch.Tensor) -> None:
        bound = (
            context.set_input_shape(INPUT, tuple(source.shape))
            and context.set_tensor_address(INPUT, source.data_ptr())
            and context.set_tensor_address(OUTPUT, result.data_ptr())
        )
        if not bound or tuple(context.get_tensor_shape(OUTPUT)) != tuple(result.shape):
            raise ExecutionFailed(f"it refuses the shape {tuple(source.shape)}: {self._package.messages.reason}")

    def _execute(self, context: Any) -> None:
        self._package.messages.clear()
        if context.execute_async_v3(self._lane.handle):
            return
        if self._package.messages.out_of_memory:
            raise OutOfMemory(self._package.messages.reason)
        raise ExecutionFailed(self._package.messages.reason)

    def _empty_result(self, shape: Shape) -> torch.Tensor:
        batch, _, height, width = shape
        return torch.empty(batch, self._channels, height * self._scale, width * self._scale, device=self._device)


def _workspace(engine: Any, device: torch.device) -> torch.Tensor:
    size = int(engine.device_memory_size_v2)
    try:
        return torch.empty(max(size, 1), dtype=torch.uint8, device=device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise EngineUnusable(
            f"the engine needs {size // 2**20} MB on {device} while it runs; free memory there or choose a smaller tile"
        ) from error
