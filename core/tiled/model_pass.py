"""One pass of a model over pictures of one size, whose finished rows go into one result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import torch

from ..out_of_memory import is_out_of_memory
from ..progress import Progress
from ..types import Box
from ..upscaler import OnDeviceUpscaler, Upscaler
from .row_blocks import TileSettings, bands, plan_bands
from .tile_cache import PassReuse

BANDS_HELD = 4
"""Bands of tiles that lie on a device at once at most: one that grows, what it carries over, and the resampler's."""

Rows = Iterator[torch.Tensor]
"""Finished rows of one picture from top to bottom, in any portions (1, C, h, W)."""


def run_pass(
    picture: torch.Tensor,
    area: Box,
    result: torch.Tensor,
    upscaler: Upscaler,
    tiles: TileSettings,
    progress: Progress,
    memories: Sequence[PassReuse | None] | None = None,
    fit: Callable[[Rows], Rows] | None = None,
) -> None:
    """Runs the model over ``area`` of each picture of (B, C, H, W), one after the other, and fills ``result`` with its
    magnified rows, or with what ``fit`` makes of them as they come. ``memories``: results of pictures before, for each
    picture.

    Where the model's device has room, the picture is put there, so that its tiles are put together and resampled there
    and only finished rows are copied. When that room does not last, the picture that met its end and those after it
    stay where they are; those before it are finished.

    Raises what ``bands`` raises.
    """
    device = _device_with_room(picture, area, upscaler)
    begun = 0

    def run(index: int, source: torch.Tensor) -> None:
        nonlocal begun
        plan = plan_bands(source, area, upscaler, tiles, memories[index] if memories else None)
        if not begun:
            begun = plan.steps * (len(picture) - index)
            progress.begin(begun, "tiles")
        top = 0
        with closing(bands(source, upscaler, plan, progress)) as finished:
            for rows in fit(finished) if fit else finished:
                result[index : index + 1, :, top : top + rows.shape[2]] = rows
                top += rows.shape[2]

    for index in range(len(picture)):
        source = picture[index : index + 1]
        if device != picture.device:
            try:
                run(index, source.to(device))
                continue
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                progress.note(f"There was no room on {device} to put tiles together; this is done in main memory now.")
                device, begun = picture.device, 0
        run(index, source)


def _device_with_room(picture: torch.Tensor, area: Box, upscaler: Upscaler) -> torch.device:
    if not isinstance(upscaler, OnDeviceUpscaler):
        return picture.device
    spec = upscaler.spec
    tile = math.isqrt(spec.max_tile_pixels) or area.height
    band = area.width * min(tile, area.height) * spec.scale**2
    needed = 4 * (picture.numel() + BANDS_HELD * picture.shape[1] * band)
    device, room = upscaler.room(needed)
    return device if needed <= room else picture.device
