"""Parses what users write in files and on command lines into dataclasses, with pydantic; errors are one sentence."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from .errors import InputError

T = TypeVar("T")
LARGEST_FILE = 1 << 20
LONGEST_VALUE = 60


class Strict:
    """Base of dataclasses that reject unknown names, NaN and infinity."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "allow_inf_nan": False}


def parse(kind: type[T], data: Any, where: str = "", *, strict: bool = False) -> T:
    """``data`` as the dataclass ``kind``, with every name and type checked. Text is converted to the number, boolean or
    enumeration member that it spells, unless ``strict``, which requires the types of JSON. Raises ``InputError``, which
    starts with ``where``, about the first invalid value."""
    adapter = _adapter(kind)
    try:
        return adapter.validate_json(json.dumps(data), strict=True) if strict else adapter.validate_python(data)
    except ValidationError as error:
        raise InputError(where + _sentence(cast("Any", error.errors()[0]), kind)) from error


def as_plain(value: object) -> Any:
    """The inverse of ``parse``: nested plain values for YAML and JSON, with every field."""
    return _adapter(type(value)).dump_python(value, mode="json")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_json(path: Path, hint: str) -> dict[str, Any]:
    """The object in a JSON file. Raises ``InputError``, which ends with ``hint``, for any other content."""
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise InputError(f"{path} is too large ({size:,} bytes); {hint}.")
        data: Any = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); {hint}.") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); {hint}.") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} does not contain a JSON object; {hint}.")
    return cast("dict[str, Any]", data)


def _sentence(problem: Mapping[str, Any], kind: Any) -> str:
    place: tuple[str | int, ...] = problem["loc"]
    path, found, said = ".".join(map(str, place)), repr(problem["input"]), str(problem["msg"])
    shown = found if len(found) <= LONGEST_VALUE else f"{found[: LONGEST_VALUE - 3]}..."
    match problem["type"]:
        case "unexpected_keyword_argument":
            return f"There is no {path}; {_nearest(str(place[-1]), kind, place[:-1])}."
        case "missing":
            return f"{path} is missing."
        case "dataclass_type":
            return f"{path or 'it'} is a group of settings, not {shown}; write {path + '.' if path else ''}NAME."
        case "value_error":
            said = said.removeprefix("Value error, ").rstrip(".")
            return f"{path} is {shown}: {said}." if path else f"{said}."
        case _:
            return f"{path} cannot be {shown}: it {said.removeprefix('Input ')}."


def _nearest(name: str, kind: Any, place: tuple[str | int, ...]) -> str:
    for step in place:
        kind = get_type_hints(kind)[step] if isinstance(step, str) else get_args(kind)[0]
    known = list(_adapter(kind).json_schema()["properties"])
    close = difflib.get_close_matches(name, known, n=1)
    parents = "".join(f"{step}." for step in place)
    return f"did you mean {parents}{close[0]}" if close else f"there are {', '.join(known)}"
