"""PNG and TIFF with 16 bits a channel, which Pillow reduces to 8 without a word: read through OpenCV, written here
sample by sample, so that colour profile, EXIF and resolution come along."""

# Pillow, NumPy and OpenCV publish partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin, TiffTags
from PIL.ExifTags import IFD, Base

from ...errors import InputError
from .complete import PNG_SIGNATURE, byte_order, directory_entries
from .description import IPTC_TAG, XMP_TAG

PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
TIFF_LIMIT = 2**32 - 2**20
INCHES_PER_METRE = 1 / 0.0254

# TIFF 6.0 tags
BITS_PER_SAMPLE, PHOTOMETRIC, PLANAR, EXTRA_SAMPLES = 258, 262, 284, 338
SAMPLE_FORMAT, UNSIGNED = 339, 1
SEPARATE_PLANES, PREMULTIPLIED, STRAIGHT = 2, 1, 2
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
DEFLATE, HORIZONTAL_DIFFERENCES = 8, 2


def is_deep(image: Image.Image, data: bytes) -> bool:
    """Whether the file stores 16 bits a channel of grey or RGB."""
    if image.format == "PNG":
        return data[24] == 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(BITS_PER_SAMPLE, (1,))
        return set(bits) == {16} and image.tag_v2.get(PHOTOMETRIC) in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    return False


