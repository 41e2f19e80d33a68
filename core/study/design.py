"""What a study asks, fixed before the first vote, and what each voter is shown in which order.

Three files: ``study.json`` is what voters may know, ``pictures/`` holds what they see under opaque tokens, and
``key.json`` says which token is which model; it never leaves the machine.
"""

from __future__ import annotations

import hashlib
import json
import random
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..atomic_write import write_atomic
from ..errors import InputError
from ..parsed import Strict, parse, read_json

FORMAT = 1
DESIGN, KEY, PICTURES, VOTES, PAGE = "study.json", "key.json", "pictures", "votes", "page.html"
LOOKS, TRUER = "looks", "truer"
QUESTIONS = {
    LOOKS: "Which looks better?",
    TRUER: "Which is truer to the source in the middle?",
}
REPEATS = 30
"""One trial in this many is shown to the voter a second time, sides swapped; at least one."""
WIN = (
    "A side wins a question if the 97.5 % interval of its preference share, a 'no difference' counting half for each "
    "side, lies above 50 % against every other side; otherwise there is no clear winner."
)
"""Stricter than the 95 % interval that is shown, which would name one of two equal sides the winner in 5 of 100
studies."""
STOP = "The study ends when the planned number of voters have voted; results seen before that are preliminary."


def new_token() -> str:
    """128 random bits from the system's own source: nothing about a study can be derived from them."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Item(Strict):
    """A pair of pictures under one question. ``first``, ``second``: tokens, in a random order.
    ``middle``: the token of the source, for the question that shows it. ``frames``: more than one for a clip, which
    plays at ``rate`` frames per second."""

    item: str
    question: str
    first: str
    second: str
    middle: str | None
    width: int
    height: int
    frames: int = 1
    rate: float = 0.0

    @property
    def tokens(self) -> tuple[str, ...]:
        return (self.first, self.second) if self.middle is None else (self.first, self.second, self.middle)


@dataclass(frozen=True)
class Trial:
    """What a voter is shown as number ``number``, from 0."""

    number: int
    item: str
    question: str
    left: str
    right: str
    middle: str | None
    width: int
    height: int
    frames: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class Design(Strict):
    """``study.json``. ``voters``: how many are planned. ``trials``: the most items that one voter is asked about, 0 for
    all. ``decides``: the question whose answer names the winner."""

    study: str
    title: str
    seed: int
    voters: int
    items: tuple[Item, ...]
    decides: str = LOOKS
    trials: int = 0
    win: str = WIN
    stop: str = STOP
    format: int = FORMAT

    @property
    def questions(self) -> tuple[str, ...]:
        return tuple(name for name in QUESTIONS if any(item.question == name for item in self.items))

    def to_json(self) -> bytes:
        return _json(self)

    def by_item(self) -> dict[str, Item]:
        return {item.item: item for item in self.items}


@dataclass(frozen=True)
class Answer(Strict):
    """What an item is. ``kind``: pair, identical or obvious. ``right``: the correct token of an obvious one."""

    kind: str
    picture: str
    right: str | None = None


@dataclass(frozen=True, kw_only=True)
class Key(Strict):
    """``key.json``: the model behind each token, what each item is, and what was measured.

    ``design``: SHA-256 of ``study.json``. ``figures``: by token and metric. ``settings``: by label, what made it."""

    study: str
    design: str
    labels: tuple[str, ...]
    models: Mapping[str, str]
    answers: Mapping[str, Answer]
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    captions: Mapping[str, str] = field(default_factory=dict[str, str])
    format: int = FORMAT

    def to_json(self) -> bytes:
        return _json(self)

    def tokens(self, design: Design) -> dict[tuple[str, str], str]:
        """The tokens of the pairs, by picture and label."""
        return {
            (self.answers[item.item].picture, self.models[token]): token
            for item in design.items
            if self.answers[item.item].kind == "pair"
            for token in (item.first, item.second)
        }


def _json(content: Design | Key) -> bytes:
    return (json.dumps(asdict(content), indent=1) + "\n").encode()


def schedule(design: Design, voter: int) -> list[Trial]:
    """What voter number ``voter``, from 0, is shown. Two consecutive voters see every pair with its sides swapped; each
    has their own order. The same number gives the same trials."""
    count = len(design.items)
    shown = min(design.trials or count, count)
    side = random.Random(f"{design.seed} sides")
    bases = [side.random() < 0.5 for _ in range(count)]
    turns = range(voter * shown, (voter + 1) * shown)
    wanted = [(design.items[turn % count], bases[turn % count] ^ bool(turn // count % 2)) for turn in turns]
    order = random.Random(f"{design.seed} voter {voter}")
    order.shuffle(wanted)
    repeats = order.sample(range(max(1, shown // 2)), max(1, shown // REPEATS)) if shown > 1 else []
    wanted += [(wanted[index][0], not wanted[index][1]) for index in sorted(repeats)]
    return [_trial(number, item, swapped) for number, (item, swapped) in enumerate(wanted)]


def _trial(number: int, item: Item, swapped: bool) -> Trial:
    facts = asdict(item)
    left, right = facts.pop("first"), facts.pop("second")
    return Trial(number=number, left=right if swapped else left, right=left if swapped else right, **facts)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_design(folder: Path) -> Design:
    """Raises ``InputError`` for a folder without a study, or one that cannot be read."""
    path = folder / DESIGN
    if not path.exists():
        raise InputError(f"There is no {path}: backplate study new makes one.")
    design = parse(Design, read_json(path, "restore a complete copy"), f"{path}: ", strict=True)
    if design.format != FORMAT:
        raise InputError(f"{path} has format {design.format}, and this version reads {FORMAT}; update it.")
    return design


def read_key(folder: Path) -> Key:
    """Raises ``InputError`` if there is no key, it belongs to another study, or the design is no longer the one that
    it was written for."""
    path = folder / KEY
    if not path.exists():
        raise InputError(
            f"There is no {path}: without it nobody can say which picture came from which model; restore it."
        )
    key = parse(Key, read_json(path, "restore a complete copy"), f"{path}: ", strict=True)
    if key.study != read_design(folder).study:
        raise InputError(f"{path} belongs to another study; restore the key of this one.")
    if key.design != digest((folder / DESIGN).read_bytes()):
        raise InputError(
            f"{folder / DESIGN} was changed after the study was made, and votes count only under the original "
            "design: restore it, or make a new study."
        )
    return key


def write_study(folder: Path, design: Design, key: Key) -> None:
    """Writes design and key, the key first; only its owner may read it. Raises ``OSError``."""
    write_atomic(folder / KEY, key.to_json(), private=True)
    write_atomic(folder / DESIGN, design.to_json())
