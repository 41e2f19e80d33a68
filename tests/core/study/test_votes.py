"""Which votes count, whatever their files went through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from backplate.core.errors import InputError
from backplate.core.study.design import read_design, read_key, schedule
from backplate.core.study.importing import import_votes
from backplate.core.study.simulate import vote_on
from backplate.core.study.votes import UNDONE, count, parse_vote, read_votes
from small_study import made, votes_by


def write(study: Path, name: str, content: bytes) -> Path:
    (study / "votes").mkdir(exist_ok=True)
    path = study / "votes" / name
    path.write_bytes(content)
    return path


def lines(study: Path, voters: int = 1) -> list[str]:
    return [vote.to_line() for vote in votes_by(read_design(study), read_key(study), voters, {"A": 1, "B": 0}.get)]


def test_a_vote_comes_back_from_its_line(study: Path):
    design = read_design(study)
    vote = votes_by(design, read_key(study), 1, {"A": 1, "B": 0}.get)[0]
    assert parse_vote(json.loads(vote.to_line()), design) == vote


def test_doubled_lines_and_files_count_once(study: Path):
    given = lines(study)
    write(study, "a.jsonl", "".join([*given, given[0], given[0]]).encode())
    write(study, "b.jsonl", "".join(given).encode())
    found = read_votes(study, read_design(study))
    assert len(found.counted) == len(given)
    assert found.problems == (f"{len(given) + 2} votes were sent twice and counted once.",)


@pytest.mark.parametrize("cut", [1, 17, 60])
def test_a_line_that_was_cut_off_costs_itself(study: Path, cut: int):
    given = lines(study)
    write(study, "a.jsonl", "".join(given).encode()[:-cut])
    found = read_votes(study, read_design(study))
    # Without its newline alone the line is whole.
    assert len(found.counted) == len(given) - (cut > 1)
    assert len(found.problems) == (cut > 1)
    if cut > 1:
        assert found.problems[0] == f"a.jsonl line {len(given)} does not count: it is cut off or not JSON."


def test_rubbish_between_votes_is_named_line_by_line(study: Path):
    given = lines(study)
    rubbish = [b"\xff\xfe\n", b"[1]\n", b"{}\n", b"\n", b"[" * 100_000 + b"\n", b"null\n"]
    write(study, "a.jsonl", given[0].encode() + b"".join(rubbish) + given[1].encode())
    found = read_votes(study, read_design(study))
    assert len(found.counted) == 2
    assert [problem.split(" does")[0] for problem in found.problems] == [f"a.jsonl line {n}" for n in (2, 3, 4, 6, 7)]


def changed(study: Path, **fields: object) -> dict[str, object]:
    return {**json.loads(lines(study)[0]), **fields}


def test_votes_of_another_study_do_not_count(study: Path, tmp_path: Path):
    made(tmp_path / "other", ["A", "B"], 3)
    write(study, "a.jsonl", lines(tmp_path / "other")[0].encode())
    found = read_votes(study, read_design(study))
    assert not found.counted
    assert found.problems == ("a.jsonl line 1 does not count: it belongs to another study.",)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"left": "0" * 32}, "not in the design"),
        ({"item": "x"}, "not in the design"),
        ({"choice": "both"}, "'both' is none of left, right, none"),
        ({"voter": ""}, "needs voter as text"),
        ({"voter": "x" * 101}, "needs voter as text"),
        ({"id": 3}, "needs id as text"),
        ({"choice": None}, "needs choice as text"),
    ],
)
def test_a_vote_that_makes_no_sense_is_a_sentence(study: Path, fields: dict[str, object], sentence: str):
    with pytest.raises(InputError, match=sentence):
        parse_vote(changed(study, **fields), read_design(study))


@pytest.mark.parametrize("ms", [-5, 1e18, float("nan"), float("inf"), "soon", True, None])
def test_a_clock_that_jumps_costs_the_time_and_not_the_vote(study: Path, ms: object):
    vote = parse_vote(changed(study, ms=ms), read_design(study))
    assert vote.ms is None
    assert vote.choice


def test_a_vote_that_was_taken_back_makes_room_for_another(study: Path):
    design = read_design(study)
    trial = schedule(design, 0)[0]
    first, undo, second, third = (
        vote_on(trial, choice, "v", design.study) for choice in ("left", UNDONE, "right", "none")
    )
    votes = [first, replace_id(undo, "u"), replace_id(second, "s"), replace_id(third, "t")]
    assert [vote.choice for vote in count(votes)[0]] == ["right"]
    assert count([*votes, first])[1] == 2


def replace_id(vote, new: str):
    from dataclasses import replace

    return replace(vote, id=new)


def test_a_saved_page_is_imported_once(study: Path, tmp_path: Path):
    saved = tmp_path / "saved.jsonl"
    saved.write_text("".join(lines(study)))
    assert import_votes(study, saved) == (len(lines(study)), [])
    assert import_votes(study, saved) == (0, [])
    assert len(read_votes(study, read_design(study)).counted) == len(lines(study))


def test_a_log_of_clicks_needs_voter_sides_and_choice(study: Path, tmp_path: Path):
    """A token in place of left or right, in CSV as spreadsheets write it; a doubled row counts once."""
    item = read_design(study).items[0]
    log = tmp_path / "log.csv"
    rows = ["Voter,left,right,question,choice", f"anna,{item.second},{item.first},{item.question},{item.first}"]
    rows += [rows[1], f"ben,{item.first},{item.second},{item.question},tie", "carl,x,y,looks,left", "dora,,,,"]
    log.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    added, problems = import_votes(study, log)
    assert added == 2
    assert [problem.split(" does")[0] for problem in problems] == ["log.csv line 5", "log.csv line 6"]
    votes = read_votes(study, read_design(study)).counted
    assert {(vote.voter, vote.item, vote.choice) for vote in votes} == {
        ("anna", item.item, "right"),
        ("ben", item.item, "none"),
    }


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"voter,choice\n", b"a\n\x00b"])
@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
def test_a_file_without_votes_is_a_sentence(study: Path, tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        import_votes(study, tmp_path / name)
    assert not (study / "votes").exists()


def test_a_file_that_is_not_there_is_a_sentence(study: Path, tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        import_votes(study, tmp_path / "none.csv")
