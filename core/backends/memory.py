"""How much memory there is, and out-of-memory, recognised in one place."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache

import torch

ROOM_SHARE = 4
"""Pictures may take one part in so many of what is free on a device."""

ASSUMED_MEMORY = 8 * 2**30
"""Where the system does not say how much it has."""

_MESSAGES = ("can't allocate memory", "not enough memory", "MPS backend out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """True for PyTorch's own error type on accelerators, and for the plain RuntimeError that the CPU and MPS
    allocators raise, which only its message tells apart."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)


def release_cached(device: torch.device) -> None:
    """Give memory that the allocator keeps for reuse back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    elif device.type == "cpu" and (trim := _trim()):
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    """glibc's ``malloc_trim``, without which it keeps what was freed below something that is still in use."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def machine_memory() -> int:
    """Bytes of main memory of this machine, used or not: what is free would make tiles differ from run to run."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return ASSUMED_MEMORY


def device_room(device: torch.device) -> int:
    """Bytes of a CUDA device that pictures may take, so that most of it is left for the model and its tiles; 0 for
    others, where copies gain nothing."""
    if device.type != "cuda":
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (free + unused) // ROOM_SHARE
