"""What people wrote about a picture and programs need again: XMP, IPTC and the text of PNG files.

XMP: ISO 16684-1. IPTC: IIM 4, inside of Photoshop's resources. PNG text: W3C PNG, third edition, section 11.3.3.
"""

# Pillow publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import re
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, PngImagePlugin
from PIL.ExifTags import IFD, Base
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from .generation_text import (
    PARAMETERS,
    PROMPT,
    WORKFLOW,
    decoded_comment,
    encoded_comment,
    generation_text,
    is_json,
    put_tagged,
)
from .metadata import DAMAGED, exif_of, keep_bytes
from .xmp import PLACE, carried_xmp, with_source_type, without, without_provenance

XMP_TAG, IPTC_TAG, PHOTOSHOP_TAG = 700, 33723, 34377
IPTC_RESOURCE = 0x0404
PHOTOSHOP = b"Photoshop 3.0\0"
RESOURCE = b"8BIM"
PNG_IPTC = "Raw profile type iptc"
PNG_XMP = "Raw profile type xmp"
MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
"""Begins the further segments of a JPEG's XMP."""
NO_TEXT = ("XML:com.adobe.xmp", "Raw profile type", "Software", "date:", "exif:", "tiff:", "png:", "dpi")
"""Begin the text of PNGs that is no text, and what describes the old file."""
LONGEST_JPEG_XMP, LONGEST_JPEG_IPTC = 65504, 65500
LONGEST_JPEG_COMMENT = 65533
LONGEST_JPEG_EXIF = 65000
"""Which leaves room for the resolution and the name of this program."""

EXIF_FOR_TEXT = {
    "Title": Base.ImageDescription,
    "Description": Base.ImageDescription,
    "Author": Base.Artist,
    "Copyright": Base.Copyright,
}


@dataclass(frozen=True)
class Description:
    """``xmp`` is a packet, ``iptc`` the records without the resource around them, ``text`` keywords and what stands
    under them. ``dropped`` names what the file has and no other file is given; ``elsewhere``: its XMP named a C2PA
    manifest, and does no longer. ``notes``: what is to be said besides."""

    xmp: bytes | None = None
    iptc: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    elsewhere: bool = False
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.xmp or self.iptc or self.text)


def description_of(image: Image.Image) -> Description:
    """Of an image that was decoded. What is damaged is left out."""
    xmp, dropped = _xmp_of(image), ""
    if xmp:
        xmp, dropped = carried_xmp(xmp)
    xmp, elsewhere = without_provenance(xmp) if xmp else (None, False)
    more = isinstance(image, JpegImageFile) and any(part.startswith(MORE_XMP) for _, part in image.applist)
    return Description(
        xmp=_upright(xmp) if xmp else None,
        iptc=_iptc_of(image),
        text=_text_of(image),
        dropped=tuple(filter(None, (dropped, "the extended part of its XMP" if more else ""))),
        elsewhere=elsewhere,
    )


def _xmp_of(image: Image.Image) -> bytes | None:
    found: Any = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if found is None and isinstance(text := image.info.get(PNG_XMP), str):
        found = _from_raw_profile(text)
    if found is None and isinstance(image, TiffImageFile):
        found = image.tag_v2.get(XMP_TAG)
    if isinstance(found, str):
        found = found.encode("utf-8", "replace")
    return found if isinstance(found, bytes) and found.strip(b"\0") else None


def _upright(xmp: bytes) -> bytes:
    """The pixels have been turned."""
    return re.sub(rb"""(tiff:Orientation(?:\s*=\s*["']|>))\d""", rb"\g<1>1", xmp)


def _iptc_of(image: Image.Image) -> bytes | None:
    found: Any = None
    if isinstance(image, TiffImageFile):
        found = image.tag_v2.get(IPTC_TAG)
        if isinstance(found, tuple):
            # Often declared as numbers of four bytes.
            found = struct.pack(f"{'<' if image.tag_v2.prefix == b'II' else '>'}{len(found)}I", *found)
        resources = image.tag_v2.get(PHOTOSHOP_TAG)
        found = found or (_resources(resources).get(IPTC_RESOURCE) if isinstance(resources, bytes) else None)
    elif isinstance(image, JpegImageFile):
        parts = [content for name, content in image.applist if name == "APP13" and content.startswith(PHOTOSHOP)]
        found = _resources(b"".join(part[len(PHOTOSHOP) :] for part in parts)).get(IPTC_RESOURCE)
    elif isinstance(text := image.info.get(PNG_IPTC), str):
        found = _from_raw_profile(text)
    return found if isinstance(found, bytes) and found.startswith(b"\x1c") else None


