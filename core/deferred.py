"""Answers that a device is still working out."""

from __future__ import annotations

from collections.abc import Callable

import torch


def read_later(flag: torch.Tensor) -> Callable[[], bool]:
    """``flag``: a boolean scalar. The function that it gives waits for that one value; on CUDA not for anything that
    was queued after it, as ``bool(flag)`` would."""
    if flag.device.type != "cuda":
        value = bool(flag)
        return lambda: value
    copy = torch.empty((), dtype=flag.dtype, pin_memory=True)
    copy.copy_(flag, non_blocking=True)
    arrived = torch.cuda.current_stream(flag.device).record_event()

    def read() -> bool:
        arrived.synchronize()
        return bool(copy)

    return read
