"""Votes: what a vote contains, which of those on disk count, and why the others do not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from ..errors import InputError
from .design import VOTES, Design

LEFT, RIGHT, NONE = "left", "right", "none"
CHOICES = (LEFT, RIGHT, NONE)
UNDONE = "undone"
"""A record with this choice withdraws the voter's vote of that number."""
LONGEST_NAME = 100
LONGEST_WAIT = 3_600_000
"""Milliseconds; a longer time means that the clock jumped or the voter went away."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One line of a file of votes. ``id`` is new for each vote, so that one sent twice is recognised. ``number``: the
    trial's, in the voter's order; None for imported votes. ``ms``: time to the answer, None if unknown."""

    study: str
    voter: str
    id: str
    item: str
    left: str
    right: str
    choice: str
    number: int | None = None
    ms: int | None = None
    zoom: float | None = None
    flickers: int | None = None
    viewport: str | None = None
    ratio: float | None = None

    def to_line(self) -> str:
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None}) + "\n"

    @property
    def place(self) -> tuple[object, ...]:
        """What a voter can vote on once."""
        return (self.voter, self.number) if self.number is not None else (self.voter, self.id)


@dataclass(frozen=True)
class Ballots:
    """``counted``, in order, and a sentence for each line that does not count."""

    counted: tuple[Vote, ...]
    problems: tuple[str, ...]


def parse_vote(data: object, design: Design, items: Mapping[str, Any] | None = None) -> Vote:
    """A vote from JSON. ``items``: ``design.by_item()``, if the caller has it at hand.

    Raises ``InputError`` for a vote that is incomplete, belongs to another study, or names an item or token that the
    design does not have. Impossible numbers (a time below 0) are left out; they are not needed for counting.
    """
    if not isinstance(data, dict):
        raise InputError("a vote is an object with study, voter, id, item, left, right and choice.")
    given = cast("dict[str, Any]", data)
    texts = {name: given.get(name) for name in ("study", "voter", "id", "item", "left", "right", "choice")}
    wrong = [name for name, value in texts.items() if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME]
    if wrong:
        raise InputError(f"a vote needs {', '.join(wrong)} as text of 1 to {LONGEST_NAME} characters.")
    if texts["study"] != design.study:
        raise InputError("it belongs to another study.")
    item = (items or design.by_item()).get(str(texts["item"]))
    if item is None or {texts["left"], texts["right"]} != {item.first, item.second}:
        raise InputError("its item or tokens are not in the design of this study.")
    if texts["choice"] not in (*CHOICES, UNDONE):
        raise InputError(f"its choice {texts['choice']!r} is none of {', '.join(CHOICES)}.")
    return Vote(**texts, **_numbers(given))  # pyright: ignore[reportArgumentType]  all checked to be texts


def _numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    def number(name: str, high: float) -> float | None:
        value = given.get(name)
        known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= high
        return value if known else None

    whole = {name: number(name, high) for name, high in (("number", 1e6), ("ms", LONGEST_WAIT), ("flickers", 1e6))}
    viewport = given.get("viewport")
    return {
        **{name: None if value is None else int(value) for name, value in whole.items()},
        "zoom": number("zoom", 64),
        "ratio": number("ratio", 64),
        "viewport": viewport if isinstance(viewport, str) and len(viewport) <= LONGEST_NAME else None,
    }


def count(votes: Iterable[Vote]) -> tuple[list[Vote], int]:
    """The votes that count, in order, and how many were sent again. The first vote on a trial counts, unless it was
    withdrawn; a vote never counts twice."""
    seen: set[str] = set()
    counted: dict[tuple[object, ...], Vote] = {}
    doubles = 0
    for vote in votes:
        if vote.id in seen:
            doubles += 1
            continue
        seen.add(vote.id)
        if vote.choice == UNDONE:
            counted.pop(vote.place, None)
        elif vote.place in counted:
            doubles += 1
        else:
            counted[vote.place] = vote
    return list(counted.values()), doubles


def read_votes(folder: Path, design: Design) -> Ballots:
    """The votes of a study that count. A truncated or invalid line is skipped and named; nothing else is lost. Raises
    ``OSError``."""
    votes, problems = read_all(folder, design)
    counted, doubles = count(votes)
    if doubles:
        problems.append(f"{doubles} vote{'s were' if doubles > 1 else ' was'} sent twice and counted once.")
    return Ballots(tuple(counted), tuple(problems))


def read_all(folder: Path, design: Design) -> tuple[list[Vote], list[str]]:
    """Every vote of every file in the folder of votes, and a sentence for each line without a valid one."""
    items, votes, problems = design.by_item(), list[Vote](), list[str]()
    for path in sorted((folder / VOTES).glob("*.jsonl")):
        found, wrong = parse_rows(
            json_lines(path.read_bytes()), path.name, lambda data: parse_vote(data, design, items)
        )  # fmt: skip
        votes += found
        problems += wrong
    return votes, problems


def json_lines(content: bytes) -> Iterator[tuple[int, object]]:
    """Line numbers and values; None for what is not JSON."""
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError):
                yield number, None


def parse_rows(
    rows: Iterable[tuple[int, object]], name: str, parse: Callable[[object], Vote]
) -> tuple[list[Vote], list[str]]:
    """The votes of numbered rows of the file ``name``, and a sentence for each row without a valid one."""
    votes: list[Vote] = []
    problems: list[str] = []
    for number, data in rows:
        try:
            if data is None:
                raise InputError("it is cut off or not JSON.")
            votes.append(parse(data))
        except InputError as error:
            problems.append(f"{name} line {number} does not count: {error}")
    return votes, problems
