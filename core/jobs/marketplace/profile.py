"""What a marketplace requires of a picture, read from a JSON file: rules, with their source and its date."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from ...errors import InputError
from ...parsed import Strict, parse, read_json

FOLDER = Path(__file__).with_name("profiles")
LIMITS = ("least", "most", "aim", "quality_floor", "near", "values")
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
"""Fields that a rule of each kind may have, in addition to level, source, date and note."""
FORMAT_NAMES = ("jpeg", "png", "tiff", "webp", "avif", "bmp", "gif", "heic", "psd", "svg")
Positive = Annotated[float, Field(gt=0)]
USUAL_NEAR, USUAL_QUALITY_FLOOR, USUAL_AIM = 25, 80, 0.9


def _is_must(level: object) -> bool:
    if level not in ("must", "should"):
        raise ValueError("it should be 'must' or 'should'")
    return level == "must"


@dataclass(frozen=True, kw_only=True)
class Rule(Strict):
    """``kind``: one of ``KINDS``. ``must``: a picture that breaks it is mended or fails; otherwise it gets a warning.
    Sides in pixels, ``bytes`` in bytes, ``dpi`` in pixels per inch, ``fill`` as a share of the frame from 0 to 1.
    ``near``: by how many levels of 255 a background may be below white and still be made white. ``source`` is an
    address, ``date`` the day it was read."""

    kind: Annotated[str, Field(alias="rule")]
    must: Annotated[bool, Field(alias="level"), BeforeValidator(_is_must)] = True
    least: Positive | None = None
    most: Positive | None = None
    aim: Positive | None = None
    quality_floor: Annotated[float, Field(gt=0, le=100)] | None = None
    near: Annotated[float, Field(gt=0, le=255)] | None = None
    values: tuple[Annotated[str, StringConstraints(to_lower=True)], ...] = ()
    source: str = ""
    date: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"there is no rule {self.kind!r}; choose one of {', '.join(KINDS)}.")
        known = KINDS[self.kind]
        if alien := [name for name in LIMITS if getattr(self, name) and name not in known]:
            raise InputError(f"{self.kind} does not take {alien[0]}; it takes {', '.join(known) or 'no limits'}.")
        if "most" in known and self.least is None and self.most is None:
            raise InputError("it has neither least nor most.")
        if self.least is not None and not self.holds(self.least):
            raise InputError(f"it asks for at least {self.least:g} and at most {self.most:g}.")
        if self.kind == "fill" and not all((each or 0) <= 1 for each in (self.least, self.most, self.aim)):
            raise InputError("what a product fills is a share, up to 1.")
        if self.aim is not None and not self.holds(self.aim):
            raise InputError(f"it aims at {self.aim:g}, which is outside of its own limits.")
        if "values" in known and not (self.values and set(self.values) <= set(FORMAT_NAMES)):
            raise InputError(f"values must be a list of formats from {', '.join(FORMAT_NAMES)}.")
        datetime.date.fromisoformat(self.date or "2026-11-28")

    def holds(self, value: float) -> bool:
        """Whether a number is within the rule's limits."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def text(self) -> str:
        """The requirement as readable text, without its source."""
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
class Profile(Strict):
    """``size``: the longest side of results, in pixels, if the user names none; larger sources keep theirs."""

    name: Annotated[str, Field(min_length=1)]
    title: str = ""
    size: Annotated[int, Field(ge=1, le=65_500)]
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]

    def must(self, kind: str) -> Rule | None:
        """The first mandatory rule of that kind."""
        return next((rule for rule in self.rules if rule.kind == kind and rule.must), None)

    def all(self, *kinds: str) -> list[Rule]:
        return [rule for rule in self.rules if rule.kind in kinds]


def profile_names() -> list[str]:
    """The bundled profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def find_profile(name_or_path: str) -> Profile:
    """A bundled profile by name, or the profile in a JSON file. Raises ``InputError`` for anything else, and as
    ``parse_profile`` does."""
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
    return parse_profile(read_json(path, "name a profile of rules"), f"{path}: ")


def parse_profile(written: Any, where: str = "") -> Profile:
    """A profile from parsed JSON. Raises ``InputError``, which starts with ``where`` and names what is unknown, missing
    or out of range."""
    profile = parse(Profile, written, where, strict=True)
    return replace(profile, title=profile.title or profile.name)


def table(profile: Profile) -> str:
    """A Markdown table: each rule, whether it is mandatory, its source and its date."""
    head = ["| rule | must | read | note |", "|---|---|---|---|"]
    return "\n".join([f"### {profile.title}", "", *head, *(_row(rule) for rule in profile.rules)])


def _row(rule: Rule) -> str:
    read = f"[{rule.date}]({rule.source})" if rule.source else rule.date
    return f"| {rule.text()} | {'yes' if rule.must else 'no, a warning'} | {read} | {rule.note} |"
