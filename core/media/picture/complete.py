"""Whether a file can hold the pixels that its header promises, told before they are decoded: decoders fill what is
missing with grey or black, and reserve memory for all of it first."""

# Pillow publishes partial types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image, TiffImagePlugin
from PIL.ExifTags import Base

from ...errors import InputError

DEFLATE_RATIO = 1032
"""The most that deflate shrinks anything: 258 bytes in two bits (zlib's technical details)."""
JPEG_BLOCK = 8
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK_FRAME = 12
"""Bytes of a PNG chunk besides its data: length, name and check sum."""
ICC_PROFILE = 34675
"""Tag of the colour profile (ICC.1, annex B.4)."""
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def check_complete(image: Image.Image, data: bytes) -> None:
    """Raises ``InputError`` for a TIFF whose strips or tiles stop before its last row, and for a JPEG or PNG of fewer
    bytes than the emptiest picture of its size needs."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_covered(image)
        _check_profile(image, data)
        return
    if image.format == "PNG":
        _check_chunks(data)
    if len(data) < (least := _least_bytes(image, data)):
        raise InputError(
            f"the file is damaged or cut off: {image.width}x{image.height} pixels take at least {least} bytes, and it "
            f"has {len(data)}."
        )


def _check_chunks(data: bytes) -> None:
    """A chunk that says it is longer than the file makes OpenCV reserve as much as it says, up to 4 GB."""
    start = len(PNG_SIGNATURE)
    while start + CHUNK_FRAME <= len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        if start + CHUNK_FRAME + length > len(data):
            name = data[start + 4 : start + 8]
            raise InputError(
                f"the file is damaged or cut off: its chunk {name!r} says {length} bytes, and "
                f"{len(data) - start - CHUNK_FRAME} are left."
            )
        if data[start + 4 : start + 8] == b"IEND":
            return
        start += CHUNK_FRAME + length


def _least_bytes(image: Image.Image, data: bytes) -> int:
    """0 for formats whose decoders notice what is missing."""
    width, height = image.size
    if image.format == "PNG":
        bits = PNG_CHANNELS.get(data[25], 1) * data[24]
        return height * (1 + width * bits // 8) // DEFLATE_RATIO
    if image.format in ("JPEG", "MPO"):
        # Each block of 8x8 has a code of at least one bit for its mean.
        return -(-width // JPEG_BLOCK) * -(-height // JPEG_BLOCK) // 8
    return 0


def _check_covered(image: TiffImagePlugin.TiffImageFile) -> None:
    extents = [tile.extents for tile in getattr(image, "tile", ()) if tile.extents]
    if not extents:
        return
    # As stored: Pillow's own size is that of the upright picture.
    width, height = (image.tag_v2.get(tag, 0) for tag in (Base.ImageWidth, Base.ImageLength))
    right, bottom = (max(extent[side] for extent in extents) for side in (2, 3))
    if right < width or bottom < height:
        raise InputError(f"the file is damaged: it says {width}x{height} pixels and holds {right}x{bottom} of them.")


class DirectoryEntry(NamedTuple):
    """One tag of a TIFF directory: how many values, and where in the file the value or its offset stands."""

    tag: int
    values: int
    value_at: int


def byte_order(data: bytes) -> str:
    """As ``struct`` writes it."""
    return "<" if data[:2] == b"II" else ">"


def directory_entries(data: bytes, offset: int) -> Iterator[DirectoryEntry]:
    """Of the directory that begins there, classic or BigTIFF (TIFF 6.0, section 2)."""
    order, big = byte_order(data), _is_big(data)
    count_format, value_format, size = ("Q", "Q", 20) if big else ("H", "I", 12)
    start = offset + struct.calcsize(order + count_format)
    (entries,) = struct.unpack_from(order + count_format, data, offset)
    for entry in range(start, start + entries * size, size):
        tag, _, count = struct.unpack_from(order + "HH" + value_format, data, entry)
        yield DirectoryEntry(tag, count, entry + size - struct.calcsize(value_format))


def _is_big(data: bytes) -> bool:
    return data[2:4] in (b"+\0", b"\0+")


def _check_profile(image: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    """Without its profile the pixels of a file that was cut off would have other colours."""
    for entry in directory_entries(data, image.tag_v2.offset):
        if entry.tag == ICC_PROFILE and entry.values > 4:
            (at,) = struct.unpack_from(byte_order(data) + ("Q" if _is_big(data) else "I"), data, entry.value_at)
            if at + entry.values > len(data):
                raise InputError(
                    f"the file is damaged or cut off: its colour profile ends at byte {at + entry.values}, and it has "
                    f"{len(data)}."
                )
