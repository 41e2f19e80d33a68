"""What may stand in the record beside an exported model: everything in it is checked before it is believed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

from pydantic import AfterValidator, Field

from ....model_loader.errors import one_line
from ...types import SizeRule
from ...upscaler import Halo

MOST_BYTES = 1 << 16
DEEPEST = 6
"""Levels of objects and lists, one more than a record has."""

LARGEST_SCALE = 16
_SIDE, _STEP = 16384, 1024
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


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
        raise BadRecord(one_line(error, 200)) from error
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


def _size_rule(rule: SizeRule) -> SizeRule:
    if not (0 <= rule.minimum <= _SIDE and 1 <= rule.multiple_of <= _STEP):
        raise ValueError(f"its minimum is 0 to {_SIDE}, and its multiple 1 to {_STEP}")
    return rule


def _halo(halo: Halo) -> Halo:
    if not (0 <= halo.pixels <= _SIDE and 1 <= halo.grid <= _STEP):
        raise ValueError(f"it has 0 to {_SIDE} pixels, and a grid of 1 to {_STEP}")
    return halo


LONGEST_TEXT = 200
Text = Annotated[str, Field(pattern=rf"^[^\x00-\x1f\x7f\u2028\u2029]{{0,{LONGEST_TEXT}}}$")]
FileName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f\u2028\u2029/\\]{0,200}$")]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Scale = Annotated[int, Field(ge=1, le=LARGEST_SCALE)]
Channels = Annotated[int, Field(ge=1, le=4)]
Side = Annotated[int, Field(ge=0, le=_SIDE)]
Amount = Annotated[float, Field(ge=0, le=1e9)]
AnyRule = Annotated[SizeRule, AfterValidator(_size_rule)]
AnyHalo = Annotated[Halo, AfterValidator(_halo)]
