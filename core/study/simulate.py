"""Simulated voters of known strengths: what a study can detect, and whether its intervals hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from .analysis import DECIDING, FEWEST_VOTERS, Preference, student
from .davidson import Floats
from .design import Trial
from .votes import Vote

SURE = NormalDist().inv_cdf((1 + DECIDING) / 2)
MOST_VOTERS = 200
"""Standard errors by which a share must exceed 50 % to win."""


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """``gap``: log strength of the first side over the second. ``voter``, ``picture``: standard deviations of its shift
    by a voter's taste and by a picture. ``tie``: log strength of seeing no difference."""

    gap: float = 0.0
    voter: float = 0.5
    picture: float = 0.7
    tie: float = -1.0

    def chances(self, gaps: Floats) -> tuple[Floats, Floats]:
        """Probabilities that the first wins and that there is no difference (Davidson 1970)."""
        first, second, tied = np.exp(gaps / 2), np.exp(-gaps / 2), np.exp(self.tie)
        return first / (first + second + tied), tied / (first + second + tied)

    @property
    def share(self) -> float:
        """The preference share over all people and all pictures, by Gauss-Hermite quadrature."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(60)
        win, tied = self.chances(self.gap + float(np.hypot(self.voter, self.picture)) * nodes)
        return float(((win + tied / 2) * weights).sum() / weights.sum())

    def outcomes(self, studies: int, voters: int, pictures: int, dice: np.random.Generator) -> Floats:
        """Outcomes (studies, voters, pictures) of every voter on every picture, as in ``Preference``."""
        moved = self.voter * dice.standard_normal((studies, voters, 1))
        win, tied = self.chances(self.gap + moved + self.picture * dice.standard_normal((studies, 1, pictures)))
        drawn = dice.random((studies, voters, pictures))
        return np.where(drawn < win, 1.0, np.where(drawn < win + tied, 0.5, 0.0))

    def votes(self, voters: int, pictures: int, dice: np.random.Generator) -> list[Preference]:
        """Every voter on every picture, once."""
        found = self.outcomes(1, voters, pictures, dice)[0]
        return [Preference(str(v), str(p), 0, 1, float(found[v, p])) for v in range(voters) for p in range(pictures)]


def vote_on(trial: Trial, choice: str, voter: str, study: str) -> Vote:
    """What a page sends for one trial."""
    return Vote(
        study=study,
        voter=voter,
        id=f"{voter} {trial.number}",
        item=trial.item,
        left=trial.left,
        right=trial.right,
        choice=choice,
        number=trial.number,
    )


def gap_for(share: float, crowd: Crowd) -> float:
    """The log strength at which a crowd with these spreads reaches the share, 0 < ``share`` < 1, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if replace(crowd, gap=middle).share < share else (low, middle)
    return (low + high) / 2


def named(crowd: Crowd, voters: int, pictures: int, *, studies: int = 400, seed: int = 0) -> float:
    """The share of simulated studies that name the first of two sides the winner, from the variances of voters,
    pictures and single votes in a crossed table. The bootstrap of a study estimates the same, more slowly."""
    votes = crowd.outcomes(studies, voters, pictures, np.random.default_rng(seed))
    mean = votes.mean(axis=(1, 2))
    by_voter, by_picture = votes.mean(axis=2), votes.mean(axis=1)
    rest = votes - by_voter[:, :, None] - by_picture[:, None, :] + mean[:, None, None]
    alone = (rest**2).sum(axis=(1, 2)) / ((voters - 1) * (pictures - 1)) / (voters * pictures)
    parts = (by_voter.var(axis=1, ddof=1) / voters, by_picture.var(axis=1, ddof=1) / pictures)
    variance = np.maximum(parts[0] + parts[1] - alone, np.maximum(*parts))
    variance *= student(*parts, voters, pictures)
    return float((mean - SURE * np.sqrt(variance) > 0.5).mean())


def voters_needed(crowd: Crowd, pictures: int, power: float, *, seed: int) -> int | None:
    """The fewest voters that name the first side with that probability; None if ``MOST_VOTERS`` are too few."""
    if named(crowd, MOST_VOTERS, pictures, seed=seed) < power:
        return None
    low, high = FEWEST_VOTERS - 1, MOST_VOTERS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if named(crowd, middle, pictures, seed=seed) >= power else (middle, high)
    return high
