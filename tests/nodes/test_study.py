"""The nodes of blind studies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.study.design import read_design, read_key
from small_study import votes_by

if TYPE_CHECKING:
    from conftest import Host


def images(seed: int, count: int = 1, side: int = 24) -> torch.Tensor:
    return torch.rand((count, side, side, 3), generator=torch.Generator().manual_seed(seed))


def add(host: Host, *sides: torch.Tensor, **changes: object) -> tuple[str, str]:
    wanted = {"study": "blind/one", "labels": "", "caption": "", "frame_rate": 0.0, "voters": 3}
    named = {f"images_{letter}": side for letter, side in zip("abcd", sides, strict=False)}
    return host.node("study", "StudyAdd").execute(**named, **{**wanted, **changes})


def result(host: Host, study: str = "blind/one"):
    return host.node("study", "StudyResult").execute(study)


def vote(folder: Path, favourite: str) -> None:
    votes = votes_by(read_design(folder), read_key(folder), 3, lambda label: float(label == favourite))
    (folder / "votes").mkdir()
    (folder / "votes/a.jsonl").write_text("".join(each.to_line() for each in votes))


def test_runs_add_up_to_a_study_that_names_its_winner(host: Host):
    for seed in range(4):
        text, folder = add(
            host, images(seed), images(seed + 9), labels="new prompt, old prompt", caption=f"scene {seed}"
        )
    study = host.folders / "output" / "blind" / "one"
    assert folder == str(study)
    assert "backplate study serve" in text
    assert (study / "page.html").exists()
    assert {a.picture for a in read_key(study).answers.values()} == {f"scene {seed}" for seed in range(4)}
    vote(study, "old prompt")
    winner, index, *shares, verdict = result(host)
    assert (winner, index) == ("old prompt", 2)
    assert shares[1] > 0.9
    assert shares[0] == pytest.approx(1 - shares[1])
    assert all(math.isnan(share) for share in shares[2:])
    assert "old prompt wins" in verdict


def test_no_votes_have_no_winner_and_no_shares(host: Host):
    add(host, images(0), images(1), images(2), images(3))
    winner, index, *shares, _ = result(host)
    assert (winner, index) == ("", 0)
    assert all(math.isnan(share) for share in shares)
    assert read_key(host.folders / "output/blind/one").labels == ("A", "B", "C", "D")


def test_a_source_of_any_size_asks_the_second_question(host: Host):
    add(host, images(0), images(1), source=images(0, side=10))
    assert read_design(host.folders / "output/blind/one").questions == ("looks", "truer")


def test_a_batch_is_pictures_or_a_clip(host: Host):
    add(host, images(0, 3), images(1, 3), caption="x")
    key = read_key(host.folders / "output/blind/one")
    assert {a.picture for a in key.answers.values()} <= {"x 1", "x 2", "x 3"}
    add(host, images(0, 3), images(1, 3), study="blind/two", frame_rate=8.0)
    assert {(i.frames, i.rate) for i in read_design(host.folders / "output/blind/two").items} == {(3, 8.0)}


@pytest.mark.parametrize(
    ("sides", "changes", "sentence"),
    [
        ((1, 1), {"labels": "A"}, "needs 2 different names"),
        ((1, 1), {"labels": "A, A"}, "needs 2 different names"),
        ((1, 2), {}, "different numbers of images"),
        ((49, 49), {"frame_rate": 5.0}, "at most 48 frames"),
        ((1, 1), {"study": "../out"}, "leads out|outside"),
        ((1, 1), {"study": ""}, "empty"),
        ((2, 2), {"source": images(0, 3)}, "3 sources for 2 images"),
    ],
)
def test_what_makes_no_sense_is_refused(host: Host, sides: tuple[int, int], changes: dict[str, object], sentence: str):
    with pytest.raises(InputError, match=sentence):
        add(host, *(images(0, count, 8) for count in sides), **changes)
    assert not list((host.folders / "output").rglob("study.json"))


def test_unequal_sizes_are_refused(host: Host):
    with pytest.raises(InputError, match="different sizes"):
        add(host, images(0), images(1, side=20))


def test_other_labels_and_votes_close_a_study(host: Host):
    add(host, images(0), images(1))
    with pytest.raises(InputError, match="compares A, B, not X, Y"):
        add(host, images(2), images(3), labels="X, Y")
    vote(host.folders / "output/blind/one", "A")
    with pytest.raises(InputError, match="People have already voted"):
        add(host, images(2), images(3))


def test_a_study_that_is_not_there_is_a_sentence(host: Host):
    with pytest.raises(InputError, match="There is no study in 'none'"):
        result(host, "none")
