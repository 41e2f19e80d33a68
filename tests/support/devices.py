"""Devices that a test runs on: the CPU, which proves the test, and a CUDA card (``-m cuda``), which is meant."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest
import torch
from backplate.core.engines.plan import RunPlan
from backplate.core.engines.pytorch.eager import EagerUpscaler, default_plan
from backplate.model_loader.loaded import LoadedModel
from spandrel import ImageModelDescriptor
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Descriptor = ImageModelDescriptor[nn.Module]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def device_called(name: str) -> torch.device:
    """A real one, or a skip that says so."""
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda", torch.cuda.current_device())


def noise(height: int, width: int, channels: int = 3, *, seed: int = 5) -> torch.Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(seed))


def open_in(
    dtype: torch.dtype, model: LoadedModel, device: torch.device, place: Callable[..., Any] | None = None
) -> EagerUpscaler:
    """An upscaler that begins in ``dtype`` wherever it runs, in tiles of which two are on their way."""
    default = default_plan(model.descriptor, device, dtype)
    plan = RunPlan(max_tile_pixels=default.max_tile_pixels, dtype=str(dtype).removeprefix("torch."))
    upscaler = EagerUpscaler(model, device, plan=plan, place=place)
    if device.type == "cpu":
        upscaler._transfers = NoTransfers()
    return upscaler


class NoTransfers:
    """In the place of ``Transfers`` where the device is main memory."""

    def upload(self, picture: torch.Tensor) -> torch.Tensor:
        return picture.clone()

    def download(self, result: torch.Tensor) -> Callable[[], torch.Tensor]:
        return lambda: result


def scaled(network: nn.Module, gain: float, last: int) -> dict[str, torch.Tensor]:
    """Weights of a chain of convolutions, inner activations ``gain`` times as large, that compute the same: the last
    ``last`` convolutions share what undoes it."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        convolutions[0].weight.mul_(gain)
        now = gain
        for place, convolution in enumerate(convolutions):
            if place >= len(convolutions) - last:
                convolution.weight.div_(gain ** (1 / last))
                now /= gain ** (1 / last)
            if convolution.bias is not None:
                convolution.bias.mul_(now)
    return {key: value.contiguous() for key, value in network.state_dict().items()}


class FailingAt(TorchDispatchMode):
    """``count`` operations on ``device``, from the ``first`` on, counted from 1, find no memory; 0 counts only."""

    def __init__(self, device: torch.device, first: int = 0, count: int = 1) -> None:
        super().__init__()
        self.done = 0
        self._device = device
        self._failing = range(first, first + count) if first else range(0)

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = tree_leaves((args, kwargs))
        devices = [each.device if isinstance(each, torch.Tensor) else each for each in given]
        # An operation on a device takes a tensor there, or its name.
        if any(isinstance(each, torch.device) and each.type == self._device.type for each in devices):
            self.done += 1
            if self.done in self._failing:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 108.00 MiB")
        return function(*args, **(kwargs or {}))


class EvictingHost:
    """Keeps one model at a time on the device, as ComfyUI does where only one fits; the others' weights are gone from
    there, and come back from main memory."""

    def __init__(self) -> None:
        self._homes: list[tuple[Descriptor, dict[str, torch.Tensor]]] = []
        self.placed = 0

    def __call__(self, descriptor: Descriptor, device: torch.device) -> Descriptor:
        self.placed += 1
        known = [home for other, home in self._homes if other is descriptor]
        if not known:
            known = [{key: value.clone() for key, value in descriptor.model.state_dict().items()}]
            self._homes.append((descriptor, known[0]))
        for other, _ in self._homes:
            if other is not descriptor:
                other.model.to("meta")
        descriptor.model.to_empty(device=device).load_state_dict(known[0])
        return descriptor


@contextlib.contextmanager
def card_with(extra: int) -> Generator[None]:
    """A card that gives this process so many bytes more than it has now."""
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + extra) / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
