"""The results of a study, from its votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..metrics.registry import METRICS
from .agreement import Prediction, krippendorff, predictions
from .analysis import CONVENTION, Preference, Standings, standings
from .design import QUESTIONS, Answer, Design, Key, read_design, read_key
from .screening import RULE, VoterRecord, chosen, screen
from .votes import Vote, read_votes


@dataclass(frozen=True)
class PictureResult:
    """For one question, picture and pair: how many voters preferred each side, or saw no difference."""

    question: str
    picture: str
    first: str
    second: str
    for_first: int
    ties: int
    for_second: int


@dataclass(frozen=True, kw_only=True)
class Tally:
    """``questions``: standings by question. ``agreement``: Krippendorff's alpha by question, None if undefined.
    ``predictions``: how often a metric pointed where most people did."""

    design: Design
    key: Key
    questions: Mapping[str, Standings]
    voters: tuple[VoterRecord, ...]
    pictures: tuple[PictureResult, ...]
    agreement: Mapping[str, float | None]
    predictions: tuple[Prediction, ...]
    problems: tuple[str, ...]

    @property
    def deciding(self) -> Standings:
        return self.questions[self.design.decides]

    @property
    def winner(self) -> str | None:
        return self.deciding.winner

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        kept = sum(voter.kept for voter in self.voters)
        found: list[str] = []
        if len(self.voters) < self.design.voters:
            found.append(
                f"{len(self.voters)} of {self.design.voters} planned voters have voted: this is a look before the end. "
                "Stopping as soon as a side leads names winners that are none; wait for the others."
            )
        elif kept < self.design.voters:
            found.append(
                f"{kept} of {self.design.voters} planned voters count; invite {self.design.voters - kept} more."
            )
        if any(0 < voter.checks < 3 for voter in self.voters):
            found.append("A voter sees fewer than 3 controls: guessers cannot be told; use more pictures.")
        return tuple(found)

    def text(self) -> str:
        """The verdicts, warnings, metrics and voters left out, ready to print."""
        lines = [self.design.title] if self.design.title else []
        for question, found in self.questions.items():
            deciding = " (decides)" if question == self.design.decides and len(self.questions) > 1 else ""
            lines.append(f"{QUESTIONS[question]}{deciding} {found.verdict}")
            agreed = self.agreement[question]
            lines.append(
                f"  {found.votes} votes of {found.voters} voters on {found.pictures} pictures; agreement of voters "
                f"(Krippendorff's alpha): {'-' if agreed is None else f'{agreed:.2f}'}."
            )
            lines += [
                f"  {METRICS[each.metric].label} {each.text}" for each in self.predictions if each.question == question
            ]
        lines += [f"Left out: {voter.voter}, {'; '.join(voter.reasons)}." for voter in self.voters if not voter.kept]
        return "\n".join([*lines, *self.warnings, *self.problems])

    def _question(self, name: str) -> dict[str, Any]:
        found = self.questions[name]
        return {
            **asdict(found),
            "winner": found.winner,
            "verdict": found.verdict,
            "agreement": self.agreement[name],
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "study": self.design.study,
            "title": self.design.title,
            "decides": self.design.decides,
            "winner": self.winner,
            "planned_voters": self.design.voters,
            "questions": {name: self._question(name) for name in self.questions},
            "voters": [{**asdict(voter), "kept": voter.kept} for voter in self.voters],
            "pictures": [asdict(each) for each in self.pictures],
            "predictions": [asdict(each) for each in self.predictions],
            "warnings": list(self.warnings),
            "problems": list(self.problems),
            "rules": [self.design.win, self.design.stop, RULE, CONVENTION],
        }


def tally(folder: Path, *, seed: int = 0) -> Tally:
    """Counts the votes of a study. Raises ``InputError`` for a folder without a study or key, or with a changed design;
    ``OSError``."""
    design, key = read_design(folder), read_key(folder)
    ballots = read_votes(folder, design)
    voters = screen(ballots.counted, key)
    by_question = preferences(ballots.counted, design, key, voters)
    return Tally(
        design=design,
        key=key,
        questions={name: standings(name, key.labels, votes, seed=seed) for name, votes in by_question.items()},
        voters=tuple(voters),
        pictures=tuple(_by_picture(by_question, key.labels)),
        agreement={name: krippendorff(votes) for name, votes in by_question.items()},
        predictions=tuple(
            each for name, votes in by_question.items() for each in predictions(name, votes, key, design)
        ),
        problems=ballots.problems,
    )


def preferences(
    votes: Sequence[Vote], design: Design, key: Key, voters: Sequence[VoterRecord]
) -> dict[str, list[Preference]]:
    """What counts, by question: answers of kept voters to real pairs, without the second answer to a repeated pair."""
    kept = {voter.voter for voter in voters if voter.kept}
    found: dict[str, list[Preference]] = {name: [] for name in design.questions}
    items, seen = design.by_item(), set[tuple[str, str]]()
    for vote in votes:
        answer = key.answers[vote.item]
        if vote.voter not in kept or answer.kind != "pair" or (vote.voter, vote.item) in seen:
            continue
        seen.add((vote.voter, vote.item))
        found[items[vote.item].question].append(_preference(vote, answer, key))
    return found


def _preference(vote: Vote, answer: Answer, key: Key) -> Preference:
    """The two labels in the order in which the key lists them, so that the answers of all voters are comparable."""
    places = {token: key.labels.index(key.models[token]) for token in (vote.left, vote.right)}
    first, second = sorted((vote.left, vote.right), key=places.__getitem__)
    token = chosen(vote)
    outcome = 0.5 if token is None else 1.0 if token == first else 0.0
    return Preference(vote.voter, answer.picture, places[first], places[second], outcome)


def _by_picture(by_question: Mapping[str, Sequence[Preference]], labels: Sequence[str]) -> list[PictureResult]:
    results: list[PictureResult] = []
    for question, votes in by_question.items():
        for picture in sorted({vote.picture for vote in votes}):
            for first, second in combinations(range(len(labels)), 2):
                here = [v.outcome for v in votes if (v.picture, v.first, v.second) == (picture, first, second)]
                if here:
                    counted = (here.count(1.0), here.count(0.5), here.count(0.0))
                    results.append(PictureResult(question, picture, labels[first], labels[second], *counted))
    return results


def require_winner(found: Tally) -> str:
    """The winner's label. Raises ``InputError`` if there is none."""
    if found.winner is None:
        raise InputError(f"There is nothing to set: {found.deciding.verdict}")
    return found.winner