def _resources(data: bytes) -> dict[int, bytes]:
    """Photoshop's image resources by number."""
    found: dict[int, bytes] = {}
    place = 0
    while data[place : place + 4] == RESOURCE and place + 12 <= len(data):
        number = int.from_bytes(data[place + 4 : place + 6], "big")
        name = data[place + 6]
        start = place + 6 + (name + 2) // 2 * 2
        length = int.from_bytes(data[start : start + 4], "big")
        found[number] = data[start + 4 : start + 4 + length]
        place = start + 4 + (length + 1) // 2 * 2
    return found


def _as_resource(iptc: bytes) -> bytes:
    return RESOURCE + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)


def _from_raw_profile(text: str) -> bytes | None:
    """The way of ImageMagick, which PNG programs read: the kind, a length, and hexadecimal digits."""
    lines = text.strip().split("\n")
    try:
        data = bytes.fromhex("".join(lines[2:]))
    except ValueError:
        return None
    return _resources(data).get(IPTC_RESOURCE, data)


def _as_raw_profile(iptc: bytes) -> str:
    data = _as_resource(iptc)
    digits = data.hex()
    return "\n".join(["", "iptc", f"{len(data):8}", *(digits[at : at + 72] for at in range(0, len(digits), 72)), ""])


def _text_of(image: Image.Image) -> tuple[tuple[str, str], ...]:
    found: dict[str, Any] = dict(image.text) if isinstance(image, PngImagePlugin.PngImageFile) else {}
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        comment = comment.rstrip(b"\0").decode("utf-8", "replace")
    if isinstance(comment, str) and comment:
        found.setdefault("Comment", comment)
    with suppress(*DAMAGED):
        found = generation_text(exif_of(image)) | found
    return tuple((name, str(value)) for name, value in found.items() if value and not name.startswith(NO_TEXT))


def without_place_in_xmp(description: Description) -> Description:
    """Without where the shot was taken."""
    return replace(description, xmp=without(description.xmp, PLACE)) if description.xmp else description


def with_text(description: Description, text: tuple[tuple[str, str], ...]) -> Description:
    """With further text, which takes the place of text of the same names."""
    return replace(description, text=tuple((dict(description.text) | dict(text)).items()))


def described_as(description: Description, term: str) -> Description:
    """With IPTC's term for how the picture was made, unless another one stands there; see ``with_source_type``."""
    xmp, note = with_source_type(description.xmp, term)
    return replace(description, xmp=xmp, notes=(*description.notes, *([note] if note else [])))


def fitting(description: Description, kind: str, exif: bytes | None) -> tuple[Description, bytes | None, str]:
    """What a file of that format (Pillow's name) can hold, EXIF that takes text over where the format has no place of
    its own for it, and what is left out, for a sentence."""
    if kind == "PNG":
        return description, exif, ""
    lost: list[str] = []
    xmp, iptc, text = description.xmp, description.iptc, dict(description.text)
    if kind == "BMP":
        lost += [name for name, value in (("EXIF", exif), ("XMP", xmp), ("IPTC", iptc)) if value]
        return Description(), None, ", ".join([*lost, *(f'the text "{name}"' for name in text)])
    if kind == "JPEG" and xmp and len(xmp) > LONGEST_JPEG_XMP:
        xmp, lost = None, [*lost, f"XMP of {len(description.xmp or b''):,} bytes"]
    if iptc and (kind not in ("JPEG", "TIFF") or (kind == "JPEG" and len(iptc) > LONGEST_JPEG_IPTC)):
        iptc, lost = None, [*lost, "IPTC"]
    exif, taken = _text_in_exif(exif, text, LONGEST_JPEG_EXIF if kind == "JPEG" else None)
    comment = text.get("Comment", "")
    if kind == "JPEG" and 0 < len(comment.encode("utf-8", "replace")) <= LONGEST_JPEG_COMMENT:
        taken.add("Comment")
    lost += [f'the text "{name}"' for name in text if name not in taken]
    if kind == "JPEG" and exif and len(exif) > LONGEST_JPEG_EXIF:
        exif, dropped = _short_exif(exif)
        lost.append(dropped)
    kept = (("Comment", comment),) if kind == "JPEG" and "Comment" in taken else ()
    return Description(xmp, iptc, kept), exif, ", ".join(lost)


