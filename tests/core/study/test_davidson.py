"""Strengths against two outside implementations and cases worked by hand."""

from __future__ import annotations

import math

import choix
import evalica
import numpy as np
import pytest
from backplate.core.study.davidson import fit, outcomes

LOOSE = 1e5
"""A prior so wide that it is none."""


def votes_of(strengths: list[float], ties: float = 0.0, count: int = 400, seed: int = 1) -> list[tuple[int, int, str]]:
    """Votes of people who follow the strengths."""
    dice, votes = np.random.default_rng(seed), []
    for _ in range(count):
        one, two = dice.choice(len(strengths), 2, replace=False)
        chance = 1 / (1 + math.exp(strengths[two] - strengths[one]))
        outcome = "tie" if dice.random() < ties else "one" if dice.random() < chance else "two"
        votes.append((int(one), int(two), outcome))
    return votes


def counts(votes: list[tuple[int, int, str]], sides: int) -> tuple[np.ndarray, np.ndarray]:
    wins, ties = np.zeros((1, sides, sides)), np.zeros((1, sides, sides))
    for one, two, outcome in votes:
        if outcome == "tie":
            ties[0, one, two] += 1
            ties[0, two, one] += 1
        else:
            wins[0, (one, two)[outcome == "two"], (two, one)[outcome == "two"]] += 1
    return wins, ties


@pytest.mark.parametrize("sides", [2, 3, 4])
def test_equals_choix_without_ties(sides: int):
    votes = votes_of([0.0, 0.7, -0.4, 1.1][:sides])
    pairs = [(one, two) if outcome == "one" else (two, one) for one, two, outcome in votes]
    theirs = choix.opt_pairwise(sides, pairs, alpha=1e-9, tol=1e-12)
    ours = fit(*counts(votes, sides), prior=LOOSE).values[0]
    assert ours == pytest.approx(theirs - theirs.mean(), abs=1e-4)


def test_prior_equals_the_ridge_of_choix():
    votes = votes_of([0.0, 0.7, -0.4], count=40)
    pairs = [(one, two) if outcome == "one" else (two, one) for one, two, outcome in votes]
    theirs = choix.opt_pairwise(3, pairs, alpha=0.5 / 2**2, tol=1e-12)
    assert fit(*counts(votes, 3), prior=2.0).values[0] == pytest.approx(theirs - theirs.mean(), abs=1e-4)


def test_equals_evalica_without_ties():
    votes = votes_of([0.0, 0.7, -0.4])
    winners = [evalica.Winner.X if outcome == "one" else evalica.Winner.Y for *_, outcome in votes]
    found = evalica.bradley_terry([v[0] for v in votes], [v[1] for v in votes], winners, tolerance=1e-12, limit=100_000)
    theirs = np.log(found.scores.sort_index().to_numpy())
    assert fit(*counts(votes, 3), prior=LOOSE).values[0] == pytest.approx(theirs - theirs.mean(), abs=1e-4)


def test_two_sides_worked_by_hand():
    """30 wins, 20 ties, 10 losses: pi_1 / pi_2 = 30 / 10, nu = ties / sqrt(wins * losses)."""
    wins = np.array([[[0.0, 30.0], [10.0, 0.0]]])
    ties = np.array([[[0.0, 20.0], [20.0, 0.0]]])
    found = fit(wins, ties, prior=LOOSE)
    assert found.values[0, 0] - found.values[0, 1] == pytest.approx(math.log(3), abs=1e-6)
    assert math.exp(found.tie[0]) == pytest.approx(20 / math.sqrt(300), abs=1e-6)
    assert outcomes(found).share[0, 0, 1] == pytest.approx(40 / 60, abs=1e-6)


def test_three_sides_meet_the_equations_of_davidson():
    """At the maximum, expected wins and half the ties equal those counted, and so do all ties."""
    wins, ties = counts(votes_of([0.0, 0.7, -0.4], ties=0.3), 3)
    found = outcomes(fit(wins, ties, prior=LOOSE))
    votes = wins + wins.transpose(0, 2, 1) + ties
    off = ~np.eye(3, dtype=bool)
    expected = np.where(off, votes * found.share, 0).sum(axis=2)
    assert expected == pytest.approx((wins + ties / 2).sum(axis=2), abs=1e-6)
    assert (votes * found.tie)[0][off].sum() == pytest.approx(ties.sum(), abs=1e-6)


def test_extremes_stay_finite():
    always = fit(np.array([[[0.0, 50.0], [0.0, 0.0]]]), np.zeros((1, 2, 2)))
    assert np.isfinite(always.values).all()
    assert outcomes(always).share[0, 0, 1] > 0.95
    tied = fit(np.zeros((1, 2, 2)), np.array([[[0.0, 50.0], [50.0, 0.0]]]))
    assert outcomes(tied).share[0, 0, 1] == pytest.approx(0.5)
    nothing = fit(np.zeros((1, 3, 3)), np.zeros((1, 3, 3)))
    assert nothing.values == pytest.approx(np.zeros((1, 3)))


def test_resamples_are_fitted_one_by_one():
    first, second = counts(votes_of([0.0, 0.7], 0.2, seed=1), 2), counts(votes_of([0.0, -0.7], 0.2, seed=2), 2)
    both = fit(np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]]))
    assert both.values[0] == pytest.approx(fit(*first).values[0])
    assert both.values[1] == pytest.approx(fit(*second).values[0])
