"""Pictures that reveal nothing about their origin: the same encoding, the same file size, no metadata."""

# Pillow publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import io
import os
import secrets
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..atomic_write import write_atomic
from ..image.colour import to_rgb
from ..types import Size

PADDING = b"paDd"
"""Type of the PNG chunk that makes files equally long: ancillary, private and safe to copy, so every reader skips
it."""
CHUNK = 12
"""Bytes of a PNG chunk without its content."""
END = 12
"""Bytes of IEND, the last chunk."""
SAME_TIME = 1_577_836_800
"""All files have this time (1 January 2020): the order in which they were written would give the models away."""


COLUMNS = 8
"""Frames of a clip in one row of its sheet."""


def encode(picture: torch.Tensor) -> bytes:
    """(F, 1 or 3, H, W), 0 to 1, as an 8-bit RGB PNG with nothing but pixels. The frames of a clip form one sheet,
    ``COLUMNS`` in a row, so that a page can show the same frame of several clips at once."""
    values = _sheet((to_rgb(picture).clamp(0, 1) * 255).round().to(torch.uint8).cpu())
    data = io.BytesIO()
    Image.fromarray(values.movedim(0, 2).contiguous().numpy()).save(data, "PNG", compress_level=6)
    return data.getvalue()


def decode(path: Path, size: Size, frames: int) -> torch.Tensor:
    """What ``encode`` was given, (F, 3, H, W), to 8 bits. Raises ``OSError`` for a file that is not a picture."""
    with Image.open(path) as image:
        sheet = torch.from_numpy(np.array(image.convert("RGB"))).movedim(2, 0) / 255
    width, height = size
    places = [(height * (number // COLUMNS), width * (number % COLUMNS)) for number in range(frames)]
    return torch.stack([sheet[:, y : y + height, x : x + width] for y, x in places])


def _sheet(frames: torch.Tensor) -> torch.Tensor:
    """(F, 3, H, W) as (3, rows * H, columns * W)."""
    count, channels, height, width = frames.shape
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    blank = frames.new_zeros((rows * columns - count, channels, height, width))
    grid = torch.cat([frames, blank]).view(rows, columns, channels, height, width)
    return grid.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, columns * width)


def padded(png: bytes, length: int) -> bytes:
    """The PNG with a chunk of random bytes before its end, ``length`` bytes in all, at least ``CHUNK`` more than it
    has."""
    content = secrets.token_bytes(length - len(png) - CHUNK)
    chunk = struct.pack(">I", len(content)) + PADDING + content
    chunk += struct.pack(">I", zlib.crc32(PADDING + content))
    return png[:-END] + chunk + png[-END:]


def write_pictures(folder: Path, scenes: Iterable[Mapping[str, bytes]]) -> None:
    """Writes PNG files named by token. All files of one scene have the same length; all files have the same time and
    are written in the order of their tokens. Raises ``OSError``."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, bytes] = {}
    for pictures in scenes:
        length = max(map(len, pictures.values())) + CHUNK
        files |= {token: padded(png, length) for token, png in pictures.items()}
    for token in sorted(files):
        path = picture_path(folder, token)
        write_atomic(path, files[token])
        os.utime(path, (SAME_TIME, SAME_TIME))


def picture_path(folder: Path, token: str) -> Path:
    return folder / f"{token}.png"
