"""From votes to shares, intervals and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..metrics.ranking import FEWEST_PICTURES, LEVEL, Interval
from .davidson import Floats, fit, outcomes

RESAMPLES = 2000
CHUNK = 250
RESAMPLES_ALONE = 500
SMALLEST = 1e-12
DECIDING = 0.975
"""Level of the interval that names a winner. With 0.95, one of two equal sides would be named in 5 of 100 studies, and
with an unlucky sample in more."""
NORMAL = 1.959964
"""How many standard deviations hold 95 % of a normal distribution."""
FEWEST_VOTERS = 3
"""With fewer voters or pictures the bootstrap has too few different resamples to mean anything."""
CONVENTION = (
    f"Shares are those of Davidson's model, a 'no difference' counting half for each side. Brackets are {LEVEL:.0%} "
    f"intervals of a bootstrap over voters and over pictures ({RESAMPLES} resamples), so that they hold for other "
    "people and other pictures of the same kind, not only for these."
)


@dataclass(frozen=True)
class Preference:
    """A vote that counts, by ``voter`` on ``picture``. ``first`` and ``second`` are indices of labels; ``outcome`` is 1
    if the first was preferred, 0 for the second and 0.5 for no difference."""

    voter: str
    picture: str
    first: int
    second: int
    outcome: float


@dataclass(frozen=True)
class Share:
    """How far ``label`` is preferred over ``other``, 0 to 1. ``interval`` is the one that is shown, ``deciding`` the
    wider one that names a winner; both are None with too few voters or pictures."""

    label: str
    other: str
    share: float
    interval: Interval | None
    deciding: Interval | None

    @property
    def text(self) -> str:
        return f"{self.label} preferred {self.reach}"

    @property
    def reach(self) -> str:
        bounds = f" [{100 * self.interval.low:.0f}, {100 * self.interval.high:.0f}]" if self.interval else ""
        return f"over {self.other} by {100 * self.share:.0f} %{bounds}"

    @property
    def clear(self) -> bool:
        return self.deciding is not None and self.deciding.low > 0.5


@dataclass(frozen=True, kw_only=True)
class Standings:
    """Of one question: labels from most to least preferred with their ``strengths`` (logarithms that sum to zero),
    every share in both directions, and how often a was preferred to b (``wins[a][b]``) or neither (``ties``)."""

    question: str
    labels: tuple[str, ...]
    strengths: tuple[float, ...]
    shares: tuple[Share, ...]
    wins: Mapping[str, Mapping[str, int]]
    ties: Mapping[str, Mapping[str, int]]
    votes: int
    voters: int
    pictures: int

    def share_of(self, label: str, other: str) -> Share:
        return next(each for each in self.shares if (each.label, each.other) == (label, other))

    @property
    def winner(self) -> str | None:
        """The label that is clearly preferred over every other; None if there is no clear winner."""
        best = self.labels[0]
        clear = all(self.share_of(best, other).clear for other in self.labels[1:])
        return best if self.votes and clear else None

    @property
    def verdict(self) -> str:
        if not self.votes:
            return "no clear winner: there are no votes that count."
        best, *others = self.labels
        shares = f"{best} preferred {', '.join(self.share_of(best, other).reach for other in others)}"
        if self.winner:
            return f"{shares}: {best} wins."
        few = self.voters < FEWEST_VOTERS or self.pictures < FEWEST_PICTURES
        reason = f"{self.voters} voters and {self.pictures} pictures are too few for an interval; " if few else ""
        return f"no clear winner: {reason}{shares}."


def standings(question: str, labels: Sequence[str], votes: Sequence[Preference], *, seed: int = 0) -> Standings:
    """Which side is preferred over which, and how certain that is; a pure function of the votes and the seed."""
    counts = _Counts(labels, votes)
    wins, ties = counts.weighted(np.ones((1, counts.voters)), np.ones((1, counts.pictures)))
    strengths = fit(wins, ties)
    shares = outcomes(strengths).share[0]
    bounds = counts.bounds(shares, seed)
    order = sorted(range(len(labels)), key=lambda place: -float(strengths.values[0, place]))
    return Standings(
        question=question,
        labels=tuple(labels[place] for place in order),
        strengths=tuple(float(strengths.values[0, place]) for place in order),
        shares=tuple(
            Share(labels[a], labels[b], float(shares[a, b]), bounds(a, b, LEVEL), bounds(a, b, DECIDING))
            for a in order
            for b in order
            if a != b
        ),
        wins=_matrix(labels, wins[0]),
        ties=_matrix(labels, ties[0]),
        votes=len(votes),
        voters=counts.voters,
        pictures=counts.pictures,
    )


def _matrix(labels: Sequence[str], counted: Floats) -> dict[str, dict[str, int]]:
    return {
        one: {other: round(float(counted[a, b])) for b, other in enumerate(labels) if a != b}
        for a, one in enumerate(labels)
    }


Bounds = Callable[[int, int, float], "Interval | None"]
"""The interval of a label's share over another at a level."""


