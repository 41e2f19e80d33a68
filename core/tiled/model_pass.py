"""One pass of a model over pictures of one size, whose finished rows go into one result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import torch

from ..image.keep_colours import MARGIN, ColourChange, keep_colours
from ..image.tiling import Edge, read_region
from ..out_of_memory import is_out_of_memory
from ..progress import Progress
from ..types import Box, Context, ceil_to
from ..upscaler import OnDeviceUpscaler, Upscaler
from .row_blocks import TileSettings, bands, plan_bands
from .tile_cache import PassReuse

BANDS_HELD = 4
"""Bands of tiles that lie on a device at once at most: one that grows, what it carries over, and the resampler's."""

BANDS_OF_COLOURS = 4
"""And those that wait for their colours, with what is worked out for them."""

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
    change: ColourChange | None = None,
) -> None:
    """Runs the model over ``area`` of each picture of (B, C, H, W), one after the other, and fills ``result`` with its
    magnified rows, or with what ``fit`` makes of them as they come. ``memories``: results of pictures before, for each
    picture. Where ``tiles`` keep the colours, the rows have those of the picture, and ``change`` hears of it.

    Where the model's device has room, the picture is put there, so that its tiles are put together and resampled there
    and only finished rows are copied. When that room does not last, the picture that met its end and those after it
    stay where they are; those before it are finished.

    Raises what ``bands`` raises.
    """
    keeps = tiles.keep_colours and upscaler.spec.scale > 1
    wanted, area = area, _grown(area, tiles.edge, upscaler.spec.alignment) if keeps else area
    device = _device_with_room(picture, area, upscaler, BANDS_HELD + (BANDS_OF_COLOURS if keeps else 0))
    begun = 0

    def run(index: int, source: torch.Tensor) -> None:
        nonlocal begun
        plan = plan_bands(source, area, upscaler, tiles, memories[index] if memories else None, progress)
        if not begun:
            begun = plan.steps * (len(picture) - index)
            progress.begin(begun, "tiles")
        top = 0
        with closing(bands(source, upscaler, plan, progress)) as finished:
            rows_of_area: Rows = finished
            if keeps:
                pixels, _ = read_region(source, area, Context(), tiles.edge)
                kept = keep_colours(finished, pixels, upscaler.spec.scale, change)
                rows_of_area = _cut(kept, area, wanted, upscaler.spec.scale)
            for rows in fit(rows_of_area) if fit else rows_of_area:
                result[index : index + 1, :, top : top + rows.shape[2]] = rows
                top += rows.shape[2]
                progress.show_rows(result[index : index + 1], top)

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


def _grown(area: Box, edge: Edge, alignment: int) -> Box:
    """The area and, where the picture wraps, what has a part in the colours at its border."""
    margin = ceil_to(MARGIN, alignment)
    across, down = margin if edge.wraps_x else 0, margin if edge.wraps_y else 0
    return Box(area.x - across, area.y - down, area.width + 2 * across, area.height + 2 * down)


def _cut(rows: Rows, area: Box, wanted: Box, scale: int) -> Rows:
    """Of magnified rows of ``area`` those of the ``wanted`` part."""
    left, right = (wanted.x - area.x) * scale, (wanted.right - area.x) * scale
    place, top, bottom = 0, (wanted.y - area.y) * scale, (wanted.bottom - area.y) * scale
    for each in rows:
        part = each[:, :, max(top - place, 0) : max(bottom - place, 0), left:right]
        place += each.shape[2]
        if part.shape[2]:
            yield part


def _device_with_room(picture: torch.Tensor, area: Box, upscaler: Upscaler, bands_held: int) -> torch.device:
    if not isinstance(upscaler, OnDeviceUpscaler):
        return picture.device
    spec = upscaler.spec
    tile = math.isqrt(spec.max_tile_pixels) or area.height
    band = area.width * min(tile, area.height) * spec.scale**2
    needed = 4 * (picture.numel() + bands_held * picture.shape[1] * band)
    device, room = upscaler.room(needed)
    return device if needed <= room else picture.device
