"""What a marketplace asks of a picture, read from a JSON file: rules with their source and the day it was read."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, cast

from ...errors import InputError

FOLDER = Path(__file__).with_name("profiles")
LONGEST_FILE = 1 << 20
NUMBERS = ("least", "most", "aim", "quality_floor", "near")
ALWAYS = ("rule", "level", "source", "date", "note")
KINDS: dict[str, tuple[str, ...]] = {
    "format": ("values",),
    "longest_side": ("least", "most"),
    "shortest_side": ("least", "most"),
    "megapixels": ("least", "most"),
    "white_background": ("near",),
    "fill": ("least", "most", "aim"),
    "srgb": (),
    "bytes": ("most", "quality_floor"),
    "dpi": ("least", "most"),
    "opaque": (),
    "no_metadata": (),
}
"""What may stand in a rule of each kind, beside what may stand in all."""
FORMAT_NAMES = ("jpeg", "png", "tiff", "webp", "avif", "bmp", "gif", "heic", "psd", "svg")
USUAL_NEAR, USUAL_QUALITY_FLOOR, USUAL_AIM = 25, 80, 0.9


@dataclass(frozen=True, kw_only=True)
class Rule:
    """``kind``: one of ``KINDS``. ``must``: what breaks it is mended or fails; else it is told as a warning. Sides in
    pixels, ``bytes`` in bytes, ``dpi`` in pixels an inch, ``fill`` as a share of the frame from 0 to 1. ``near``: how
    many levels of 255 below white a background may be and still be made white. ``source`` is an address, ``date``
    the day it was read."""

    kind: str
    must: bool = True
    least: float | None = None
    most: float | None = None
    aim: float | None = None
    quality_floor: float | None = None
    near: float | None = None
    values: tuple[str, ...] = ()
    source: str = ""
    date: str = ""
    note: str = ""

    def holds(self, value: float) -> bool:
        """Whether a number lies within the rule's limits."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def text(self) -> str:
        """What is asked, without who asks it."""
        if self.kind == "format":
            return f"file is {' or '.join(value.upper() for value in self.values)}"
        plain = {
            "white_background": "background exactly 255, 255, 255 all along the border",
            "srgb": "colours are sRGB",
            "opaque": "no transparency",
            "no_metadata": "no EXIF, XMP, IPTC or text in the file",
        }
        if self.kind in plain:
            return plain[self.kind]
        names = {"fill": "product fills", "longest_side": "longest side", "shortest_side": "shortest side",
                 "megapixels": "area", "bytes": "file has", "dpi": "resolution"}  # fmt: skip
        limits = [f"at least {self._number(self.least)}"] if self.least is not None else []
        limits += [f"at most {self._number(self.most)}"] if self.most is not None else []
        return f"{names[self.kind]} {' and '.join(limits)}"

    def _number(self, value: float) -> str:
        if self.kind == "fill":
            return f"{100 * value:g} % of the frame"
        units = {"megapixels": "megapixels", "bytes": "bytes", "dpi": "dpi"}
        return f"{value:,.12g} {units.get(self.kind, 'px')}"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """``size``: the longest side in pixels that results get where nobody names one; larger sources keep theirs."""

    name: str
    title: str
    size: int
    rules: tuple[Rule, ...]

    def must(self, kind: str) -> Rule | None:
        """The first rule of that kind that has to be kept."""
        return next((rule for rule in self.rules if rule.kind == kind and rule.must), None)

    def all(self, *kinds: str) -> list[Rule]:
        return [rule for rule in self.rules if rule.kind in kinds]


