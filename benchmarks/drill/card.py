"""Part 1: what the machine is, and its peak performance."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from typing import Any

import torch
from pack import commit

from .rows import Facts, Row, Settings
from .timing import median_seconds

PACKAGES = ("torch", "torchvision", "triton", "spandrel", "av", "numpy", "opencv-python-headless", "onnx", "tensorrt")
CHANNELS = 64


def rows(settings: Settings) -> list[Row]:
    return [
        Row(name="card", part=1, seconds=30, work=lambda: machine(settings)),
        Row(name="ceilings", part=1, seconds=40, work=lambda: ceilings(settings)),
        Row(name="copies", part=1, seconds=20, work=lambda: copies(settings)),
    ]


def machine(settings: Settings) -> Facts:
    facts: Facts = {
        "card": platform.processor() or "CPU",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "commit": commit() or "unknown",
    }
    if settings.dry:
        return facts
    properties = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info(0)
    return {
        **facts,
        "card": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory GB": round(total / 1e9, 1),
        "free GB": round(free / 1e9, 1),
        "driver": _driver(),
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
        "allocator": torch.cuda.get_allocator_backend(),
    }


def ceilings(settings: Settings) -> Facts:
    """Random numbers, as matrix products of zeros run faster."""
    device = torch.device(settings.device)
    side, picture = (128, 32) if settings.dry else (8192, 1024)
    half = torch.bfloat16 if settings.dry else torch.float16
    tera = 1e12
    facts: Facts = {}
    with torch.inference_mode():
        left, right = (torch.randn(side, side, device=device) for _ in range(2))
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = True
        facts["tf32 TFLOP/s"] = 2 * side**3 / median_seconds(lambda: left @ right, device) / tera
        torch.backends.cuda.matmul.allow_tf32 = before
        left, right = left.to(half), right.to(half)
        facts["fp16 TFLOP/s"] = 2 * side**3 / median_seconds(lambda: left @ right, device) / tera
        layer = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, device=device, dtype=half)
        layer.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        source = torch.randn(1, CHANNELS, picture, picture, device=device, dtype=half)
        source = source.to(memory_format=torch.channels_last)
        operations = 2 * 9 * CHANNELS**2 * picture**2
        facts["fp16 convolution of 64 channels TFLOP/s"] = (
            operations / median_seconds(lambda: layer(source), device) / tera
        )
    return {key: round(value, 4) for key, value in facts.items()}


def copies(settings: Settings) -> Facts:
    """Gigabytes a second. The last ones are ways in which a result can reach memory that was never touched before."""
    device = torch.device(settings.device)
    count = 2**16 if settings.dry else 2**26
    source, target = torch.rand(count, device=device), torch.empty(count, device=device)
    size = 4 * count / 1e9
    facts: Facts = {
        "on the card GB/s, read and written": 2 * size / median_seconds(lambda: target.copy_(source), device)
    }
    pageable = torch.rand(count)
    kinds = {"pageable": pageable} if settings.dry else {"pageable": pageable, "pinned": pageable.pin_memory()}
    for kind, memory in kinds.items():
        up = median_seconds(lambda memory=memory: target.copy_(memory, non_blocking=True), device)
        down = median_seconds(lambda memory=memory: memory.copy_(source, non_blocking=True), device)
        facts |= {f"{kind} up GB/s": size / up, f"{kind} down GB/s": size / down}
    ways = {
        "down into fresh memory": lambda: torch.empty(count).copy_(source),
        "down in portions into fresh memory": lambda: in_portions(source, torch.empty(count)),
    }
    if not settings.dry:
        ways["down into pinned memory kept for reuse"] = lambda: torch.empty(count, pin_memory=True).copy_(source)
    facts |= {f"{way} GB/s": size / median_seconds(work, device) for way, work in ways.items()}
    return {key: round(value, 2) for key, value in facts.items()}


def in_portions(source: torch.Tensor, result: torch.Tensor, portion: int = 2**22) -> torch.Tensor:
    """A copy of a tensor of one dimension through two page-locked buffers, of which one is filled while PyTorch's
    threads empty the other."""
    on_card = source.device.type == "cuda"
    buffers = [torch.empty(portion, pin_memory=on_card) for _ in range(2)]
    waiting: list[tuple[int, torch.Tensor, Any]] = []

    def empty_one() -> None:
        start, filled, arrived = waiting.pop(0)
        if arrived is not None:
            arrived.synchronize()
        result[start : start + len(filled)].copy_(filled)

    for index, start in enumerate(range(0, len(source), portion)):
        if len(waiting) == len(buffers):
            empty_one()
        part = source[start : start + portion]
        filled = buffers[index % len(buffers)][: len(part)]
        filled.copy_(part, non_blocking=True)
        waiting.append((start, filled, torch.cuda.current_stream().record_event() if on_card else None))
    while waiting:
        empty_one()
    return result


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # Bundled packages are unpacked with their metadata; any other without it is missing.
        return str(getattr(sys.modules.get(name), "__version__", ""))


def _driver() -> str:
    try:
        words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(words, capture_output=True, text=True, timeout=10).stdout.split("\n")[0].strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
