"""Builds an engine of TensorRT from an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ...progress import Progress
from ...types import Size, SizeRule
from ..onnx.export import INPUT
from ..registry import EngineUnusable
from .build_progress import build_watched
from .package import Package, targets

WORKSPACE = 2 * 2**30
"""Bytes of GPU memory that a layer may use beside its input and output; fixed, because it shapes the engine."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Sizes that an engine takes. ``tile``: the largest, and the one that it is optimised for, in input pixels with
    context; memory is sized by ``tile`` times ``batch``."""

    channels: int
    smallest: Size
    tile: Size
    batch: int = 1

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Least, best and most, each (B, C, H, W)."""
        largest = (self.batch, self.channels, self.tile.height, self.tile.width)
        return (1, self.channels, self.smallest.height, self.smallest.width), largest, largest

    def holds(self, size: Size) -> bool:
        return size.width <= self.tile.width and size.height <= self.tile.height


def profile_for(channels: int, rule: SizeRule, side: int, batch: int = 1) -> Profile:
    """The profile for tiles of up to ``side`` pixels, context included, and every smaller size that the model takes."""
    return Profile(channels=channels, smallest=rule.padded(Size(1, 1)), tile=rule.padded(Size(side, side)), batch=batch)


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """``workspace``: bytes of GPU memory that a layer may use beside its input and output. ``tf32``: single precision
    may round to 10 bits on tensor cores. ``effort``: 0 to 5, how long kernels are compared."""

    workspace: int = WORKSPACE
    tf32: bool = False
    effort: int = 3


@dataclass(frozen=True)
class Built:
    """``timings``: what was learnt about kernels, for the next build on this GPU; empty if nothing is kept."""

    engine: bytes
    timings: bytes


def build_engine(
    package: Package,
    onnx: bytes,
    profile: Profile,
    settings: BuildSettings,
    progress: Progress,
    *,
    device: torch.device | None = None,
    timings: bytes = b"",
) -> Built:
    """Takes from seconds to many minutes. ``progress.check`` may end it between two steps of TensorRT.

    Raises ``EngineUnusable`` for an operator that TensorRT does not know, and with the workspace that was tried if the
    GPU runs out of memory.
    """
    package.messages.clear()
    builder = package.trt.Builder(package.logger)
    network, parser = parse(package, builder, onnx)
    config = _config(package, builder, profile, settings)
    cache = _attach_timings(package, config, timings)
    plan = build_watched(package, builder, network, config, progress, device)
    if plan is None:
        raise EngineUnusable(_failure(package, settings, profile))
    del parser
    return Built(bytes(plan), b"" if cache is None else bytes(config.get_timing_cache().serialize()))


def parse(package: Package, builder: Any, onnx: bytes) -> tuple[Any, Any]:
    """The network and its parser, which must live as long. Raises ``EngineUnusable`` that names the operator."""
    trt = package.trt
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, package.logger)
    if parser.parse(onnx):
        return network, parser
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    operators = sorted({name for error in errors if (name := error.node_operator())})
    reason = " ".join((errors[0].desc() if errors else package.messages.reason).split())[:160]
    what = f"the operator {' and '.join(operators)}" if operators else "the file"
    raise EngineUnusable(f"{package.name} cannot take {what} of the model ({reason})")


def _config(package: Package, builder: Any, profile: Profile, settings: BuildSettings) -> Any:
    trt = package.trt
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    if not settings.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if generations := targets(package):
        config.num_compute_capabilities = len(generations)
        for index, generation in enumerate(generations):
            config.set_compute_capability(generation, index)
    else:
        config.builder_optimization_level = settings.effort
    shapes = builder.create_optimization_profile()
    shapes.set_shape(INPUT, *profile.shapes)
    if config.add_optimization_profile(shapes) < 0:
        raise EngineUnusable(f"{package.name} refuses tiles of {profile.tile} pixels ({package.messages.reason})")
    return config


def _attach_timings(package: Package, config: Any, timings: bytes) -> Any:
    """The cache, which must outlive the build. TensorRT for RTX compares no kernels when it builds."""
    if package.rtx:
        return None
    cache = config.create_timing_cache(timings)
    if not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _failure(package: Package, settings: BuildSettings, profile: Profile) -> str:
    if package.messages.out_of_memory:
        return (
            f"building an engine for {profile.batch} tiles of {profile.tile} pixels ran out of GPU memory with a "
            f"workspace of {settings.workspace // 2**20} MB; free memory on the GPU or choose a smaller tile"
        )
    return f"{package.name} could not build the engine ({package.messages.reason})"
