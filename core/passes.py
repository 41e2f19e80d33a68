"""One pass of a model over pictures of one size, whose finished rows go into one result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import torch

from .bands import TileSettings, bands, plan_bands
from .progress import Progress
from .reuse import PassReuse
from .types import Box
from .upscaler import OutOfMemory, RoomyUpscaler, Upscaler

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
    """Runs the model over ``area`` of each picture of (B, C, H, W) and fills ``result`` with its magnified rows, or
    with what ``fit`` makes of them as they come. ``memories``: results of pictures before, for each picture.

    Raises what ``bands`` raises.
    """

    def run(source: torch.Tensor) -> None:
        pictures = [source[index : index + 1] for index in range(len(source))]
        known = memories or [None] * len(pictures)
        plans = [plan_bands(each, area, upscaler, tiles, memory) for each, memory in zip(pictures, known, strict=True)]
        progress.begin(sum(plan.steps for plan in plans), "tiles")
        for index, (each, plan) in enumerate(zip(pictures, plans, strict=True)):
            top = 0
            with closing(bands(each, upscaler, plan, progress)) as finished:
                for rows in fit(finished) if fit else finished:
                    result[index : index + 1, :, top : top + rows.shape[2]] = rows
                    top += rows.shape[2]

    _run_near(picture, area, upscaler, progress, run)


def _run_near(
    picture: torch.Tensor, area: Box, upscaler: Upscaler, progress: Progress, run: Callable[[torch.Tensor], None]
) -> None:
    """Runs with the picture on the model's device, where that has room, so that tiles are put together and resampled
    there and only the finished rows are copied; else, or when the room did not last, with the picture where it is."""
    device = _device_with_room(picture, area, upscaler)
    if device != picture.device:
        try:
            run(picture.to(device))
        except (torch.OutOfMemoryError, OutOfMemory):
            progress.note(f"There was no room on {device} to put the tiles together; going on in main memory.")
        else:
            return
    run(picture)


def _device_with_room(picture: torch.Tensor, area: Box, upscaler: Upscaler) -> torch.device:
    if not isinstance(upscaler, RoomyUpscaler):
        return picture.device
    spec = upscaler.spec
    device, room = upscaler.room()
    tile = math.isqrt(spec.pixel_budget) or area.height
    band = area.width * min(tile, area.height) * spec.scale**2
    return device if 4 * (picture.numel() + BANDS_HELD * picture.shape[1] * band) <= room else picture.device