def profile_names() -> list[str]:
    """Those that come with Backplate."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def find_profile(name_or_path: str) -> Profile:
    """A profile of ours by its name, or that of a JSON file. Raises ``InputError`` for neither, and as
    ``parse_profile``."""
    if name_or_path in profile_names():
        return read_profile(FOLDER / f"{name_or_path}.json")
    path = Path(name_or_path)
    if path.suffix.lower() != ".json":
        raise InputError(
            f"{name_or_path!r} is not a profile; choose {', '.join(profile_names())}, or name a .json file with rules."
        )
    return read_profile(path)


def read_profile(path: Path) -> Profile:
    """The profile in a file. Raises ``InputError``."""
    try:
        if path.stat().st_size > LONGEST_FILE:
            raise InputError(f"{path}: {path.stat().st_size:,} bytes are too many for a profile of rules.")
        written: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON ({error or type(error).__name__}).") from error
    try:
        return parse_profile(written)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse_profile(written: Any) -> Profile:
    """A profile out of what JSON gives. Raises ``InputError`` with the name of whatever is unknown, missing or out of
    range."""
    fields = _object(written, "the profile")
    _refuse_unknown(fields, ("name", "title", "size", "rules"), "the profile")
    rules = fields.get("rules")
    if not isinstance(rules, list) or not rules:
        raise InputError('the profile has no list "rules" with rules in it.')
    size = _number(fields, "size", "the profile")
    if size is None or not 1 <= size <= 65_500 or size != int(size):
        raise InputError('the profile\'s "size" is the longest side of results, a whole number from 1 to 65,500.')
    name = _text(fields, "name", "the profile")
    if not name:
        raise InputError('the profile has no "name".')
    parsed = tuple(_parse_rule(each, number) for number, each in enumerate(cast("list[Any]", rules), start=1))
    title = _text(fields, "title", "the profile") or name
    return Profile(name=name, title=title, size=int(size), rules=parsed)


def _parse_rule(written: Any, number: int) -> Rule:
    fields = _object(written, f"rule {number}")
    kind = fields.get("rule")
    if not isinstance(kind, str) or kind not in KINDS:
        raise InputError(f"rule {number} is {kind!r}, which is not known; choose one of {', '.join(KINDS)}.")
    where = f"rule {number} ({kind})"
    _refuse_unknown(fields, (*ALWAYS, *KINDS[kind]), where)
    level = fields.get("level", "must")
    if level not in ("must", "should"):
        raise InputError(f'{where} has the level {level!r}; write "must" or "should".')
    numbers = {name: _number(fields, name, where) for name in NUMBERS}
    rule = Rule(
        kind=kind,
        must=level == "must",
        values=_formats(fields, where) if kind == "format" else (),
        source=_text(fields, "source", where),
        date=_text(fields, "date", where),
        note=_text(fields, "note", where),
        **numbers,
    )
    _check_numbers(rule, where)
    _check_date(rule.date, where)
    return rule


def _check_numbers(rule: Rule, where: str) -> None:
    if "most" in KINDS[rule.kind] and rule.least is None and rule.most is None:
        raise InputError(f'{where} has neither "least" nor "most".')
    if rule.least is not None and rule.most is not None and rule.least > rule.most:
        raise InputError(f"{where} asks for at least {rule.least:g} and at most {rule.most:g}.")
    highest = {"fill": 1.0, "near": 255.0, "quality_floor": 100.0}
    for name in NUMBERS:
        value, top = getattr(rule, name), highest.get(name, highest.get(rule.kind, math.inf))
        if value is not None and not 0 < value <= top:
            raise InputError(f'{where} has {value:g} for "{name}"; give a number above 0{_up_to(top)}.')
    if rule.kind == "fill" and rule.aim is not None and not rule.holds(rule.aim):
        raise InputError(f"{where} aims at {rule.aim:g}, which is outside of its own limits.")


def _up_to(top: float) -> str:
    return "" if math.isinf(top) else f" and up to {top:g}"


def _check_date(written: str, where: str) -> None:
    try:
        if written:
            date.fromisoformat(written)
    except ValueError as error:
        raise InputError(f'{where} has the date {written!r}; write it as "2026-11-28".') from error


def _formats(fields: dict[str, Any], where: str) -> tuple[str, ...]:
    values = fields.get("values")
    if not isinstance(values, list) or not values:
        raise InputError(f'{where} has no list "values" with formats in it.')
    names = tuple(str(value).lower() for value in cast("list[Any]", values))
    if unknown := [name for name in names if name not in FORMAT_NAMES]:
        raise InputError(f"{where} names {unknown[0]!r}; choose from {', '.join(FORMAT_NAMES)}.")
    return names


def _object(written: Any, where: str) -> dict[str, Any]:
    if not isinstance(written, dict):
        raise InputError(f"{where} is no JSON object.")
    return cast("dict[str, Any]", written)


def _refuse_unknown(fields: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    if unknown := [name for name in fields if name not in known]:
        raise InputError(f'{where} has "{unknown[0]}", which is not known there; known are {", ".join(known)}.')


def _number(fields: dict[str, Any], name: str, where: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f'{where} has {value!r} for "{name}", which is no number.')
    return float(value)


def _text(fields: dict[str, Any], name: str, where: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise InputError(f'{where} has {value!r} for "{name}", which is no text.')
    return value
