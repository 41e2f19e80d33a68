"""Whether a file holds a C2PA manifest: a signed history of exactly these pixels, which says "tampered with" beside any
others. It is never copied; ``sign`` can carry it on.

C2PA 2.1, appendix A, has the places.
"""

# Pillow publishes partial types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from .complete import CHUNK_FRAME, PNG_SIGNATURE

DROPPED = "C2PA content credentials, which are valid for the pixels of the source only"
TIFF_TAG = 0xCD41
BOX = UUID("d8fec3d6-1b0e-483c-9297-5828877ec481").bytes
"""Type of the box in ISO base media files, which AVIF and MP4 are."""


@dataclass(frozen=True)
class SignedFile:
    """A picture file that holds a manifest, as it was read."""

    name: str
    media_type: str
    data: bytes


def signed_file(image: Image.Image, data: bytes, name: str) -> SignedFile | None:
    """None if the file that was opened holds no manifest."""
    if not has_credentials(image, data):
        return None
    # An MPO is several JPEGs, of which only the first is used.
    media_type = Image.MIME["JPEG" if image.format == "MPO" else image.format or ""]
    return SignedFile(name, media_type, data)


def has_credentials(image: Image.Image, data: bytes) -> bool:
    """Of a picture file that was opened, and its bytes."""
    if isinstance(image, JpegImageFile):
        return any(name == "APP11" and part[:2] == b"JP" and b"c2pa" in part for name, part in image.applist)
    if isinstance(image, TiffImageFile):
        return TIFF_TAG in image.tag_v2
    if image.format == "PNG":
        return b"caBX" in _png_chunks(data)
    if image.format == "WEBP":
        return b"C2PA" in _riff_chunks(data)
    if image.format == "AVIF":
        return any(kind == b"uuid" and data[at : at + 16] == BOX for kind, at in _boxes(data))
    return image.format == "GIF" and b"\x21\xff\x0bC2PA_GIF" in data


def video_has_credentials(path: Path) -> bool:
    """Of an MP4 or MOV; the boxes are stepped over and not read."""
    with path.open("rb") as file:
        return any(kind == b"uuid" and _read_at(file, at, 16) == BOX for kind, at in _boxes_of_file(file))


def _png_chunks(data: bytes) -> Iterator[bytes]:
    at = len(PNG_SIGNATURE)
    while at + CHUNK_FRAME <= len(data):
        yield data[at + 4 : at + 8]
        at += CHUNK_FRAME + int.from_bytes(data[at : at + 4], "big")


def _riff_chunks(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        yield data[at : at + 4]
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Kind of each outer box and where its content begins (ISO 14496-12, section 4.2)."""
    at = 0
    while at + 8 <= len(data):
        kind, start, end = _box(data[at : at + 16], at, len(data))
        yield kind, start
        if end <= at:
            return
        at = end


def _boxes_of_file(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    whole, at = file.seek(0, 2), 0
    while at + 8 <= whole:
        kind, start, end = _box(_read_at(file, at, 16), at, whole)
        yield kind, start
        if end <= at:
            return
        at = end


def _box(header: bytes, at: int, whole: int) -> tuple[bytes, int, int]:
    """Kind, first byte of the content, first byte behind it. A length of 0 is to the end, 1 is told behind the kind."""
    length = int.from_bytes(header[:4], "big")
    if length == 1:
        return header[4:8], at + 16, at + int.from_bytes(header[8:16], "big")
    return header[4:8], at + 8, at + length if length else whole


def _read_at(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)
