"""Parsing of command-line options."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import TypeVar

from ..core.errors import InputError
from ..core.image.canvas import Background, Fill, parse_colour
from ..core.image.fit import Anchor, Fit, Target
from ..model_loader.find import SUFFIXES
from .errors import UsageProblem

Choice = TypeVar("Choice", bound=Enum)
Value = TypeVar("Value", str, int)


def choice(kind: type[Choice], value: str, option: str) -> Choice:
    """The member of ``kind`` with that value; hyphens may stand for spaces."""
    for member in kind:
        if value.lower().replace("-", " ") == str(member.value).replace("-", " "):
            return member
    allowed = ", ".join(str(member.value) for member in kind)
    raise UsageProblem(f"{option} {value}: choose one of {allowed}.")


def one_of(allowed: Sequence[Value], value: Value | None, option: str) -> Value | None:
    """``value`` if it is among those allowed, or None."""
    if value is not None and value not in allowed:
        raise UsageProblem(f"{option} {value}: choose one of {', '.join(map(str, allowed))}.")
    return value


@contextmanager
def as_usage() -> Generator[None]:
    """Reports errors of the settings as errors of the command line."""
    try:
        yield
    except InputError as error:
        raise UsageProblem(str(error)) from error


def parse_size(text: str) -> tuple[int, int]:
    """``2000x1000``, ``2000x`` and ``x1000`` (the other side is 0 and follows from the aspect), ``2000`` (both
    sides)."""
    written = text.strip().lower()
    sides = written.split("x") if "x" in written else [written, written]
    if len(sides) != 2 or not all(re.fullmatch(r"\d{0,9}", side) for side in sides) or not any(map(_number, sides)):
        raise UsageProblem(f"--size {text}: write it as 2000x1000, 2000x, x1000 or 2000.")
    return _number(sides[0]), _number(sides[1])


def _number(digits: str) -> int:
    return int(digits or 0)


def requested_target(
    size: str | None,
    scale: float | None,
    megapixels: float | None,
    fit: str | None,
    anchor: str,
    multiple_of: int,
) -> Target | None:
    """The target that the options describe; None for the model's own scale. Raises ``UsageProblem``."""
    given = {"--size": size, "--scale": scale, "--megapixels": megapixels}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise UsageProblem(f"{' and '.join(names)} set the size in different ways; give only one of them.")
    where = choice(Anchor, anchor, "--anchor")
    if not names:
        if fit is not None:
            raise UsageProblem(f"--fit {fit} has no effect without --size, --scale or --megapixels.")
        return None
    usual = {"--size": Fit.COVER, "--scale": Fit.FACTOR, "--megapixels": Fit.MEGAPIXELS}[names[0]]
    wanted = usual if fit is None else choice(Fit, fit, "--fit")
    if wanted is not usual and (names[0] != "--size" or wanted in (Fit.FACTOR, Fit.MEGAPIXELS)):
        raise UsageProblem(f"--fit {wanted.value} cannot be combined with {names[0]}.")
    width, height = parse_size(size) if size is not None else (0, 0)
    numbers = {"factor": scale, "megapixels": megapixels}
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise UsageProblem(f"{names[0]} {value:g}: choose a {name} above 0.")
    given_numbers = {name: value for name, value in numbers.items() if value is not None}
    return Target(width=width, height=height, fit=wanted, anchor=where, multiple_of=multiple_of, **given_numbers)


def requested_background(text: str | None) -> Background | None:
    """What lies behind and beside the picture: ``edge``, ``transparent`` or a colour; None if not given."""
    if text is None:
        return None
    if text.lower() in (Fill.EDGE.value, Fill.TRANSPARENT.value):
        return Background(Fill(text.lower()))
    parse_colour(text)
    return Background(Fill.COLOUR, text)


def model_stem(name_or_path: str) -> str:
    """The name of a model in file names."""
    name = name_or_path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def refuse_for_one_picture(options: Mapping[str, object]) -> None:
    """Raises ``UsageProblem`` for an option that applies only to folders."""
    if given := [name for name, value in options.items() if value]:
        raise UsageProblem(f"{given[0]} works only with folders, and this is one picture; leave it out.")
