"""Strengths from paired comparisons with ties: Davidson's model, fitted for many resamples at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PRIOR = 3.0
"""Standard deviation of the Gaussian prior on strengths and on the log strength of a tie. It is weak: a share of 95 %
is still nothing special, but a side that always loses has a finite strength."""
STEPS = 100
LONGEST_STEP = 2.0
CLOSE = 1e-10


class Strengths(NamedTuple):
    """R fits over n sides: ``values`` (R, n), natural logarithms that sum to zero, and ``tie`` (R,), the logarithm of
    Davidson's nu, minus infinity without ties."""

    values: Floats
    tie: Floats


class Outcomes(NamedTuple):
    """Probabilities, each (R, n, n), that the row beats the column and that there is no difference."""

    win: Floats
    tie: Floats

    @property
    def share(self) -> Floats:
        """How far the row is preferred over the column: its wins plus half of the ties."""
        return self.win + self.tie / 2


def fit(wins: Floats, ties: Floats, *, prior: float = PRIOR) -> Strengths:
    """``wins`` (R, n, n): how often the row was preferred to the column, possibly weighted; ``ties`` (R, n, n),
    symmetric, each tie of a pair in both places.

    The posterior maximum of Davidson's model (1970, "On extending the Bradley-Terry model to accommodate ties in paired
    comparison experiments"), by Newton's method; without ties it is the model of Bradley and Terry (1952). The problem
    is convex, so the maximum is unique.
    """
    resamples, sides, _ = wins.shape
    tied = ties.sum() > 0
    parameters = np.zeros((resamples, sides + 1))
    precision = np.full(sides + 1, prior**-2)
    diagonal = np.eye(sides + 1) * precision
    for _ in range(STEPS):
        gradient, curvature = _slopes(parameters, wins, ties, tied=bool(tied))
        gradient -= precision * parameters
        curvature += diagonal
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        parameters += step * np.minimum(1, LONGEST_STEP / np.maximum(longest, CLOSE))
        if longest.max() < CLOSE:
            break
    values = parameters[:, :sides]
    tie = parameters[:, sides] if tied else np.full(resamples, -np.inf)
    return Strengths(values - values.mean(axis=1, keepdims=True), tie)


def outcomes(strengths: Strengths) -> Outcomes:
    """The model's probabilities for every pair."""
    gaps = strengths.values[:, :, None] - strengths.values[:, None, :]
    return _chances(gaps, strengths.tie[:, None, None])


def _chances(gaps: Floats, tie: Floats) -> Outcomes:
    """Scaled by the larger of the two strengths, so that nothing overflows."""
    won = np.exp(-np.maximum(-gaps, 0))
    lost = np.exp(-np.maximum(gaps, 0))
    tied = np.exp(tie - np.abs(gaps) / 2)
    total = won + lost + tied
    return Outcomes(won / total, tied / total)


def _slopes(parameters: Floats, wins: Floats, ties: Floats, *, tied: bool) -> tuple[Floats, Floats]:
    """Gradient (R, n + 1) and negative Hessian (R, n + 1, n + 1) of the log likelihood. With d the gap of a pair, a
    vote adds d/2, -d/2 or, for a tie, the logarithm of nu."""
    resamples, size = parameters.shape
    sides = size - 1
    gaps = parameters[:, :sides, None] - parameters[:, None, :sides]
    tie = parameters[:, sides] if tied else np.full(resamples, -np.inf)
    chance = _chances(gaps, tie[:, None, None])
    lost = 1 - chance.win - chance.tie
    votes = wins + np.swapaxes(wins, 1, 2) + ties
    drift = (chance.win - lost) / 2
    pull = (wins - np.swapaxes(wins, 1, 2)) / 2 - votes * drift
    spread = votes * ((chance.win + lost) / 4 - drift**2)
    cross = -votes * drift * chance.tie
    for each in (pull, spread, cross):
        each[:, range(sides), range(sides)] = 0
    gradient = np.zeros((resamples, size))
    curvature = np.zeros((resamples, size, size))
    gradient[:, :sides] = pull.sum(axis=2)
    curvature[:, :sides, :sides] = -spread
    curvature[:, range(sides), range(sides)] = spread.sum(axis=2)
    if tied:
        gradient[:, sides] = (ties - votes * chance.tie).sum(axis=(1, 2)) / 2
        curvature[:, :sides, sides] = curvature[:, sides, :sides] = cross.sum(axis=2)
        curvature[:, sides, sides] = (votes * chance.tie * (1 - chance.tie)).sum(axis=(1, 2)) / 2
    return gradient, curvature