class _Counts:
    """How often each voter gave each answer on each picture, ready to be weighted."""

    def __init__(self, labels: Sequence[str], votes: Sequence[Preference]) -> None:
        voters = {name: place for place, name in enumerate(sorted({vote.voter for vote in votes}))}
        pictures = {name: place for place, name in enumerate(sorted({vote.picture for vote in votes}))}
        self.sides, self.voters, self.pictures = len(labels), len(voters), len(pictures)
        self.pairs = list(combinations(range(self.sides), 2))
        self.cells = np.zeros((len(self.pairs), 3, self.voters, self.pictures))
        places = {pair: place for place, pair in enumerate(self.pairs)}
        for vote in votes:
            turned = vote.first > vote.second
            pair = places[(vote.second, vote.first) if turned else (vote.first, vote.second)]
            outcome = 1 - vote.outcome if turned else vote.outcome
            self.cells[pair, round(2 * outcome), voters[vote.voter], pictures[vote.picture]] += 1

    def weighted(self, by_voter: Floats, by_picture: Floats) -> tuple[Floats, Floats]:
        """Wins and ties, (R, n, n), with each vote weighted by its voter (R, V) times its picture (R, P)."""
        wins = np.zeros((len(by_voter), self.sides, self.sides))
        ties = np.zeros_like(wins)
        for (a, b), (lost, tied, won) in zip(self.pairs, self.cells, strict=True):
            for target, row, column, cell in ((wins, a, b, won), (wins, b, a, lost), (ties, a, b, tied)):
                target[:, row, column] = ((by_voter @ cell) * by_picture).sum(axis=1)
            ties[:, b, a] = ties[:, a, b]
        return wins, ties

    def bounds(self, shares: Floats, seed: int) -> Bounds:
        """Intervals around the shares (n, n) that were found. Drawing voters and pictures at once counts the noise of
        single votes three times (Owen 2007, "The pigeonhole bootstrap"); drawing voters alone, and pictures alone,
        counts it once each, so the three together tell by how much to shrink the interval."""
        if self.voters < FEWEST_VOTERS or self.pictures < FEWEST_PICTURES:
            return lambda label, other, level: None
        dice = np.random.default_rng(seed)
        both = self._drawn(dice, RESAMPLES, voters=True, pictures=True)
        by_voter = self._drawn(dice, RESAMPLES_ALONE, voters=True, pictures=False).var(axis=0)
        by_picture = self._drawn(dice, RESAMPLES_ALONE, voters=False, pictures=True).var(axis=0)
        wide = np.maximum(both.var(axis=0), SMALLEST)
        few = (self.voters / (self.voters - 1) * by_voter, self.pictures / (self.pictures - 1) * by_picture)
        fair = np.maximum(2 * (few[0] + few[1]) - wide, np.maximum(*few)) * student(*few, self.voters, self.pictures)
        scale = np.sqrt(np.minimum(fair / wide, 1))

        def bounds(label: int, other: int, level: float) -> Interval:
            found = float(shares[label, other])
            ends = np.quantile(both[:, label, other], [(1 - level) / 2, (1 + level) / 2])
            low, high = found + (ends - found) * float(scale[label, other])
            return Interval(float(low), float(high))

        return bounds

    def _drawn(self, dice: np.random.Generator, count: int, *, voters: bool, pictures: bool) -> Floats:
        """Shares (R, n, n) of resampled voters, pictures or both."""
        drawn: list[Floats] = []
        for _ in range(count // CHUNK):
            by_voter = _weights(dice, self.voters) if voters else np.ones((CHUNK, self.voters))
            by_picture = _weights(dice, self.pictures) if pictures else np.ones((CHUNK, self.pictures))
            drawn.append(outcomes(fit(*self.weighted(by_voter, by_picture))).share)
        return np.concatenate(drawn)


def student(by_voter: Floats, by_picture: Floats, voters: int, pictures: int) -> Floats:
    """Square of the factor by which an interval widens because its width was estimated from so few voters and pictures:
    Student's t over the normal quantile, to first order, for the degrees of freedom of a sum of two variances
    (Satterthwaite 1946)."""
    total = np.maximum(by_voter + by_picture, SMALLEST)
    freedom = total**2 / np.maximum(by_voter**2 / (voters - 1) + by_picture**2 / (pictures - 1), SMALLEST**2)
    return (1 + (NORMAL**2 + 1) / (4 * np.maximum(freedom, min(voters, pictures) - 1))) ** 2


def _weights(dice: np.random.Generator, count: int) -> Floats:
    """How often each of ``count`` is drawn, with replacement, in each resample: (CHUNK, count)."""
    return dice.multinomial(count, np.full(count, 1 / count), CHUNK).astype(np.float64)
