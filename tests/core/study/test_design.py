"""What each voter is shown, and what is fixed before the first vote."""

from __future__ import annotations

import json
import stat
from collections import Counter
from pathlib import Path

import pytest
from backplate.core.errors import InputError
from backplate.core.study.design import read_design, read_key, schedule
from small_study import made


def test_two_voters_see_every_pair_both_ways_round(study: Path):
    design = read_design(study)
    one, other = ({t.item: (t.left, t.right) for t in schedule(design, voter)[: len(design.items)]} for voter in (0, 1))
    assert one.keys() == other.keys() == {item.item for item in design.items}
    assert all(one[item] == other[item][::-1] for item in one)


def test_each_voter_has_an_order_of_his_own_that_stays(study: Path):
    design = read_design(study)
    orders = [[trial.item for trial in schedule(design, voter)] for voter in range(6)]
    assert len({tuple(order) for order in orders}) == 6
    assert orders[3] == [trial.item for trial in schedule(read_design(study), 3)]


def test_sides_are_even_over_a_voter(study: Path):
    """Nobody sees the first token of the design on one side only."""
    design = read_design(study)
    firsts = {item.item: item.first for item in design.items}
    for voter in range(4):
        trials = schedule(design, voter)
        share = sum(trial.left == firsts[trial.item] for trial in trials) / len(trials)
        assert 0.15 < share < 0.85


def test_repeats_come_later_and_with_sides_swapped(study: Path):
    design = read_design(study)
    trials = schedule(design, 2)
    twice = [item for item, count in Counter(trial.item for trial in trials).items() if count > 1]
    assert twice
    for item in twice:
        first, second = (trial for trial in trials if trial.item == item)
        assert (first.left, first.right) == (second.right, second.left)
        assert second.number - first.number > len(trials) // 4


@pytest.mark.parametrize("count", [12, 20, 40])
def test_10_to_15_percent_are_controls(tmp_path: Path, count: int):
    design, key = made(tmp_path / "s", ["A", "B"], count)
    trials = schedule(design, 0)
    repeated = len(trials) - len(design.items)
    controls = sum(key.answers[item.item].kind != "pair" for item in design.items) + repeated
    assert 0.10 <= controls / len(trials) <= 0.15
    assert {answer.kind for answer in key.answers.values()} == {"pair", "identical", "obvious"}


def test_a_part_of_the_items_is_spread_evenly_over_voters(tmp_path: Path):
    design, _ = made(tmp_path / "s", ["A", "B"], 12, trials=9)
    seen = Counter(trial.item for voter in range(len(design.items)) for trial in schedule(design, voter)[:9])
    assert len(seen) == len(design.items)
    assert max(seen.values()) - min(seen.values()) <= 1


def test_the_key_is_for_its_owner_and_outside_of_the_pictures(study: Path):
    assert stat.S_IMODE((study / "key.json").stat().st_mode) == 0o600
    assert not list((study / "pictures").glob("*.json"))


def test_a_study_without_a_key_is_named(study: Path):
    (study / "key.json").unlink()
    with pytest.raises(InputError, match="nobody can say which picture came from which model"):
        read_key(study)


def test_the_key_of_another_study_is_refused(study: Path, tmp_path: Path):
    made(tmp_path / "other", ["A", "B"], 4)
    (study / "key.json").write_bytes((tmp_path / "other/key.json").read_bytes())
    with pytest.raises(InputError, match="belongs to another study"):
        read_key(study)


def test_a_changed_design_is_refused(study: Path):
    data = json.loads((study / "study.json").read_text())
    data["voters"] = 99
    (study / "study.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="was changed after the study was made"):
        read_key(study)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"items": 3}', b"\xff\xfe", b'{"items": [{"a": 1}]}'])
def test_a_broken_design_is_a_sentence(study: Path, content: bytes):
    (study / "study.json").write_bytes(content)
    with pytest.raises(InputError, match=r"study\.json"):
        read_design(study)


def test_no_study_is_a_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="backplate study new makes one"):
        read_design(tmp_path)
