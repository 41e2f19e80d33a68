"""Small video files whose headers say what no encoder of FFmpeg can be asked to write."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")


def insert_in_sample_entry(path: Path, entry: bytes, box: bytes, tag: bytes | None = None) -> None:
    """Adds ``box`` at the end of the sample entry of an MP4 whose header lies behind its pictures."""
    data = bytearray(path.read_bytes())
    start = 0
    places = []
    for name in (*PARENTS, entry):
        start = data.index(name, start) - 4
        places.append(start)
        start += 4
    assert data.find(b"mdat") < places[0]
    for place in places:
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + len(box))
    end = places[-1] + struct.unpack_from(">I", data, places[-1])[0] - len(box)
    data[end:end] = box
    if tag:
        data[places[-1] + 4 : places[-1] + 8] = tag
    path.write_bytes(bytes(data))


def clean_aperture(width: int, height: int, right: int, below: int) -> bytes:
    """The middle of the part that is shown lies ``right`` and ``below`` the middle of the frame."""
    return struct.pack(">I4s8i", 40, b"clap", width, 1, height, 1, right, 1, below, 1)


def dolby_record(profile: int, compatibility: int) -> bytes:
    content = bytes([1, 0, profile << 1, 0b101, compatibility << 4]) + bytes(19)
    return struct.pack(">I4s", 8 + len(content), b"dvcC") + content


def element(name: int, content: bytes | int | str) -> bytes:
    """An element of Matroska, of which ``name`` is the number with its marker."""
    if isinstance(content, int):
        content = content.to_bytes(4, "big")
    elif isinstance(content, str):
        content = content.encode()
    number = name.to_bytes((name.bit_length() + 7) // 8, "big")
    return number + (len(content) | 1 << 28).to_bytes(4, "big") + content


def write_matroska(path: Path, pictures: list[np.ndarray], video: bytes = b"", track: bytes = b"") -> Path:
    """Motion JPEG at 25 frames a second, with further elements in the track and its description of the picture."""
    height, width = pictures[0].shape[:2]
    header = element(0x1A45DFA3, element(0x4282, "matroska"))
    described = element(0xE0, element(0xB0, width) + element(0xBA, height) + video)
    entry = element(0xD7, 1) + element(0x73C5, 1) + element(0x83, 1) + element(0x86, "V_MJPEG") + described + track
    blocks = b""
    for number, picture in enumerate(pictures):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=98, subsampling=0)
        blocks += element(0xA3, b"\x81" + struct.pack(">hB", 40 * number, 0x80) + file.getvalue())
    segment = (
        element(0x1549A966, element(0x2AD7B1, 1_000_000))
        + element(0x1654AE6B, element(0xAE, entry))
        + element(0x1F43B675, element(0xE7, 0) + blocks)
    )
    path.write_bytes(header + element(0x18538067, segment))
    return path
