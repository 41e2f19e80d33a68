"""Copies to and from a CUDA device beside the computation on it, through page-locked memory.

See "CUDA semantics: Use pinned memory buffers" in PyTorch's notes: only copies between page-locked memory and the
device, on streams of their own, run while kernels run.
"""

from __future__ import annotations

from collections.abc import Callable

import torch


class Transfers:
    """Two streams of one device, one for each direction."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._up, self._down = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def upload(self, picture: torch.Tensor) -> torch.Tensor:
        """The picture on the device; what is computed from it on the current stream waits for it, nobody else does."""
        if picture.device == self._device:
            return picture
        pinned = picture.contiguous().pin_memory()
        with torch.cuda.stream(self._up):
            placed = pinned.to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._up)
        # Its memory must not be given to somebody else before the computation has read it.
        placed.record_stream(current)
        return placed

    def download(self, result: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begins to copy a result of the current stream into page-locked memory; the function waits for it."""
        pinned = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
        self._down.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._down):
            pinned.copy_(result, non_blocking=True)
            arrived = self._down.record_event()
        result.record_stream(self._down)

        def collect() -> torch.Tensor:
            arrived.synchronize()
            return pinned

        return collect