def read_deep(image: Image.Image, data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour (H, W, 1 or 3) and straight alpha (H, W, 1) as uint16, not turned by the orientation in the file.

    Raises ``InputError`` if the file cannot be decoded, or for a TIFF with a plane for each channel.
    """
    tiff = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else None
    if tiff is not None:
        if set(tiff.get(SAMPLE_FORMAT, (UNSIGNED,))) != {UNSIGNED}:
            raise InputError("its 16-bit pixels are signed or floating-point; save it with 8 or 16 unsigned bits.")
        if tiff.get(PLANAR) == SEPARATE_PLANES and len(tiff.get(BITS_PER_SAMPLE, ())) > 1:
            raise InputError("the TIFF keeps each channel in a separate plane; save it with interleaved channels.")
        data = _without_orientation(data, tiff)
    try:
        samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        samples = None
    # OpenCV's bindings promise an array but return None for what they cannot decode.
    if samples is None or samples.dtype != np.uint16:  # pyright: ignore[reportUnnecessaryComparison]
        raise InputError("its 16-bit pixels cannot be decoded; the file is damaged or cut off.")
    samples = samples.reshape(*samples.shape[:2], -1)
    return _png_channels(samples, image, data) if tiff is None else _tiff_channels(samples, image, tiff)


def _png_channels(samples: np.ndarray, image: Image.Image, data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """OpenCV spreads grey with alpha over four channels, and forgets a transparent grey."""
    grey = data[25] in (PNG_COLOUR_TYPES[1], PNG_COLOUR_TYPES[2])
    alpha = samples[..., 3:] if samples.shape[2] == 4 else None
    transparent = image.info.get("transparency")
    if grey and alpha is None and isinstance(transparent, int):
        alpha = np.where(samples == transparent, 0, 65535).astype(np.uint16)
    return samples[..., :1] if grey else samples[..., 2::-1], alpha


def _tiff_channels(
    samples: np.ndarray, image: Image.Image, tiff: TiffImagePlugin.ImageFileDirectory_v2
) -> tuple[np.ndarray, np.ndarray | None]:
    if samples.shape[2] == 1:
        return (65535 - samples if tiff.get(PHOTOMETRIC) == WHITE_IS_ZERO else samples), None
    colour = samples[..., 2::-1]
    if samples.shape[2] == 3 or image.mode != "RGBA":
        return colour, None
    alpha = samples[..., 3:]
    if PREMULTIPLIED in tiff.get(EXTRA_SAMPLES, ()):
        straight = colour / np.maximum(alpha, 1).astype(np.float64) * 65535 + 0.5
        colour = np.minimum(straight, 65535).astype(np.uint16)
    return colour, alpha


def _without_orientation(data: bytes, tiff: TiffImagePlugin.ImageFileDirectory_v2) -> bytes:
    """The file with the orientation tag set to upright: OpenCV applies it or fails on it, depending on its version."""
    for entry in directory_entries(data, tiff.offset):
        if entry.tag == Base.Orientation:
            value = struct.pack(byte_order(data) + "H", 1)
            return data[: entry.value_at] + value + data[entry.value_at + len(value) :]
    return data


def write_png16(
    file: BinaryIO,
    samples: np.ndarray,
    *,
    icc: bytes | None,
    exif: Image.Exif | None,
    dpi: tuple[float, float] | None,
    text: PngImagePlugin.PngInfo,
) -> None:
    """uint16 samples (H, W, 1 to 4) as PNG (W3C PNG, third edition)."""
    height, width, channels = samples.shape
    file.write(PNG_SIGNATURE)
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    PngImagePlugin.putchunk(file, b"IHDR", header)
    if icc:
        PngImagePlugin.putchunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if dpi:
        pixels_per_metre = (round(value * INCHES_PER_METRE) for value in dpi)
        PngImagePlugin.putchunk(file, b"pHYs", struct.pack(">IIB", *pixels_per_metre, 1))
    if exif:
        PngImagePlugin.putchunk(file, b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    for name, content, *_ in text.chunks:
        PngImagePlugin.putchunk(file, name, content)
    _write_png_rows(file, samples)
    PngImagePlugin.putchunk(file, b"IEND", b"")


def _write_png_rows(file: BinaryIO, samples: np.ndarray, rows: int = 256) -> None:
    """Each row as the difference to the one above (filter 2), compressed."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    above = np.zeros((1, samples.shape[1] * samples.shape[2] * 2), np.uint8)
    for top in range(0, len(samples), rows):
        raw = samples[top : top + rows].astype(">u2", order="C").view(np.uint8).reshape(-1, above.shape[1])
        filtered = np.full((len(raw), above.shape[1] + 1), 2, np.uint8)
        np.subtract(raw, np.concatenate([above, raw[:-1]]), out=filtered[:, 1:])
        above = raw[-1:]
        if packed := compressor.compress(filtered.tobytes()):
            PngImagePlugin.putchunk(file, b"IDAT", packed)
    PngImagePlugin.putchunk(file, b"IDAT", compressor.flush())


def write_tiff(
    file: BinaryIO,
    samples: np.ndarray,
    *,
    icc: bytes | None,
    exif: Image.Exif | None,
    dpi: tuple[float, float] | None,
    xmp: bytes | None = None,
    iptc: bytes | None = None,
) -> None:
    """uint8 or uint16 samples (H, W, 1, 3 or 4) as TIFF 6.0, deflated with horizontal differences, straight alpha."""
    height, width = samples.shape[:2]
    differences = samples.copy()
    differences[:, 1:] -= samples[:, :-1]
    packed = zlib.compress(differences.astype(samples.dtype.newbyteorder("<")).tobytes())
    if len(packed) > TIFF_LIMIT:
        raise InputError(f"{width}x{height} pixels exceed the 4 GB of a TIFF; choose PNG.")
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in exif or ():
        directory[tag] = exif.get_ifd(tag) if tag in (IFD.Exif, IFD.GPSInfo) else exif[tag]  # pyright: ignore
    for tag, value in _tiff_tags(samples, len(packed), icc, dpi).items():
        directory[tag] = value
    for tag, value in ((XMP_TAG, xmp), (IPTC_TAG, iptc)):
        if value:
            directory.tagtype[tag] = TiffTags.UNDEFINED
            directory[tag] = value
    directory.tagtype[Base.StripOffsets] = TiffTags.LONG
    directory.save(file)
    file.write(packed)


def _tiff_tags(
    samples: np.ndarray, length: int, icc: bytes | None, dpi: tuple[float, float] | None
) -> dict[int, object]:
    height, width, channels = samples.shape
    tags: dict[int, object] = {
        Base.ImageWidth: width,
        Base.ImageLength: height,
        BITS_PER_SAMPLE: (samples.itemsize * 8,) * channels,
        Base.Compression: DEFLATE,
        PHOTOMETRIC: RGB if channels > 2 else BLACK_IS_ZERO,
        Base.StripOffsets: 0,
        Base.SamplesPerPixel: channels,
        Base.RowsPerStrip: height,
        Base.StripByteCounts: length,
        PLANAR: 1,
        Base.Predictor: HORIZONTAL_DIFFERENCES,
    }
    if channels in (2, 4):
        tags[EXTRA_SAMPLES] = (STRAIGHT,)
    if icc:
        tags[Base.InterColorProfile] = icc
    if dpi:
        tags.update({Base.XResolution: dpi[0], Base.YResolution: dpi[1], Base.ResolutionUnit: 2})
    return tags
