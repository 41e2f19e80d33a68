"""Out-of-memory, recognised in one place."""

from __future__ import annotations

import torch

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
