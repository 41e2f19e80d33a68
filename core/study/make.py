"""Makes a study from scenes, and adds scenes to a study that has no votes yet."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from ..errors import EXPECTED, InputError, sentence_for
from ..metrics.compare import Comparer
from .design import (
    DESIGN,
    LOOKS,
    PICTURES,
    QUESTIONS,
    REPEATS,
    TRUER,
    VOTES,
    Answer,
    Design,
    Item,
    Key,
    digest,
    new_token,
    read_design,
    read_key,
    write_study,
)
from .pictures import write_pictures
from .scenes import Scene
from .views import View, view_of, views_in

SIDE = 512
"""Longest side, in pixels, of what a voter sees: the part where the sides differ most."""
CONTROLS = 0.15
"""Largest share of controls among a voter's trials."""
MOST_SIDES = 8
Scenes = Iterable[tuple[str, Callable[[], Scene]]]
"""Names and readers, so that a picture that cannot be read costs only itself."""


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """``trials``: the most pairs that one voter is asked about, 0 for all. ``comparer``: measures the sides against
    references. ``settings``: by label, what made that side, for the winner's preset."""

    title: str = ""
    voters: int = 12
    trials: int = 0
    side: int = SIDE
    questions: tuple[str, ...] = (LOOKS, TRUER)
    decides: str = LOOKS
    comparer: Comparer | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


def make_study(
    folder: Path, labels: Sequence[str], scenes: Scenes, settings: StudySettings
) -> tuple[Design, list[str]]:
    """Writes a study to ``folder``, which must not hold one. Returns the design, and sentences about what was left out.

    Raises ``InputError`` for fewer than two sides, or nothing to show; ``OSError`` if the disk refuses.
    """
    if (folder / DESIGN).exists():
        raise InputError(f"{folder} already holds a study, whose design is fixed; name another folder.")
    _check(labels, settings)
    views: list[View] = []
    problems: list[str] = []
    for name, load in scenes:
        try:
            views.append(view_of(load(), labels, settings.side, settings.comparer))
        except EXPECTED as error:
            problems.append(f"{name} is left out: {sentence_for(error)}")
    if not views:
        raise InputError(" ".join(["There is no picture to vote on.", *problems[:3]]))
    empty = Design(study=new_token(), title=settings.title, seed=0, voters=settings.voters, items=())
    empty = replace(empty, decides=settings.decides, trials=settings.trials)
    return _write(folder, empty, labels, views, settings.questions, settings.settings), problems


def add_scenes(folder: Path, labels: Sequence[str], scenes: Sequence[Scene], settings: StudySettings) -> Design:
    """Adds scenes to the study in ``folder``, which is created if there is none. Only a new study takes ``settings``,
    except ``side`` and ``comparer``.

    Raises ``InputError`` after the first vote, for labels other than the study's, and as ``make_study`` does; nothing
    has been changed then. ``OSError`` if the disk refuses.
    """
    if not (folder / DESIGN).exists():
        return make_study(folder, labels, [(scene.name, _given(scene)) for scene in scenes], settings)[0]
    design, key = read_design(folder), read_key(folder)
    if any(path.stat().st_size for path in (folder / VOTES).glob("*.jsonl")):
        raise InputError(f"People have already voted in {folder}, so its design is fixed; name another study.")
    if tuple(labels) != key.labels:
        raise InputError(f"The study compares {', '.join(key.labels)}, not {', '.join(labels)}; name another study.")
    known = views_in(folder, design, key)
    taken = {view.name for view in known}
    fresh = [view_of(replace(scene, name=_free(scene.name, taken)), labels, settings.side, None) for scene in scenes]
    return _write(folder, design, labels, [*known, *fresh], settings.questions, key.settings)


def _given(scene: Scene) -> Callable[[], Scene]:
    return lambda: scene


