"""The text that image generators keep in PNG, in formats that have EXIF instead.

ComfyUI's savers of WebP write ``prompt:`` and ``workflow:`` with JSON behind them into text tags of EXIF, downwards
from ``Model``, and its front end looks for them in any text tag. AUTOMATIC1111's web UI writes ``parameters`` as the
user's comment.
"""

# Pillow publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
import re
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

PROMPT, WORKFLOW, PARAMETERS = "prompt", "workflow", "parameters"
TEXT_TAGS = (Base.Model, Base.Make, Base.ImageDescription, Base.DocumentName, 0x010C, 0x010B)
"""In the order in which they are filled; below them are tags that describe pixels."""
UNICODE, ASCII = b"UNICODE\0", b"ASCII\0\0\0"
_NAMED_JSON = re.compile(r"([A-Za-z][\w .-]{0,77}):\s*([\[{].*)", re.DOTALL)
_MADE_OF = re.compile(r"(?:^|\n|, ?)Steps: \d")
"""In every line of settings of AUTOMATIC1111 and its kin."""


def is_json(text: str) -> bool:
    """Whether the text is an object or a list."""
    try:
        return text.lstrip()[:1] in ("{", "[") and isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def tagged_text(exif: Image.Exif) -> dict[int, tuple[str, str]]:
    """Name and JSON that text tags hold, by tag."""
    found: dict[int, tuple[str, str]] = {}
    for tag in TEXT_TAGS:
        value = exif.get(tag)
        if isinstance(value, str) and ":" in value[:80]:
            # Pillow reads bytes as Latin-1.
            value = value.encode("latin-1", "replace").decode("utf-8", "replace").rstrip("\0")
            named = _NAMED_JSON.fullmatch(value)
            if named and is_json(named[2]):
                found[tag] = (named[1], named[2])
    return found


def generation_text(exif: Image.Exif) -> dict[str, str]:
    """What EXIF says about how the picture was made, under the names that it has in PNG."""
    found = dict(tagged_text(exif).values())
    comment = decoded_comment(exif.get_ifd(IFD.Exif).get(Base.UserComment))
    if _MADE_OF.search(comment):
        found.setdefault(PARAMETERS, comment)
    return found


def decoded_comment(comment: Any) -> str:
    """The text of EXIF's ``UserComment`` (Exif 3.0, section 4.6.6.2), in whichever order its letters have."""
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else ""
    kind, content = comment[:8], comment[8:]
    if kind == UNICODE:
        # Zeros are the high bytes of Latin letters.
        little = content[1::2].count(0) > content[::2].count(0)
        return content.decode("utf-16-le" if little else "utf-16-be", "replace").rstrip("\0")
    plain = content if kind in (ASCII, bytes(8)) else comment
    return plain.decode("utf-8", "replace").rstrip("\0")


def encoded_comment(text: str) -> bytes:
    return UNICODE + text.encode("utf-16-be", "replace")


def put_tagged(exif: Image.Exif, name: str, text: str, longest: int | None) -> bool:
    """Puts JSON into a tag that is free; whether there was one, and EXIF is not longer than ``longest`` bytes."""
    order = TEXT_TAGS if name == PROMPT else (*TEXT_TAGS[1:], TEXT_TAGS[0])
    tag = next((tag for tag in order if tag not in exif), None)
    if tag is None:
        return False
    value = f"{name}:{text}"
    exif[tag] = value if value.isascii() else value.encode("utf-8", "replace")
    if longest is not None and len(exif.tobytes()) > longest:
        del exif[tag]
        return False
    return True
