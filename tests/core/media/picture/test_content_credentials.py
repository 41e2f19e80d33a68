"""A signed history is found in every format that can hold one, dropped, and named. The files are put together here as
C2PA 2.1, appendix A, says; the manifests in them are none, which nobody looks at."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from backplate.core.jobs.picture import PictureSettings, enlarge, read_source, write_enlarged
from backplate.core.media.picture.content_credentials import video_has_credentials
from backplate.core.progress import Progress
from PIL import Image

JUMBF = struct.pack(">I4sI4s", 45, b"jumb", 37, b"jumd") + b"c2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0"
UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def signed(kind: str) -> bytes:
    if kind == "jpg":
        content = b"JP" + struct.pack(">HI", 1, 1) + JUMBF
        segment = b"\xff\xeb" + struct.pack(">H", len(content) + 2) + content
        plain = saved("JPEG")
        return plain[:2] + segment + plain[2:]
    if kind == "png":
        plain, name = saved("PNG"), b"caBX"
        chunk = struct.pack(">I", len(JUMBF)) + name + JUMBF + struct.pack(">I", zlib.crc32(name + JUMBF))
        return plain[:33] + chunk + plain[33:]
    if kind == "webp":
        plain = saved("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
        whole = plain + b"C2PA" + struct.pack("<I", len(JUMBF)) + JUMBF + bytes(len(JUMBF) % 2)
        return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]
    if kind == "tif":
        from PIL import TiffImagePlugin

        directory = TiffImagePlugin.ImageFileDirectory_v2()
        directory.tagtype[0xCD41] = 7
        directory[0xCD41] = JUMBF
        return saved("TIFF", tiffinfo=directory)
    return saved("AVIF") + struct.pack(">I4s", 24 + len(JUMBF), b"uuid") + UUID + JUMBF


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "avif"])
def test_they_are_dropped_and_named(kind: str, tmp_path: Path) -> None:
    path, output = tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
    path.write_bytes(signed(kind))
    source = read_source(path, output, PictureSettings(), 1)
    (note,) = source.notes
    assert note.startswith("left out: C2PA content credentials, which are valid for the pixels of the source only; w")
    write_enlarged(output, enlarge(source, None, PictureSettings(), Progress()), source, PictureSettings())
    assert b"c2pa" not in output.read_bytes()
    assert read_source(output, output, PictureSettings(), 1).notes == ()


def test_other_boxes_and_segments_are_none(tmp_path: Path) -> None:
    """APP11 also holds JPEG XT and the text of HDR pictures."""
    content = b"JP" + struct.pack(">HI", 1, 1) + struct.pack(">I4s", 16, b"jumb") + bytes(8)
    plain = saved("JPEG")
    path = tmp_path / "in.jpg"
    path.write_bytes(plain[:2] + b"\xff\xeb" + struct.pack(">H", len(content) + 2) + content + plain[2:])
    assert read_source(path, tmp_path / "out.jpg", PictureSettings(), 1).notes == ()


def test_boxes_of_videos(tmp_path: Path) -> None:
    file_type = struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0)
    long = struct.pack(">I4sQ", 1, b"free", 16 + 5) + bytes(5)
    manifest = struct.pack(">I4s", 24 + len(JUMBF), b"uuid") + UUID + JUMBF
    rest = struct.pack(">I4s", 0, b"mdat") + bytes(100)
    path = tmp_path / "in.mp4"
    path.write_bytes(file_type + long + manifest + rest)
    assert video_has_credentials(path)
    path.write_bytes(file_type + long + rest)
    assert not video_has_credentials(path)
    path.write_bytes(b"\0\0\0\1free\0\0\0\0\0\0\0\0" + UUID)
    assert not video_has_credentials(path)