def _free(name: str, taken: set[str]) -> str:
    """The name, numbered if the study already has it."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name} ({number})", number + 1
    taken.add(free)
    return free


def _check(labels: Sequence[str], settings: StudySettings) -> None:
    if not 2 <= len(set(labels)) == len(labels) <= MOST_SIDES or not all(labels):
        raise InputError(f"A study compares 2 to {MOST_SIDES} sides with different names; {len(labels)} were given.")
    unknown = [name for name in (*settings.questions, settings.decides) if name not in QUESTIONS]
    if unknown:
        raise InputError(f"There is no question {unknown[0]!r}; choose from {', '.join(QUESTIONS)}.")
    if settings.decides not in settings.questions:
        raise InputError(f"The study does not ask {settings.decides!r}, so it cannot decide; ask it too.")
    if settings.voters < 1 or settings.side < 16:
        raise InputError(
            f"A study needs at least 1 voter and shows at least 16 pixels, not {settings.voters} and {settings.side}."
        )


def _write(
    folder: Path,
    header: Design,
    labels: Sequence[str],
    views: Sequence[View],
    questions: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
) -> Design:
    """Random numbers come from the system: whoever knew a seed could derive which model is behind each item."""
    dice = secrets.SystemRandom()
    answers: dict[str, Answer] = {}
    real = [item for view in views for item in _pairs(view, labels, questions, answers)]
    if not real:
        raise InputError(
            "Only sources can show which side is truer; give sources or references, or ask which looks better."
        )
    items = _mixed(real, _controls(len(real), questions, views, dice, answers), dice)
    asked = {item.question for item in items}
    design = replace(
        header,
        seed=dice.getrandbits(32),
        items=tuple(items),
        decides=header.decides if header.decides in asked else next(name for name in QUESTIONS if name in asked),
    )
    key = Key(
        study=design.study,
        design=digest(design.to_json()),
        labels=tuple(labels),
        models={token: label for view in views for label, token in view.tokens.items()},
        answers=answers,
        figures={token: figures for view in views for token, figures in view.figures.items()},
        settings=settings,
        captions={view.name: view.caption for view in views if view.caption},
    )
    write_pictures(folder / PICTURES, [view.pngs for view in views])
    write_study(folder, design, key)
    _remove_others(folder / PICTURES, design)
    return design


def _remove_others(folder: Path, design: Design) -> None:
    """Deletes pictures of controls that were replaced."""
    shown = {token for item in design.items for token in item.tokens}
    for path in folder.glob("*.png"):
        if path.stem not in shown:
            path.unlink(missing_ok=True)


def _pairs(view: View, labels: Sequence[str], questions: Sequence[str], answers: dict[str, Answer]) -> list[Item]:
    return [
        _item(view, question, (view.tokens[one], view.tokens[other]), Answer("pair", view.name), answers)
        for one, other in combinations(labels, 2)
        for question in questions
        if question != TRUER or view.middle is not None
    ]


def _item(view: View, question: str, tokens: tuple[str, str], answer: Answer, answers: dict[str, Answer]) -> Item:
    """Tokens are sorted by their random digits, which reveals nothing."""
    first, second = sorted(tokens)
    middle = view.middle if question == TRUER else None
    item = Item(new_token(), question, first, second, middle, *view.size, view.frames, view.rate)
    answers[item.item] = answer
    return item


def _controls(
    count: int, questions: Sequence[str], views: Sequence[View], dice: random.Random, answers: dict[str, Answer]
) -> list[Item]:
    """Identical and obvious pairs, one to two, as many as leave room for the repeated ones."""
    room = int(count * CONTROLS / (1 - CONTROLS))
    wanted = max(1, room - max(1, (count + room) // REPEATS))
    controls: list[Item] = []
    for number in range(wanted):
        view = dice.choice(views)
        askable = [name for name in questions if name != TRUER or view.middle is not None]
        same = number % 3 == 1
        original, other = view.control(same=same)
        answer = Answer("identical", view.name) if same else Answer("obvious", view.name, original)
        controls.append(_item(view, dice.choice(askable or [LOOKS]), (original, other), answer, answers))
    return controls


def _mixed(real: list[Item], controls: list[Item], dice: random.Random) -> list[Item]:
    """The items in random order, the controls spread evenly among them, so that a voter who sees part of the items sees
    a proportional part of the controls."""
    dice.shuffle(real)
    dice.shuffle(controls)
    mixed: list[Item] = []
    for number, control in enumerate(controls):
        part = real[number * len(real) // len(controls) : (number + 1) * len(real) // len(controls)]
        part.insert(dice.randrange(len(part) + 1), control)
        mixed += part
    return mixed