def _short_exif(exif: bytes) -> tuple[bytes | None, str]:
    """EXIF without what makers of cameras add to it, which nobody else reads, or none; and what that is."""
    result = Image.Exif()
    try:
        result.load(exif)
        keep_bytes(result)
        shot = {tag: value for tag, value in result.get_ifd(IFD.Exif).items() if tag != Base.MakerNote}
        result[IFD.Exif] = shot
        short = result.tobytes()
    except DAMAGED:
        short = exif
    if len(short) <= LONGEST_JPEG_EXIF:
        return short, "the camera maker's notes"
    return None, f"EXIF of {len(exif):,} bytes"


def _text_in_exif(exif: bytes | None, text: dict[str, str], longest: int | None) -> tuple[bytes | None, set[str]]:
    """EXIF of at most so many bytes with the text in it for which it has a place that is free, and the names of that
    text."""
    result = Image.Exif()
    taken: set[str] = set()
    try:
        if exif:
            result.load(exif)
            keep_bytes(result)
        for name, tag in EXIF_FOR_TEXT.items():
            # EXIF's text is ASCII by its standard, and UTF-8 in programs of today.
            if name in text and result.get(tag) in (None, text[name], text[name].encode()):
                result[tag] = text[name] if text[name].isascii() else text[name].encode()
                taken.add(name)
        if PARAMETERS in text and _put_comment(result, text[PARAMETERS]):
            taken.add(PARAMETERS)
        # What brings a workflow back is worth more than the rest, where room is short.
        for name in sorted(text, key=lambda name: (name != WORKFLOW, name != PROMPT)):
            if name not in taken and is_json(text[name]) and put_tagged(result, name, text[name], longest):
                taken.add(name)
        return (result.tobytes() if taken else exif), taken
    except DAMAGED:
        return exif, set()


def _put_comment(exif: Image.Exif, text: str) -> bool:
    """Whether EXIF holds the text as the user's comment, now or before."""
    shot = dict(exif.get_ifd(IFD.Exif))
    if Base.UserComment in shot:
        return decoded_comment(shot[Base.UserComment]) == text
    shot[Base.UserComment] = encoded_comment(text)
    exif[IFD.Exif] = shot
    return True


def png_text(description: Description, software: str | None) -> PngImagePlugin.PngInfo:
    """The chunks of text; names that PNG does not allow are cut to what it does."""
    chunks = PngImagePlugin.PngInfo()
    if software:
        chunks.add_text("Software", software)
    for name, value in description.text:
        key = name.encode("latin-1", "replace")[:79].decode("latin-1").strip() or "Comment"
        latin = value.encode("latin-1", "replace").decode("latin-1") == value and "\0" not in value
        if latin:
            chunks.add_text(key, value)
        else:
            chunks.add_itxt(key, value.replace("\0", ""))
    if description.iptc:
        chunks.add_text(PNG_IPTC, _as_raw_profile(description.iptc), zip=True)
    if description.xmp:
        chunks.add_itxt("XML:com.adobe.xmp", description.xmp.decode("utf-8", "replace"))
    return chunks


def jpeg_options(description: Description) -> dict[str, Any]:
    """What Pillow's JPEG writer takes."""
    options: dict[str, Any] = {}
    if description.xmp:
        options["xmp"] = description.xmp
    if description.iptc:
        content = PHOTOSHOP + _as_resource(description.iptc)
        options["extra"] = b"\xff\xed" + struct.pack(">H", 2 + len(content)) + content
    if comment := dict(description.text).get("Comment"):
        options["comment"] = comment
    return options
