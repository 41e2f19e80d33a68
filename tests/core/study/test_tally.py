"""From votes to a verdict."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import evalica
import numpy as np
import pytest
from backplate.core.errors import InputError
from backplate.core.study.agreement import krippendorff
from backplate.core.study.analysis import Preference, standings
from backplate.core.study.design import LOOKS, read_design, read_key, schedule
from backplate.core.study.report import write_report
from backplate.core.study.screening import screen
from backplate.core.study.simulate import Crowd, gap_for, named, vote_on
from backplate.core.study.tally import require_winner, tally
from backplate.core.study.votes import Vote
from small_study import made, votes_by


def store(study: Path, votes: list[Vote]) -> None:
    (study / "votes").mkdir(exist_ok=True)
    (study / "votes/a.jsonl").write_text("".join(vote.to_line() for vote in votes))


def vote_all(study: Path, voters: int, **favourite: float) -> list[Vote]:
    votes = votes_by(read_design(study), read_key(study), voters, favourite.__getitem__)
    store(study, votes)
    return votes


def test_everybody_prefers_b(study: Path):
    vote_all(study, 4, A=0, B=1)
    found = tally(study)
    assert found.winner == "B"
    assert require_winner(found) == "B"
    standing = found.deciding
    assert standing.wins["B"]["A"] == 40
    assert standing.wins["A"]["B"] == 0
    share = standing.share_of("B", "A")
    assert 0.95 < share.share <= 1
    assert standing.verdict.endswith("B wins.")
    assert not any("planned" in warning for warning in found.warnings)


def test_which_side_of_the_screen_does_not_matter(study: Path):
    """The same opinions under other seeds, with sides and orders of their own."""
    found = []
    for seed in (1, 2):
        design = replace(read_design(study), seed=seed)
        store(study, votes_by(design, read_key(study), 4, {"A": 0, "B": 1}.__getitem__))
        found.append(tally(study).deciding)
    assert found[0] == found[1]


def test_no_votes_say_nothing(study: Path):
    found = tally(study)
    assert found.winner is None
    assert "there are no votes that count" in found.deciding.verdict
    assert found.warnings[0].startswith("0 of 4 planned voters have voted")
    assert found.agreement == {"looks": None, "truer": None}
    with pytest.raises(InputError, match="nothing to set"):
        require_winner(found)


def test_one_voter_is_too_few(study: Path):
    vote_all(study, 1, A=0, B=1)
    found = tally(study)
    assert found.winner is None
    assert "1 voters and 10 pictures are too few for an interval" in found.deciding.verdict
    assert found.deciding.share_of("B", "A").interval is None


def test_all_ties_are_level(study: Path):
    vote_all(study, 4, A=0, B=0)
    found = tally(study)
    assert found.winner is None
    assert found.deciding.share_of("A", "B").share == pytest.approx(0.5)
    assert found.deciding.ties["A"]["B"] == 40


def test_a_look_before_the_end_is_told(study: Path):
    vote_all(study, 3, A=0, B=1)
    assert tally(study).warnings[0].startswith("3 of 4 planned voters have voted: this is a look before the end.")


def test_a_side_that_always_loses_is_last(tmp_path: Path):
    made(tmp_path / "s", ["A", "B", "C"], 6)
    vote_all(tmp_path / "s", 4, A=1, B=1, C=0)
    found = tally(tmp_path / "s").deciding
    assert found.labels[-1] == "C"
    assert found.winner is None
    assert found.share_of("A", "C").clear
    assert found.share_of("B", "C").clear
    assert np.isfinite(found.strengths).all()


def test_the_second_answer_to_a_repeated_pair_does_not_count(study: Path):
    votes = vote_all(study, 4, A=0, B=1)
    design, key = read_design(study), read_key(study)
    pairs = {item.item for item in design.items if item.question == LOOKS and key.answers[item.item].kind == "pair"}
    assert sum(vote.item in pairs for vote in votes) >= 40
    assert tally(study).deciding.votes == 40


def clicker(study: Path, place: int, choose) -> list[Vote]:
    design = read_design(study)
    return [vote_on(trial, choose(trial), f"clicker {place}", design.study) for trial in schedule(design, place)]


@pytest.mark.parametrize(
    ("choose", "reason"),
    [
        (lambda trial: "left", "one side of the screen was chosen"),
        (lambda trial: "none", "controls are right"),
    ],
)
def test_a_voter_who_does_not_look_is_left_out(tmp_path: Path, choose, reason: str):
    made(tmp_path / "s", ["A", "B"], 20)
    votes = vote_all(tmp_path / "s", 4, A=0, B=1)
    store(tmp_path / "s", [*votes, *clicker(tmp_path / "s", 4, choose)])
    found = tally(tmp_path / "s")
    assert [voter.voter for voter in found.voters if not voter.kept] == ["clicker 4"]
    assert any(reason in each for each in found.voters[0].reasons)
    assert found.deciding.voters == 4
    assert "Left out: clicker 4" in found.text()


def test_a_voter_who_contradicts_himself_is_left_out(tmp_path: Path):
    """Answers the left of each repeated pair, which is the other side the second time."""
    # Which pairs are repeated is chance; among so many, the five that tell him apart are no controls.
    design, key = made(tmp_path / "s", ["A", "B"], 160)
    repeated = {item for item, count in Counter(t.item for t in schedule(design, 0)).items() if count > 1}
    votes = votes_by(design, key, 1, {"A": 0, "B": 1}.__getitem__)
    assert not screen(votes, key)[0].reasons
    torn = [replace(vote, choice="left") if vote.item in repeated else vote for vote in votes]
    only_pairs = [vote for vote in torn if key.answers[vote.item].kind == "pair"]
    assert any("were answered the opposite way" in reason for reason in screen(only_pairs, key)[0].reasons)


def random_clicks(study: Path, seed: int) -> list[Vote]:
    dice = random.Random(seed)
    return clicker(study, seed, lambda trial: dice.choice(["left", "right", "none"]))


def test_random_clickers_are_screened(tmp_path: Path):
    made(tmp_path / "s", ["A", "B"], 20)
    key = read_key(tmp_path / "s")
    out = [not screen(random_clicks(tmp_path / "s", seed), key)[0].kept for seed in range(200)]
    assert sum(out) / len(out) >= 0.95


def test_intervals_hold_and_equal_sides_rarely_win():
    crowd = Crowd(gap=gap_for(0.65, Crowd()))
    studies = [
        standings(LOOKS, ["A", "B"], crowd.votes(12, 20, np.random.default_rng(seed)), seed=seed) for seed in range(60)
    ]
    bounds = [study.share_of("A", "B").interval for study in studies]
    covered = sum(each is not None and each.low <= crowd.share <= each.high for each in bounds)
    assert covered >= 53
    equal = [standings(LOOKS, ["A", "B"], Crowd().votes(12, 20, np.random.default_rng(s)), seed=s) for s in range(60)]
    assert sum(study.winner is not None for study in equal) <= 5


def test_the_plan_says_what_studies_find():
    """The quick formula of the plan against the bootstrap of real studies."""
    crowd = Crowd(gap=gap_for(0.65, Crowd()))
    found = [standings(LOOKS, ["A", "B"], crowd.votes(15, 20, np.random.default_rng(s)), seed=s) for s in range(80)]
    share = sum(study.winner == "A" for study in found) / len(found)
    assert named(crowd, 15, 20) == pytest.approx(share, abs=0.15)
    assert named(Crowd(), 15, 20) <= 0.03


def test_agreement_equals_that_of_another_implementation():
    dice = np.random.default_rng(3)
    votes = [
        Preference(f"v{voter}", f"p{picture}", 0, 1, float(dice.choice([0, 0.5, 1], p=[0.15, 0.25, 0.6])))
        for voter in range(5)
        for picture in range(12)
        if dice.random() < 0.8
    ]
    table = np.full((5, 24), np.nan)
    for vote in votes:
        voter, picture = int(vote.voter[1:]), int(vote.picture[1:])
        table[voter, picture], table[voter, 12 + picture] = vote.outcome, 1 - vote.outcome
    import pandas as pd

    theirs = evalica.alpha(pd.DataFrame(table), distance="nominal").alpha
    assert krippendorff(votes) == pytest.approx(theirs, abs=1e-9)


def test_full_agreement_is_one_and_chance_is_none():
    same = [Preference(f"v{v}", f"p{p}", 0, 1, 1.0) for v in range(4) for p in range(6)]
    assert krippendorff(same) == pytest.approx(1)
    assert krippendorff([Preference("v", "p", 0, 1, 1.0)]) is None
    dice = np.random.default_rng(0)
    chance = [Preference(f"v{v}", f"p{p}", 0, 1, float(dice.integers(2))) for v in range(40) for p in range(40)]
    assert krippendorff(chance) == pytest.approx(0, abs=0.03)


def test_metrics_are_held_against_people(tmp_path: Path):
    """A is the picture itself, B is darker: a metric that people agree with is right each time, its opposite never."""
    from backplate.core.study.design import write_study

    design, key = made(tmp_path / "s", ["A", "B"], 6)
    better = {token: {"psnr": float(label == "B"), "lpips": float(label == "B")} for token, label in key.models.items()}
    write_study(tmp_path / "s", design, replace(key, figures=better))
    vote_all(tmp_path / "s", 3, A=0, B=1)
    predictions = [each for each in tally(tmp_path / "s").predictions if each.question == LOOKS]
    found = {each.metric: (each.agreed, each.pairs) for each in predictions}
    assert found == {"psnr": (6, 6), "lpips": (0, 6)}


def test_a_report_loads_nothing_and_says_where_a_side_loses(study: Path, tmp_path: Path):
    design, key = read_design(study), read_key(study)
    votes = [
        replace(vote, choice={"left": "right", "right": "left"}[vote.choice])
        if key.answers[vote.item].picture == "p3" and key.answers[vote.item].kind == "pair"
        else vote
        for vote in votes_by(design, key, 4, {"A": 0, "B": 1}.__getitem__)
    ]
    store(study, votes)
    paths = write_report(tally(study), study, tmp_path / "report")
    assert [path.name for path in paths] == ["report.html", "report.json", "report.csv"]
    html = paths[0].read_text()
    assert "B loses on 1 of 10 pictures: p3." in html
    assert "http" not in html.replace("http-equiv", "")
    assert "default-src 'none'" in html
    data = json.loads(paths[1].read_text())
    assert data["winner"] == "B"
    assert "looks,p3,A,B,4,0,0" in paths[2].read_text().splitlines()


def test_names_that_are_markup_are_text_in_the_report(tmp_path: Path):
    labels = ["<b>A</b>", "'\"B&"]
    made(tmp_path / "s", labels, 4, title="</title><script>alert(1)</script>")
    vote_all(tmp_path / "s", 3, **{labels[0]: 0, labels[1]: 1})
    html = write_report(tally(tmp_path / "s"), tmp_path / "s", tmp_path / "r")[0].read_text()
    assert "<b>A" not in html
    assert "<script" not in html
