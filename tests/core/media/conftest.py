"""Files that Pillow does not write: colour profiles and PNGs of any kind, made byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL.PngImagePlugin import putchunk

# Columns of the matrix to the profile connection space, as Apple's and Adobe's profiles have them.
COLORANTS = {
    "Display P3": ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
    "Adobe RGB": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
}
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

CURVES = {
    "sRGB curve": lambda: b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(*SRGB_CURVE),
    "gamma": lambda: b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.19921875 * 256)),
    "parametric gamma": lambda: b"para" + bytes(4) + struct.pack(">HH", 0, 0) + fixed(1.8),
    "CIE 122": lambda: b"para" + bytes(4) + struct.pack(">HH", 1, 0) + fixed(2.2, 0.95, 0.05),
    "IEC 61966-3": lambda: b"para" + bytes(4) + struct.pack(">HH", 2, 0) + fixed(2.2, 0.9, 0.02, 0.05),
    "with offset": lambda: b"para" + bytes(4) + struct.pack(">HH", 4, 0) + fixed(*SRGB_CURVE, 0.0, 0.0),
    "table": lambda: (
        b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *(round((i / 1023) ** 2.4 * 65535) for i in range(1024)))
    ),
    "linear": lambda: b"curv" + bytes(4) + struct.pack(">I", 0),
}


def fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def profile(device_class: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, content = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, start + len(content), len(tag))
        content += tag + bytes(-len(tag) % 4)
    body = table + content
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), bytes(4), 0x04300000, device_class, space, connection)
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + body


@pytest.fixture(scope="session")
def rgb_profile() -> Callable[..., bytes]:
    """``rgb_profile("Display P3", "sRGB curve")``: a profile of a matrix and one tone curve."""

    def make(colorants: str = "Display P3", curve: str = "sRGB curve") -> bytes:
        tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)}
        for letter, colorant in zip("rgb", COLORANTS[colorants], strict=True):
            tags[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + fixed(*colorant)
            tags[f"{letter}TRC".encode()] = CURVES[curve]()
        return profile(b"mntr", b"RGB ", b"XYZ ", tags)

    return make


@pytest.fixture(scope="session")
def grey_profile() -> bytes:
    """Grey of gamma 1.8, far from sRGB."""
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249), b"kTRC": CURVES["parametric gamma"]()}
    return profile(b"mntr", b"GRAY", b"XYZ ", tags)


@pytest.fixture(scope="session")
def cmyk_profile() -> bytes:
    """Inks by a table of 2x2x2x2: paper is white, cyan alone is Lab (60, -30, -40), black is black."""
    nodes = b""
    for cmyk in range(16):
        cyan, black = cmyk >> 3 & 1, cmyk & 1
        lightness, a, b = (0, 0, 0) if black else (60, -30, -40) if cyan else (100, 0, 0)
        nodes += bytes([round(lightness * 2.55), a + 128, b + 128])
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249)}
    tags[b"A2B0"] = lut + identity * 4 + nodes + identity * 3
    return profile(b"prtr", b"CMYK", b"Lab ", tags)


@pytest.fixture(scope="session")
def raw_png() -> Callable[..., bytes]:
    """``raw_png((width, height), depth, colour_type, rows, chunks)``: a PNG exactly as told."""

    def make(
        size: tuple[int, int],
        depth: int,
        colour_type: int,
        rows: Iterable[bytes | memoryview],
        chunks: Iterable[tuple[bytes, bytes]] = (),
    ) -> bytes:
        file = io.BytesIO()
        file.write(b"\x89PNG\r\n\x1a\n")
        putchunk(file, b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0))
        for name, content in chunks:
            putchunk(file, name, content)
        putchunk(file, b"IDAT", zlib.compress(b"".join(b"\0" + bytes(row) for row in rows)))
        putchunk(file, b"IEND", b"")
        return file.getvalue()

    return make


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Puts bytes into a file of that name and gives its path."""

    def store(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return store
