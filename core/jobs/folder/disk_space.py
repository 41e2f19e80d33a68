"""Will the results fit on the disk? Asked before the work starts."""

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
"""Pictures whose headers are read for the estimate."""

BYTES_PER_PIXEL = {"PNG": 2.0, "TIFF": 2.4, "JPEG": 1.0, "WEBP": 0.7, "AVIF": 0.6, "BMP": 3.0}
"""Of enlarged photographs with 8 bits a channel, lossy formats at quality 95."""
DEEP = 2.6
"""How many times more 16 bits take: their lower bits hardly compress."""


def estimate_bytes(tasks: Sequence[FileTask], settings: PictureSettings, scale: int) -> int:
    """About how many bytes the results take, from the sizes in the headers of up to 300 evenly spread sources."""
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
        return Size(0, 0)  # refused when its turn comes, with the reason


def check_space(folder: Path, tasks: Sequence[FileTask], settings: PictureSettings, scale: int) -> None:
    """Raises ``InputError`` if the disk of ``folder``, which must exist, has less room than the estimate."""
    needed, free = estimate_bytes(tasks, settings, scale), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{len(tasks)} pictures need about {needed / 1e6:,.0f} MB and {folder} has {free / 1e6:,.0f} MB free; "
            "make room, or choose JPEG or a smaller size."
        )
