"""Votes from elsewhere: saved pages, a shop's own page, a log of clicks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ..atomic_write import write_atomic
from ..errors import InputError
from .design import VOTES, Design, Item, digest, read_design
from .votes import CHOICES, NONE, UNDONE, Vote, count, json_lines, parse_rows, parse_vote, read_all

LARGEST = 200_000_000
"""Most bytes of a file."""
NUMBERS = ("number", "ms", "zoom", "flickers", "ratio")


def import_votes(folder: Path, path: Path) -> tuple[int, list[str]]:
    """Imports the votes of a ``.jsonl`` or ``.csv`` file into the study: how many more count now, and a sentence for
    each line that does not. Importing the same file again adds nothing.

    A line needs ``voter``, ``choice`` (left, right, none, or the chosen token) and either ``item`` or the two tokens
    ``left`` and ``right``. Raises ``InputError`` for a file that cannot be read or has no vote of this study;
    ``OSError``.
    """
    design = read_design(folder)
    content = _read(path)
    is_csv = path.suffix.lower() == ".csv"
    rows = _rows(content, path) if is_csv else json_lines(content.removeprefix(b"\xef\xbb\xbf"))
    votes, problems = parse_rows(rows, path.name, lambda data: _completed(data, design))
    if not votes:
        raise InputError(" ".join([f"{path} has no vote of this study.", *problems[:3]]))
    return _store(folder, design, votes, digest(content)[:16]), problems


def _store(folder: Path, design: Design, votes: list[Vote], name: str) -> int:
    before, _ = read_all(folder, design)
    known = {vote.id for vote in before}
    fresh = [vote for vote in votes if vote.id not in known]
    if fresh:
        (folder / VOTES).mkdir(parents=True, exist_ok=True)
        write_atomic(folder / VOTES / f"imported-{name}.jsonl", "".join(vote.to_line() for vote in fresh).encode())
    return len(count([*before, *fresh])[0]) - len(count(before)[0])


def _read(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise InputError(f"{path} has {size / 1e6:.0f} MB, and the limit is {LARGEST / 1e6:.0f}; split it.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); name a .jsonl or .csv file.") from error


def _rows(content: bytes, path: Path) -> Iterator[tuple[int, object]]:
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not CSV in UTF-8 ({error}); save it as such.") from error
    for number, row in enumerate(rows, 2):
        cells = cast("dict[str | None, object]", row)
        texts = {name.strip().lower(): cell.strip() for name, cell in cells.items() if name and isinstance(cell, str)}
        yield number, {name: _number(cell) if name in NUMBERS else cell for name, cell in texts.items() if cell}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _completed(data: object, design: Design) -> Vote:
    """The vote with what it may leave out: the study, the sides of its item, an identifier."""
    if not isinstance(data, dict):
        return parse_vote(data, design)
    given = {name: value for name, value in cast("dict[str, Any]", data).items() if value is not None}
    item = _item_of(given, design)
    if item is not None:
        given = {"item": item.item, "left": item.first, "right": item.second, **given}
    given.setdefault("study", design.study)
    if given.get("choice") not in (*CHOICES, UNDONE):
        sides = {given.get("left"): "left", given.get("right"): "right", "tie": NONE, "": NONE}
        given["choice"] = sides.get(given.get("choice"), given.get("choice"))
    said = [str(given.get(name)) for name in ("voter", "item", "left", "right", "choice", "number")]
    given.setdefault("id", digest(json.dumps(said).encode())[:32])
    return parse_vote(given, design)


def _item_of(given: dict[str, Any], design: Design) -> Item | None:
    """By its token, or by its sides and its question, which defaults to the deciding one."""
    question, sides = given.get("question", design.decides), {given.get("left"), given.get("right")}
    for item in design.items:
        if given.get("item") == item.item:
            return item
        if "item" not in given and item.question == question and sides == {item.first, item.second}:
            return item
    return None
