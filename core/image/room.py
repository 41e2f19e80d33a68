"""Checks in advance whether a result fits into this machine's memory."""

# torch publishes partial types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from ..errors import InputError
from ..types import Size

BYTES_HELD, BYTES_WRITTEN = 4, 1
"""Bytes per value during processing, and before writing."""

CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@cache
def memory_limit() -> float:
    """Most bytes that this process can use: the least of the machine's, its container's and its own limit; infinity if
    none is known."""
    limits = [math.inf]
    with suppress(AttributeError, ValueError, OSError):  # Windows
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in CONTAINER_LIMITS:
        with suppress(OSError, ValueError):  # another system, or "max"
            limits.append(int(Path(name).read_text()))
    with suppress(ImportError, ValueError, OSError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        limits.append(math.inf if soft == resource.RLIM_INFINITY else soft)
    return min(limits)


def check_room(source: Size, result: Size, channels: int, count: int = 1) -> None:
    """Raises ``InputError`` if ``count`` pictures of ``source`` and their results exceed the memory. Passing is no
    guarantee: other programs use memory too."""
    held = BYTES_HELD * channels * count * source.pixels
    each = (BYTES_HELD + BYTES_WRITTEN) * channels * count
    limit = memory_limit()
    if held + each * result.pixels > limit:
        raise InputError(_too_large(source, result, count, held + each * result.pixels, limit, (limit - held) / each))


def _too_large(source: Size, result: Size, count: int, needed: float, limit: float, pixels: float) -> str:
    what = f"A result of {result}" if count == 1 else f"{count} results of {result}"
    fact = f"{what} needs {needed / 1e9:.1f} GB of memory and there are {limit / 1e9:.1f}"
    reduction = math.sqrt(max(pixels, 0) / result.pixels)
    fitting = Size(int(result.width * reduction), int(result.height * reduction))
    if min(fitting) < 1 or fitting.pixels <= source.pixels:
        return f"{fact}; split the picture into smaller ones." if count == 1 else f"{fact}; hand over fewer at a time."
    return f"{fact}; ask for at most {fitting}, or split the picture into smaller ones."


def room_for(source: torch.Tensor, size: Size) -> torch.Tensor:
    """An empty float32 picture of that size, with as many channels and on the same device. Raises ``InputError`` if
    the system refuses the memory."""
    batch, channels, height, width = source.shape
    check_room(Size(width, height), size, channels, batch)
    try:
        return source.new_empty((batch, channels, size.height, size.width), dtype=torch.float32)
    except RuntimeError as error:
        if source.device.type != "cpu":
            raise
        needed = BYTES_HELD * channels * batch * size.pixels / 1e9
        raise InputError(
            f"The system refuses the {needed:.1f} GB of memory for a result of {size}; close other programs, or ask "
            "for a smaller size."
        ) from error
