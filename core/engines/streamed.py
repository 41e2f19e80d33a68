"""A small picture row by row through an engine, as large pictures go."""

from __future__ import annotations

import torch

from ..types import ceil_to
from ..upscaler import StreamingUpscaler, Upscaler

CHUNK = 16
"""Rows of a chunk."""
WIDTH = 16
"""Of such a picture, which is tall: narrow, so that it takes no longer than a square one."""


def streams(upscaler: Upscaler) -> bool:
    """Whether the engine runs large pictures row by row, and so in another way than small ones."""
    return isinstance(upscaler, StreamingUpscaler) and upscaler.stream_height(WIDTH) > 0


def streamed(upscaler: Upscaler, picture: torch.Tensor) -> torch.Tensor:
    """The result of a picture (1, C, H, W) that went through the engine row by row."""
    assert isinstance(upscaler, StreamingUpscaler)
    tops = range(0, picture.shape[2], CHUNK)
    chunks = [picture[:, :, top : top + CHUNK] for top in tops]
    return torch.cat(list(upscaler.stream(iter(chunks), len(chunks))), dim=2)


def streamed_height(upscaler: Upscaler) -> int:
    """Of a picture that has a first portion, one in the middle and a last one. Where an engine does not say how many
    rows it begins with, no layer waits for more than an exact halo on both sides."""
    first = getattr(upscaler, "least_rows", 2 * upscaler.spec.halo.pixels + 1)
    return ceil_to(first, CHUNK) + 2 * CHUNK
