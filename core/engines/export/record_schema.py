"""What may stand in the record beside an exported model: everything in it is checked before it is believed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, cast, get_type_hints

MOST_BYTES = 1 << 16
DEEPEST = 6
"""Levels of objects and lists, one more than a record has."""

LARGEST_SCALE = 16
_CHANNELS = 4
_SIDE = 16384
_TEXT = re.compile(r"[^\x00-\x1f\x7f\u2028\u2029]{0,200}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_RANGES = {
    "scale": (1, LARGEST_SCALE),
    "input_channels": (1, _CHANNELS),
    "output_channels": (1, _CHANNELS),
    "tile": (0, _SIDE),
    "minimum": (0, _SIDE),
    "multiple_of": (1, 1024),
    "pixels": (0, _SIDE),
    "grid": (1, 1024),
}
"""Of whole numbers, by their names, wherever they stand."""


class BadRecord(ValueError):
    """The message is a clause that names the value."""


def parsed(path: Path) -> dict[str, Any]:
    """The object in a file. Raises ``BadRecord``, and ``OSError``."""
    if path.stat().st_size > MOST_BYTES:
        raise BadRecord(f"it has {path.stat().st_size:,} bytes, and {MOST_BYTES:,} are allowed")
    try:
        text = path.read_bytes().decode("utf-8")
        if _depth(text) > DEEPEST:
            raise BadRecord(f"it has {_depth(text):,} levels, and {DEEPEST} are allowed")
        values = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except ValueError as error:
        raise BadRecord(" ".join(str(error).split())[:200]) from error
    if not isinstance(values, dict):
        raise BadRecord(f"it holds a {type(values).__name__}, not an object")
    return cast("dict[str, Any]", values)


def _depth(text: str) -> int:
    deepest = level = 0
    for sign in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        level += 1 if sign in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def _refuse(word: str) -> NoReturn:
    raise BadRecord(f"{word} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise BadRecord("it says a thing twice")
    return values


def checked(kind: type[Any], values: Mapping[str, Any], names: Mapping[str, type[Any]]) -> dict[str, Any]:
    """The values of a dataclass, each of the type and in the range that its field has. ``names``: fields that are
    dataclasses themselves, and of which class. Raises ``BadRecord``."""
    hints = get_type_hints(kind)
    known = {field.name: hints[field.name] for field in fields(kind)}
    if unknown := [name for name in values if name not in known]:
        raise BadRecord(f"{unknown[0][:40]!r} is not known")
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in names:
            if not isinstance(value, dict):
                raise _wrong(name, value, "an object")
            found[name] = names[name](**_all(names[name], checked(names[name], cast("dict[str, Any]", value), {})))
        else:
            found[name] = _value(name, known[name], value)
    return _all(kind, found)


def _all(kind: type[Any], found: dict[str, Any]) -> dict[str, Any]:
    try:
        kind(**found)
    except TypeError as error:
        raise BadRecord(str(error).partition(") ")[2] or str(error)) from error
    return found


def _value(name: str, hint: Any, value: Any) -> Any:
    if hint is bool:
        if not isinstance(value, bool):
            raise _wrong(name, value, "true or false")
    elif hint is int:
        return _whole(name, value)
    elif hint == float | None:
        if value is not None and not (_is_number(value) and 0 <= value <= 1e9):
            raise _wrong(name, value, "null, or a number from 0 to 1e+09")
    elif hint is str:
        pattern, what = (_SHA256, "64 hexadecimal digits") if name == "model_sha256" else (_TEXT, "a line of text")
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _wrong(name, value, what)
    elif name == "files":
        return _files(name, value)
    elif not isinstance(value, dict):
        raise _wrong(name, value, "an object")
    return cast("Any", value)


def _whole(name: str, value: Any) -> int:
    least, most = _RANGES.get(name, (0, _SIDE))
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(name, value, f"a whole number from {least} to {most}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _files(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(name, value, "an object")
    files = cast("dict[str, Any]", value)
    for file, digest in files.items():
        if not _TEXT.fullmatch(file) or re.search(r"[/\\]", file):
            raise _wrong(name, file, "names of files")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise _wrong(file, digest, "64 hexadecimal digits")
    return files


def _wrong(name: str, value: Any, expected: str) -> BadRecord:
    shown = json.dumps(value)
    return BadRecord(f"{name[:40]} is {shown if len(shown) <= 40 else shown[:37] + '...'}, not {expected}")
