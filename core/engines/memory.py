"""How much memory there is, and out-of-memory, recognised in one place."""

from __future__ import annotations

import ctypes
import os
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from ...model_loader.errors import one_line
from ..errors import OutOfMemory
from ..out_of_memory import is_out_of_memory

ROOM_SHARE = 4
"""Pictures may take one part in so many of what is free on a device."""

ASSUMED_MEMORY = 8 * 2**30
"""Where the system does not say how much it has."""

WHOLE_SHARE = 4
"""A model that must see the whole picture may take one part in so many of a machine's memory, half of that on a
device, where what is free is known."""


@contextmanager
def translated_out_of_memory(device: torch.device) -> Generator[None]:
    """Around everything that allocates on ``device``: whatever says that memory is short becomes ``OutOfMemory``, after
    what the failed work held, and what the allocator kept for reuse, was given back."""
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
            raise
        message = one_line(error) or type(error).__name__
        # Its frames keep the tensors of the failed forward alive.
        traceback.clear_frames(error.__traceback__)
    release_cached(device)
    raise OutOfMemory(message)


def release_cached(device: torch.device) -> None:
    """Give memory that the allocator keeps for reuse back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    elif device.type == "xpu":
        torch.xpu.empty_cache()
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


def total_memory(device: torch.device) -> int:
    """Bytes that the device has, used or not."""
    if device.type in ("cuda", "xpu"):
        backend: Any = getattr(torch, device.type)
        return int(backend.get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return machine_memory()


FreeMemory = Callable[[torch.device, int], None]
"""Unloads what a host keeps on the device until so many bytes are free, or nothing is left to unload."""


class _Host:
    free_memory: FreeMemory | None = None


def set_free_memory(free_memory: FreeMemory | None) -> None:
    """For a host with memory management of its own, once for its process."""
    _Host.free_memory = free_memory


def make_room(device: torch.device, needed: int) -> None:
    """Has the host free so many bytes of the device, for what is allocated past its count."""
    if _Host.free_memory is not None and device.type != "cpu":
        _Host.free_memory(device, needed)


def device_room(device: torch.device, wanted: int) -> int:
    """Bytes of a CUDA device that pictures may take, so that most of it is left for the model and its tiles; 0 for
    others, where copies gain nothing. What the host could unload counts: it is asked to, where the ``wanted`` bytes
    lack."""
    if device.type != "cuda":
        return 0
    if _free_on_cuda(device) < wanted * ROOM_SHARE:
        make_room(device, wanted * ROOM_SHARE)
    return _free_on_cuda(device) // ROOM_SHARE


def _free_on_cuda(device: torch.device) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def room_for_a_picture(device: torch.device) -> int:
    """Bytes that one pass of a model over a whole picture may take there."""
    if device.type != "cuda":
        return machine_memory() // WHOLE_SHARE
    return _free_on_cuda(device) // 2
