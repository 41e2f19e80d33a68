"""Colours that a picture file tells otherwise than by an ICC profile, as the profile that says the same.

Code points of ITU-T H.273 (AVIF's ``nclx``, PNG's ``cICP``), PNG's ``gAMA`` and ``cHRM`` (W3C PNG, third edition,
section 11.3.2), and the Adobe RGB of cameras (DCF 2.0: no profile, interoperability index R03).
"""

# Pillow publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image
from PIL.ExifTags import IFD

from ...errors import InputError
from .metadata import DAMAGED
from .profile_maker import Curve, Primaries, grey_profile, rgb_profile

D65 = (0.3127, 0.3290)
SRGB_PRIMARIES = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65)
PRIMARIES = {
    1: SRGB_PRIMARIES,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: Primaries((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), D65),
    7: Primaries((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), D65),
    9: Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: Primaries((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.314, 0.351)),
    12: Primaries((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), D65),
}
ADOBE_RGB = Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65)

SRGB_CURVE = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_CURVE = Curve(1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
CURVES = {
    1: BT709_CURVE, 4: Curve(2.2), 5: Curve(2.8), 6: BT709_CURVE, 8: Curve(1.0), 13: SRGB_CURVE, 14: BT709_CURVE,
    15: BT709_CURVE,
}  # fmt: skip
HDR = {16: "PQ", 18: "HLG"}
UNSPECIFIED = 2
SRGB_GAMMA = 1 / 2.2
"""As PNG states it, which is how files say sRGB that do not know it by name."""

NEAR = 0.002


@dataclass(frozen=True)
class Signal:
    """``primaries`` and ``transfer`` as in H.273."""

    primaries: int
    transfer: int


def profile_of(image: Image.Image, data: bytes, grey: bool) -> bytes | None:
    """The ICC profile for the colours that the file tells without one, None for sRGB and for files that say nothing.

    Raises ``InputError`` for HDR, whose curves mean light and not the display that the models know.
    """
    if image.format == "PNG":
        return _profile_of_png(image, data, grey)
    if image.format == "AVIF" and (signal := _nclx(data)):
        return _profile(signal, grey)
    return None if grey or not _is_adobe_rgb(image) else rgb_profile(ADOBE_RGB, Curve(563 / 256), "Adobe RGB")


def overrides_profile(image: Image.Image, data: bytes) -> bool:
    """Whether the file has a statement that counts more than its ICC profile, as PNG's cICP does."""
    return image.format == "PNG" and b"cICP" in dict(_png_chunks(data))


def _profile(signal: Signal, grey: bool) -> bytes | None:
    if signal.transfer in HDR:
        raise InputError(
            f"its colours are HDR ({HDR[signal.transfer]}), which the models do not support; convert it to SDR first."
        )
    primaries = PRIMARIES.get(signal.primaries, SRGB_PRIMARIES)
    curve = CURVES.get(signal.transfer, SRGB_CURVE)
    if signal.primaries in (1, UNSPECIFIED) and signal.transfer in (1, 6, 13, UNSPECIFIED):
        return None  # what everybody shows as sRGB
    name = f"Primaries {signal.primaries}, transfer {signal.transfer}"
    return grey_profile(curve, name) if grey else rgb_profile(primaries, curve, name)


def _profile_of_png(image: Image.Image, data: bytes, grey: bool) -> bytes | None:
    chunks = dict(_png_chunks(data))
    if len(chunks.get(b"cICP", b"")) == 4:
        return _profile(Signal(*chunks[b"cICP"][:2]), grey)
    gamma, chroma = image.info.get("gamma"), image.info.get("chromaticity")
    if "srgb" in image.info or not gamma:
        return None
    primaries = SRGB_PRIMARIES
    if chroma and len(chroma) == 8:
        white, red, green, blue = ((chroma[at], chroma[at + 1]) for at in range(0, 8, 2))
        primaries = Primaries(red, green, blue, white)
    near = all(math.dist(ours, srgb) < NEAR for ours, srgb in zip(primaries, SRGB_PRIMARIES, strict=True))
    usual = abs(gamma - SRGB_GAMMA) < NEAR
    if usual and (near or grey):
        return None
    if not 0.1 <= gamma <= 10 or not primaries.make_sense():
        return None
    curve = SRGB_CURVE if usual else Curve(1 / gamma)
    name = f"PNG gamma {gamma:g}"
    return grey_profile(curve, name) if grey else rgb_profile(primaries, curve, name)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Of a PNG, up to its pixels."""
    place = 8
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        if name == b"IDAT":
            return
        yield name, data[place + 8 : place + 8 + length]
        place += 12 + length


def _nclx(data: bytes) -> Signal | None:
    """The first colour property of an AVIF that is no profile (ISO/IEC 14496-12, 12.1.5)."""
    properties = _box(data, 0, len(data), b"meta", b"iprp", b"ipco")
    if properties is None:
        return None
    for name, start, end in _boxes(data, *properties):
        if name == b"colr" and data[start : start + 4] == b"nclx" and end - start >= 11:
            return Signal(*struct.unpack_from(">HH", data, start + 4))
    return None


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, start)
        if length < 8:
            return
        yield name, start + 8, min(start + length, end)
        start += length


def _box(data: bytes, start: int, end: int, *path: bytes) -> tuple[int, int] | None:
    for name in path:
        found = next((box for box in _boxes(data, start, end) if box[0] == name), None)
        if found is None:
            return None
        _, start, end = found
        start += 4 * (name == b"meta")  # it has a version
    return start, end


def _is_adobe_rgb(image: Image.Image) -> bool:
    try:
        return str(image.getexif().get_ifd(IFD.Interop).get(1, "")).startswith("R03")
    except DAMAGED:
        return False
