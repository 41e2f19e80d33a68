"""Do the intervals, winners and screening of a study keep their promises? Simulated studies of known strengths,
with the real schedule, controls, screening and analysis. Prints one table.

    python benchmarks/study_calibration.py [--studies 300]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pack import load_pack, ours

load_pack()

analysis, design, make, scenes, simulate, tally, votes = (
    ours(f"core.study.{name}") for name in ("analysis", "design", "make", "scenes", "simulate", "tally", "votes")
)
screen = ours("core.study.screening").screen
Crowd, gap_for, LOOKS = simulate.Crowd, simulate.gap_for, design.LOOKS
LEFT, RIGHT, NONE = votes.LEFT, votes.RIGHT, votes.NONE

VOTERS, PICTURES, CLICKERS = 12, 20, 2
SEES_OBVIOUS, SEES_NOTHING = 0.98, 0.9
"""How often an honest voter has an obvious pair right, and says "no difference" to an identical one."""
CROWDS = (
    ("equal", 0.5, Crowd()),
    ("equal, tastes and pictures differ much", 0.5, Crowd(voter=1.0, picture=1.0)),
    ("equal, all alike", 0.5, Crowd(voter=0.0, picture=0.0)),
    ("60:40", 0.6, Crowd()),
    ("75:25", 0.75, Crowd()),
)


def small_study(folder: Path) -> tuple[Any, Any]:
    """A study of A and B with both questions; what the pictures show does not matter."""
    dice = torch.Generator().manual_seed(0)

    def scene(number: int) -> Any:
        one, two = torch.rand((2, 1, 3, 16, 16), generator=dice)
        return scenes.Scene(name=f"p{number}", results={"A": one, "B": two}, source=one[..., ::2, ::2])

    given = [(f"p{number}", lambda number=number: scene(number)) for number in range(PICTURES)]
    make.make_study(folder, ["A", "B"], given, make.StudySettings(voters=VOTERS, side=16))
    return design.read_design(folder), design.read_key(folder)


def votes_of(plan: Any, key: Any, crowd: Any, dice: np.random.Generator) -> Iterator[Any]:
    """Of honest voters, and of those who click anything."""
    pictures = sorted({answer.picture for answer in key.answers.values()})
    hardness = dict(zip(pictures, crowd.picture * dice.standard_normal(len(pictures)), strict=True))
    for voter in range(VOTERS + CLICKERS):
        taste = crowd.voter * dice.standard_normal()
        for trial in design.schedule(plan, voter):
            if voter < VOTERS:
                choice = honest(trial, key, crowd, taste + hardness[key.answers[trial.item].picture], dice)
                name = f"voter {voter:02d}"
            else:
                choice, name = str(dice.choice([LEFT, RIGHT, NONE])), f"clicker {voter}"
            yield simulate.vote_on(trial, choice, name, plan.study)


def honest(trial: Any, key: Any, crowd: Any, moved: float, dice: np.random.Generator) -> str:
    answer = key.answers[trial.item]
    if answer.kind == "identical":
        return NONE if dice.random() < SEES_NOTHING else str(dice.choice([LEFT, RIGHT]))
    if answer.kind == "obvious":
        right, wrong = (LEFT, RIGHT) if trial.left == answer.right else (RIGHT, LEFT)
        return right if dice.random() < SEES_OBVIOUS else wrong
    win, tied = (float(chance) for chance in crowd.chances(np.array(crowd.gap + moved)))
    drawn = dice.random()
    for_first = LEFT if key.models[trial.left] == "A" else RIGHT
    other = RIGHT if for_first == LEFT else LEFT
    return for_first if drawn < win else NONE if drawn < win + tied else other


def calibrate(plan: Any, key: Any, crowd: Any, studies: int) -> dict[str, float]:
    """Shares: of intervals that hold the truth, of studies that named a winner, of voters who were screened."""
    covered = named = honest_out = clickers_out = 0
    width = 0.0
    for number in range(studies):
        dice = np.random.default_rng(number)
        given = list(votes_of(replace(plan, seed=number), key, crowd, dice))
        voters = screen(given, key)
        out = [voter.voter for voter in voters if not voter.kept]
        honest_out += sum(name.startswith("voter") for name in out)
        clickers_out += sum(name.startswith("clicker") for name in out)
        found = analysis.standings(LOOKS, key.labels, tally.preferences(given, plan, key, voters)[LOOKS], seed=number)
        bounds = found.share_of("A", "B").interval
        assert bounds is not None
        covered += bounds.low <= crowd.share <= bounds.high
        width += bounds.high - bounds.low
        named += found.winner is not None
    return {
        "covered": covered / studies,
        "named": named / studies,
        "width": width / studies,
        "honest_out": honest_out / (VOTERS * studies),
        "clickers_out": clickers_out / (CLICKERS * studies),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=300)
    studies: int = parser.parse_args().studies
    with tempfile.TemporaryDirectory() as folder:
        plan, key = small_study(Path(folder) / "study")
        print(f"{studies} studies of {VOTERS} voters and {CLICKERS} random clickers on {PICTURES} pictures")
        print(f"{'preference':40}{'covered':>9}{'width':>7}{'winner':>8}{'honest out':>12}{'clickers out':>14}")
        for name, share, spread in CROWDS:
            crowd = replace(spread, gap=gap_for(share, spread))
            found = calibrate(plan, key, crowd, studies)
            print(
                f"{name:40}{found['covered']:9.1%}{found['width']:7.2f}{found['named']:8.1%}"
                f"{found['honest_out']:12.1%}{found['clickers_out']:14.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
