"""Checks before the work starts whether the results will fit on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ...errors import InputError
from ...image.fit import plan_fit
from ...media.picture.read import format_of
from ...media.picture_folder import FileTask, size_in_header
from ...types import Size
from ..marketplace.framing import target_for
from ..picture import PictureSettings

SAMPLES = 300
"""Most pictures whose headers are read for the estimate."""

BYTES_PER_PIXEL = {"PNG": 2.0, "TIFF": 2.4, "JPEG": 1.0, "WEBP": 0.7, "AVIF": 0.6, "BMP": 3.0}
"""For enlarged photographs with 8 bits per channel, lossy formats at quality 95."""
DEEP = 2.6
"""Factor for 16 bits, whose lower bits hardly compress."""


def estimate_bytes(tasks: Sequence[FileTask], settings: PictureSettings, scale: int) -> int:
    """Estimates the bytes of the results from the sizes in the headers of up to 300 evenly spaced sources."""
    step = max(1, len(tasks) // SAMPLES)
    sizes = [_bytes_of(task, settings, scale) for task in tasks[::step]]
    known = [size for size in sizes if size]
    return round(sum(known) / len(known) * len(tasks)) if known else 0


def _bytes_of(task: FileTask, settings: PictureSettings, scale: int) -> float:
    source = size_in_header(task.source)
    if source is None:
        return 0.0
    kind = format_of(task.output).name
    depth = DEEP if settings.bit_depth == 16 else 1.0
    return _canvas(source, settings, scale).pixels * BYTES_PER_PIXEL[kind] * depth


def _canvas(source: Size, settings: PictureSettings, scale: int) -> Size:
    target = settings.target
    if target is None and settings.profile:
        target = target_for(settings.profile, source)
    if target is None:
        return source.scaled(scale)
    try:
        return plan_fit(source, target).canvas
    except InputError:
        return Size(0, 0)  # rejected with the reason when its turn comes


def check_space(folder: Path, tasks: Sequence[FileTask], settings: PictureSettings, scale: int) -> None:
    """Raises ``InputError`` if the disk of ``folder``, which must exist, has less free space than the estimate."""
    needed, free = estimate_bytes(tasks, settings, scale), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{len(tasks)} pictures need about {needed / 1e6:,.0f} MB and {folder} has {free / 1e6:,.0f} MB free; "
            "make room, or choose JPEG or a smaller size."
        )
