"""What travels with a picture: EXIF, resolution and orientation."""

# Pillow, NumPy and OpenCV publish partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import io
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.ExifTags import IFD, Base

from .generation_text import tagged_text

# What describes the shot. Everything else in the first directory describes the old file's pixels and their storage.
KEPT_TAGS = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.HostComputer,
    Base.Rating,
    Base.RatingPercent,
    Base.Copyright,
    Base.XPTitle,
    Base.XPComment,
    Base.XPAuthor,
    Base.XPKeywords,
    Base.XPSubject,
)
DROPPED_SHOT_TAGS = (Base.ExifImageWidth, Base.ExifImageHeight, Base.ExifInteroperabilityOffset)
SRGB_COLOUR_SPACE = 1
INCH, CENTIMETRE = 2, 3
HIGHEST_DPI = 65535
"""What JPEG can hold; no scanner comes near it."""

DAMAGED = (OSError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError, AttributeError, struct.error)
"""What Pillow raises on EXIF that is damaged; such EXIF is ignored, as every viewer does."""


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1 to 8; 1 where there is none or it is out of range."""
    try:
        value = image.getexif().get(Base.Orientation, 1)
    except DAMAGED:
        return 1
    return value if value in range(1, 9) else 1


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, C) samples turned and mirrored the way EXIF ``orientation`` (1 to 8) asks for."""
    if orientation >= 5:
        samples = samples.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def resolution_of(image: Image.Image, orientation: int) -> tuple[float, float] | None:
    """Pixels per inch across and down the upright picture, or None if the file does not say."""
    dpi = image.info.get("dpi") or _exif_resolution(image)
    try:
        across, down = (float(value) for value in dpi or ())
    except DAMAGED:
        return None
    if not all(math.isfinite(value) and 1 < value <= HIGHEST_DPI for value in (across, down)):
        return None
    return (down, across) if orientation >= 5 else (across, down)


def _exif_resolution(image: Image.Image) -> tuple[float, float] | None:
    try:
        exif = image.getexif()
        across, down = float(exif[Base.XResolution]), float(exif[Base.YResolution])
        unit = exif.get(Base.ResolutionUnit, INCH)
    except DAMAGED:
        return None
    if unit not in (INCH, CENTIMETRE):
        return None
    factor = 2.54 if unit == CENTIMETRE else 1.0
    return across * factor, down * factor


def kept_exif(image: Image.Image, *, is_srgb: bool = False) -> bytes | None:
    """The EXIF of an opened image without what a new file makes untrue: orientation (it is applied on reading), pixel
    sizes, storage, thumbnail, and what generators keep in the tags of cameras, which ``description_of`` tells.
    ``is_srgb``: its colours were converted, and the colour space tag says so."""
    try:
        source, kept = exif_of(image), Image.Exif()
        texts = tagged_text(source)
        for tag in KEPT_TAGS:
            if tag in source and tag not in texts:
                kept[tag] = as_stored(source[tag])
        whole = source.get_ifd(IFD.Exif)
        shot = {tag: as_stored(value) for tag, value in whole.items() if tag not in DROPPED_SHOT_TAGS}
        if is_srgb and Base.ColorSpace in shot:
            shot[Base.ColorSpace] = SRGB_COLOUR_SPACE
        return _serialised(kept, shot, source.get_ifd(IFD.GPSInfo))
    except DAMAGED:
        return None


def exif_of(image: Image.Image) -> Image.Exif:
    """As it is stored. Where its container turns an AVIF, Pillow writes the EXIF anew, and loses all letters that
    are not ASCII."""
    decoder: Any = getattr(image, "_decoder", None) if image.format == "AVIF" else None
    parts: tuple[Any, ...] = decoder.get_info() if hasattr(decoder, "get_info") else ()
    for part in parts:
        if isinstance(part, bytes) and part.removeprefix(b"Exif\0\0")[:4] in (b"II*\0", b"MM\0*"):
            stored = Image.Exif()
            stored.load(part)
            return stored
    return image.getexif()


def as_stored(value: Any) -> Any:
    """Text as the bytes that it was read from: Pillow reads it as Latin-1, whatever it is, and would write ASCII."""
    return value.encode("latin-1", "replace") if isinstance(value, str) and not value.isascii() else value


def _can_be_written(tag: int, value: Any) -> bool:
    """Damaged files hold values that Pillow reads and cannot write: fractions of 0, numbers beyond their type."""
    alone = Image.Exif()
    alone[tag] = value
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    try:
        content = alone.tobytes()
        directory[tag] = value
        directory.save(io.BytesIO())
        again = Image.Exif()
        again.load(content)
        return tag in again
    except DAMAGED:
        return False


def without_place(exif: bytes | None) -> bytes | None:
    """EXIF as ``kept_exif`` gives it without where the shot was taken (its GPS directory)."""
    if not exif:
        return None
    source, kept = Image.Exif(), Image.Exif()
    source.load(exif)
    for tag, value in source.items():
        if tag not in (IFD.Exif, IFD.GPSInfo):
            kept[tag] = as_stored(value)
    return _serialised(kept, {tag: as_stored(value) for tag, value in source.get_ifd(IFD.Exif).items()}, {})


def _serialised(exif: Image.Exif, shot: Mapping[int, Any], place: Mapping[int, Any]) -> bytes | None:
    for tag in [tag for tag, value in exif.items() if not _can_be_written(tag, value)]:
        del exif[tag]
    for directory, tags in ((IFD.Exif, shot), (IFD.GPSInfo, place)):
        if written := {tag: value for tag, value in tags.items() if _can_be_written(tag, value)}:
            exif[directory] = written
    return exif.tobytes() if len(exif) else None


def keep_bytes(exif: Image.Exif) -> None:
    """For EXIF that was loaded and is to be written again."""
    for tag, value in list(exif.items()):
        if tag not in (IFD.Exif, IFD.GPSInfo):
            exif[tag] = as_stored(value)
    for directory in (IFD.Exif, IFD.GPSInfo):
        if tags := exif.get_ifd(directory):
            exif[directory] = {tag: as_stored(value) for tag, value in tags.items()}


def exif_to_write(
    exif: bytes | None, dpi: tuple[float, float] | None = None, software: str | None = None
) -> Image.Exif | None:
    """EXIF for a new file: what was kept, with its resolution and what made it. None if there is nothing to say."""
    result = Image.Exif()
    if exif:
        result.load(exif)
        for tag in (Base.Orientation, Base.XResolution, Base.YResolution, Base.ResolutionUnit):
            if tag in result:
                del result[tag]
        keep_bytes(result)
    if dpi:
        result[Base.XResolution], result[Base.YResolution] = dpi
        result[Base.ResolutionUnit] = INCH
    if software:
        result[Base.Software] = software
    return result if len(result) else None
