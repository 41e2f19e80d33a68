"""Finds voters whose answers mean nothing, from their controls, by a rule that is fixed beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import comb

from .design import Answer, Key
from .votes import LEFT, NONE, RIGHT, Vote

LEVEL = 0.05
SIDE_LEVEL = 0.001
GUESS = 1 / 3
FEWEST_CHECKS = 3
"""With fewer controls, even a voter who gets all of them right cannot be told from one who guesses."""

RULE = (
    "A voter is left out if somebody who guesses among the three answers would have as many controls right (identical "
    f"pairs, obvious pairs) in more than {LEVEL:.0%} of cases; if repeated pairs were answered the opposite way more "
    f"often than a tossed coin would in {LEVEL:.0%} of cases; or if one side of the screen was chosen more often than "
    f"a tossed coin would in {SIDE_LEVEL:.1%} of cases."
)


@dataclass(frozen=True, kw_only=True)
class VoterRecord:
    """``checks``: answered controls. ``reasons``: why the voter is left out; empty if not."""

    voter: str
    votes: int
    checks: int
    right: int
    repeats: int
    contradictions: int
    reasons: tuple[str, ...]

    @property
    def kept(self) -> bool:
        return not self.reasons


def chosen(vote: Vote) -> str | None:
    """The preferred token; None for no difference."""
    return {LEFT: vote.left, RIGHT: vote.right}.get(vote.choice)


def screen(votes: Iterable[Vote], key: Key) -> list[VoterRecord]:
    """A record of each voter, sorted by name."""
    by_voter: dict[str, list[Vote]] = {}
    for vote in votes:
        by_voter.setdefault(vote.voter, []).append(vote)
    return [_record(voter, by_voter[voter], key) for voter in sorted(by_voter)]


def _record(voter: str, votes: list[Vote], key: Key) -> VoterRecord:
    checks = [_is_right(vote, key.answers[vote.item]) for vote in votes if key.answers[vote.item].kind != "pair"]
    repeats, opposed = _repeats(votes)
    sides = [vote.choice for vote in votes if vote.choice != NONE]
    reasons: list[str] = []
    if len(checks) >= FEWEST_CHECKS and _at_least(sum(checks), len(checks), GUESS) > LEVEL:
        reasons.append(f"only {sum(checks)} of {len(checks)} controls are right")
    if _at_least(opposed, repeats, 0.5) <= LEVEL:
        reasons.append(f"{opposed} of {repeats} repeated pairs were answered the opposite way")
    one = max(sides.count(LEFT), sides.count(RIGHT))
    if 2 * _at_least(one, len(sides), 0.5) <= SIDE_LEVEL:
        reasons.append(f"one side of the screen was chosen {one} of {len(sides)} times")
    return VoterRecord(
        voter=voter,
        votes=len(votes),
        checks=len(checks),
        right=sum(checks),
        repeats=repeats,
        contradictions=opposed,
        reasons=tuple(reasons),
    )


def _is_right(vote: Vote, answer: Answer) -> bool:
    return vote.choice == NONE if answer.kind == "identical" else chosen(vote) == answer.right


def _repeats(votes: list[Vote]) -> tuple[int, int]:
    """Number of pairs that the voter saw again, and how many of them got the opposite answer."""
    first: dict[str, Vote] = {}
    repeats = opposed = 0
    for vote in votes:
        before = first.setdefault(vote.item, vote)
        if before is not vote:
            repeats += 1
            answers = {chosen(before), chosen(vote)}
            opposed += len(answers) == 2 and None not in answers
    return repeats, opposed


def _at_least(successes: int, trials: int, chance: float) -> float:
    """The probability of at least ``successes`` (binomial); 1 without trials."""
    return sum(comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(successes, trials + 1))
