"""The part of TensorRT's interface that is used, computing with PyTorch on the CPU at the addresses it is given."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch

INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2


class FakeStream:
    """Runs at once; ``captured`` counts the recordings."""

    handle = 77

    def __init__(self) -> None:
        self.captured = 0
        self.fails = False

    @contextmanager
    def work(self, *tensors: torch.Tensor) -> Generator[None]:
        yield

    def capture(self, launch: Callable[[], None]) -> Callable[[], None]:
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.captured += 1
        return launch


def at(address: int, shape: Sequence[int]) -> torch.Tensor:
    count = torch.Size(shape).numel()
    return torch.frombuffer((ctypes.c_float * count).from_address(address), dtype=torch.float32).reshape(*shape)


class FakeTensorRT:
    """``network`` is what every engine computes. ``said``: what the next failing call logs as an error."""

    __version__ = "10.16.1"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    BuilderFlag = SimpleNamespace(TF32="tf32")
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user")

    def __init__(self, network: torch.nn.Module, scale: int) -> None:
        self.network, self.scale = network, scale
        self.said = ""
        self.builds: list[SimpleNamespace] = []
        self.contexts: list[Any] = []
        self.loads = True
        self.builds_succeed = True
        self.runs = True
        self.parse_errors: list[Any] = []
        self.logger: Any = None
        self.stopped = False
        self.ILogger = type("ILogger", (), {"INTERNAL_ERROR": INTERNAL_ERROR, "ERROR": ERROR, "WARNING": WARNING})
        self.IProgressMonitor = type("IProgressMonitor", (), {})

    def log(self) -> None:
        self.logger.log(WARNING, "something harmless")
        if self.said:
            self.logger.log(ERROR, self.said)

    def Builder(self, logger: Any) -> Any:
        self.logger = logger
        return SimpleNamespace(
            create_network=lambda flags: SimpleNamespace(flags=flags),
            create_builder_config=lambda: FakeConfig(),
            create_optimization_profile=lambda: FakeProfile(),
            build_serialized_network=self.build,
        )

    def OnnxParser(self, network: Any, logger: Any) -> Any:
        def parse(content: bytes) -> bool:
            network.content = content
            return not self.parse_errors

        return SimpleNamespace(
            parse=parse, num_errors=len(self.parse_errors), get_error=lambda index: self.parse_errors[index]
        )

    def build(self, network: Any, config: Any) -> bytes | None:
        self.builds.append(SimpleNamespace(network=network, config=config))
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 3)
        for step in range(3):
            if not monitor.step_complete("Building engine", step):
                self.stopped = True
                return None
        monitor.phase_finish("Building engine")
        if not self.builds_succeed:
            self.log()
            return None
        return b"engine of " + network.content

    def Runtime(self, logger: Any) -> Any:
        self.logger = logger

        def deserialize(content: bytes) -> Any:
            if not self.loads or not content.startswith(b"engine of "):
                self.log()
                return None
            return SimpleNamespace(device_memory_size_v2=4096, create_execution_context=self.context)

        return SimpleNamespace(deserialize_cuda_engine=deserialize)

    def context(self, strategy: str) -> Any:
        assert strategy == "user"
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]


class FakeConfig:
    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.cleared: list[str] = []
        self.profiles: list[Any] = []
        self.known: bytes | None = None
        self.progress_monitor: Any = None

    def set_memory_pool_limit(self, pool: str, limit: int) -> None:
        self.limits[pool] = limit

    def clear_flag(self, flag: str) -> None:
        self.cleared.append(flag)

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return 0

    def create_timing_cache(self, content: bytes) -> bytes:
        return content

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.known = cache
        return cache != b"of another GPU"

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: b"timings")


class FakeProfile:
    def set_shape(self, name: str, *shapes: Sequence[int]) -> None:
        self.name, self.shapes = name, shapes


class FakeContext:
    def __init__(self, trt: FakeTensorRT) -> None:
        self.trt, self.memory = trt, (0, 0)
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.streams: list[int] = []

    def set_device_memory(self, address: int, size: int) -> None:
        self.memory = (address, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "input"
        self.shape = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        batch, _, height, width = self.shape
        return batch, 3, height * self.trt.scale, width * self.trt.scale

    def execute_async_v3(self, stream: int) -> bool:
        self.streams.append(stream)
        if not self.trt.runs:
            self.trt.log()
            return False
        with torch.inference_mode():
            result = self.trt.network(at(self.addresses["input"], self.shape))
        at(self.addresses["output"], result.shape).copy_(result)
        return True
