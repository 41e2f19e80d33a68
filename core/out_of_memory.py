"""Every form in which a device or a library says that memory is short."""

from __future__ import annotations

import torch

from .errors import OutOfMemory

_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "STATUS_ALLOC_FAILED",
    "OUT_OF_DEVICE_MEMORY",
    "OUT_OF_HOST_MEMORY",
    "hipErrorOutOfMemory",
)
"""Of the allocators and libraries of CUDA (cuDNN and cuBLAS have a status of their own), ROCm, XPU, MPS and the CPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """True for ``OutOfMemory``, PyTorch's own error type, and the RuntimeErrors of allocators and libraries, which only
    their messages tell apart."""
    if isinstance(error, (OutOfMemory, torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text.lower() in str(error).lower() for text in _MESSAGES)
