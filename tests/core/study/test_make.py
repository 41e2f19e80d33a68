"""Studies from scenes and from folders, and what is added to them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.fit import Fit, Target
from backplate.core.progress import Progress
from backplate.core.study.design import LOOKS, TRUER, read_design, read_key
from backplate.core.study.make import StudySettings, add_scenes, make_study
from backplate.core.study.pictures import decode, encode
from backplate.core.study.scenes import Side, model_scenes, result_scenes
from backplate.core.tiled.pipeline import TileSettings
from backplate.core.types import Size
from PIL import Image
from small_study import made, scene

SMALL = StudySettings(side=16, voters=4)


def test_every_pair_is_asked_under_both_questions(tmp_path: Path):
    design, key = made(tmp_path / "s", ["A", "B", "C"], 4)
    real = [item for item in design.items if key.answers[item.item].kind == "pair"]
    sides = {item.item: frozenset((key.models[item.first], key.models[item.second])) for item in real}
    pairs = {(key.answers[item.item].picture, item.question, sides[item.item]) for item in real}
    assert len(real) == len(pairs) == 4 * 3 * 2
    assert all((item.middle is None) == (item.question == LOOKS) for item in design.items)


def test_without_sources_only_looks_is_asked(tmp_path: Path):
    load = lambda: scene("p", ["A", "B"], source=False)  # noqa: E731
    design, _ = make_study(tmp_path / "s", ["A", "B"], [("p", load)], SMALL)
    assert design.questions == (LOOKS,)


def test_pictures_are_what_was_given(tmp_path: Path):
    """Under the token of a side lie its pixels, cut where the sides differ."""
    given = scene("p", ["A", "B"], side=16)
    design, _ = make_study(tmp_path / "s", ["A", "B"], [("p", lambda: given)], SMALL)
    key = read_key(tmp_path / "s")
    for token, label in key.models.items():
        shown = np.asarray(Image.open(tmp_path / f"s/pictures/{token}.png"))
        wanted = (given.results[label][0] * 255).round().movedim(0, 2).numpy()
        assert np.array_equal(shown, wanted)
    middle = next(item.middle for item in design.items if item.question == TRUER)
    assert Image.open(tmp_path / f"s/pictures/{middle}.png").size == (16, 16)


def test_an_identical_control_is_identical_and_an_obvious_one_worse(study: Path):
    design, key = read_design(study), read_key(study)
    for item in design.items:
        answer = key.answers[item.item]
        one, two = (np.asarray(Image.open(study / f"pictures/{t}.png"), float) for t in (item.first, item.second))
        if answer.kind == "identical":
            assert np.array_equal(one, two)
        if answer.kind == "obvious":
            right, wrong = (one, two) if answer.right == item.first else (two, one)
            assert wrong.std() < right.std() / 2


def test_controls_are_of_every_side(tmp_path: Path):
    """A control that always showed the first side would tell which side that is: its pixels are there twice."""
    sides = set()
    for number in range(12):
        design, key = made(tmp_path / str(number), ["A", "B"], 3)
        tokens = {token for item in design.items for token in item.tokens}
        pixels = {token: Image.open(tmp_path / f"{number}/pictures/{token}.png").tobytes() for token in tokens}
        copies = {pixels[answer.right] for answer in key.answers.values() if answer.right}
        sides |= {label for token, label in key.models.items() if pixels[token] in copies}
    assert sides == {"A", "B"}


def test_unequal_sizes_cost_one_picture_and_are_named(tmp_path: Path):
    bad = scene("bad", ["A", "B"])
    bad = replace(bad, results={**bad.results, "B": torch.zeros(1, 3, 20, 24)})
    scenes = [("bad", lambda: bad), ("good", lambda: scene("good", ["A", "B"]))]
    design, problems = make_study(tmp_path / "s", ["A", "B"], scenes, SMALL)
    assert len(problems) == 1
    assert "bad is left out: the sides have different sizes (A 24x24, B 24x20)" in problems[0]
    assert {answer.picture for answer in read_key(tmp_path / "s").answers.values()} == {"good"}
    assert design.items


def test_a_missing_side_costs_one_picture(tmp_path: Path):
    one = replace(scene("p", ["A", "B"]), results={"A": torch.zeros(1, 3, 24, 24)})
    with pytest.raises(InputError, match=r"no picture to vote on.*B has no picture"):
        make_study(tmp_path / "s", ["A", "B"], [("p", lambda: one)], SMALL)
    assert not (tmp_path / "s/study.json").exists()


@pytest.mark.parametrize("labels", [["A"], ["A", "A"], [], ["A", ""], list("ABCDEFGHI")])
def test_sides_are_two_to_eight_with_names(tmp_path: Path, labels: list[str]):
    with pytest.raises(InputError, match="2 to 8 sides"):
        make_study(tmp_path / "s", labels, [], SMALL)


def test_a_study_is_never_overwritten(study: Path):
    before = (study / "study.json").read_bytes()
    with pytest.raises(InputError, match="already holds a study"):
        make_study(study, ["A", "B"], [("p", lambda: scene("p", ["A", "B"]))], SMALL)
    assert (study / "study.json").read_bytes() == before


def save(folder: Path, name: str, size: tuple[int, int] = (32, 24), colour: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    image = Image.linear_gradient("L").resize(size)
    Image.merge("RGB", [image, image, Image.new("L", size, colour)]).save(folder / name)


def test_results_are_matched_by_name(tmp_path: Path):
    for label, names in {"A": ["1.png", "2.png", "3.png"], "B": ["1.jpg", "2.png"]}.items():
        for name in names:
            save(tmp_path / label, name)
    scenes, problems = result_scenes({"A": tmp_path / "A", "B": tmp_path / "B"}, None, None, Progress())
    assert [name for name, _ in scenes] == ["1.png", "2.png"]
    assert problems == [f"3.png of {tmp_path / 'A'} has no partner in {tmp_path / 'B'}."]


def test_results_without_a_common_name_are_refused(tmp_path: Path):
    save(tmp_path / "A", "1.png")
    save(tmp_path / "B", "2.png")
    with pytest.raises(InputError, match="No picture is in all folders"):
        result_scenes({"A": tmp_path / "A", "B": tmp_path / "B"}, None, None, Progress())


def test_models_are_run_to_one_size(tmp_path: Path):
    save(tmp_path / "in", "1.png", (20, 12))
    sides = [Side("Lanczos", None), Side("sharper", None, sharpen=1.0)]
    target = Target(fit=Fit.FACTOR, factor=2.0)
    scenes, _ = model_scenes(sides, tmp_path / "in", None, target, TileSettings(), Progress())
    ((name, load),) = list(scenes)
    found = load()
    assert name == "1.png"
    assert {tuple(result.shape) for result in found.results.values()} == {(1, 3, 24, 40)}
    assert not torch.equal(found.results["Lanczos"], found.results["sharper"])
    assert found.source is not None
    assert tuple(found.source.shape) == (1, 3, 12, 20)


def test_a_cut_result_has_a_source_that_is_cut_alike(tmp_path: Path):
    save(tmp_path / "in", "1.png", (20, 12))
    target = Target(width=24, height=24, fit=Fit.COVER)
    scenes, _ = model_scenes([Side("a", None)], tmp_path / "in", None, target, TileSettings(), Progress())
    found = next(iter(scenes))[1]()
    assert found.source is not None
    assert torch.allclose(found.source, found.results["a"], atol=1 / 255)


def test_frames_of_a_clip_lie_in_one_sheet_and_come_back(tmp_path: Path):
    frames = (torch.rand((11, 3, 6, 8), generator=torch.Generator().manual_seed(0)) * 255).round() / 255
    (tmp_path / "clip.png").write_bytes(encode(frames))
    assert Image.open(tmp_path / "clip.png").size == (8 * 8, 2 * 6)
    assert torch.equal(decode(tmp_path / "clip.png", Size(8, 6), 11), frames)


def test_a_clip_is_an_item_with_frames(tmp_path: Path):
    clip = scene("clip", ["A", "B"], frames=5)
    design, _ = make_study(tmp_path / "s", ["A", "B"], [("clip", lambda: clip)], SMALL)
    assert {(item.frames, item.rate, item.width) for item in design.items} == {(5, 12.0, 16)}


def test_added_scenes_join_those_that_are_there(tmp_path: Path):
    add_scenes(tmp_path / "s", ["A", "B"], [scene("one", ["A", "B"])], SMALL)
    before = {t: (tmp_path / f"s/pictures/{t}.png") for t in read_key(tmp_path / "s").models}
    pixels = {token: Image.open(path).tobytes() for token, path in before.items()}
    design = add_scenes(tmp_path / "s", ["A", "B"], [scene("one", ["A", "B"], seed=1)], SMALL)
    key = read_key(tmp_path / "s")
    assert {answer.picture for answer in key.answers.values() if answer.kind == "pair"} == {"one", "one (2)"}
    assert all(Image.open(before[token]).tobytes() == pixels[token] for token in pixels)
    on_disk = {path.stem for path in (tmp_path / "s/pictures").iterdir()}
    assert on_disk == {token for item in design.items for token in item.tokens}


def test_nothing_is_added_after_a_vote_or_under_other_names(study: Path):
    with pytest.raises(InputError, match="compares A, B, not A, C"):
        add_scenes(study, ["A", "C"], [scene("x", ["A", "C"])], SMALL)
    (study / "votes").mkdir()
    (study / "votes/served.jsonl").write_text("x\n")
    before = (study / "study.json").read_bytes()
    with pytest.raises(InputError, match="People have already voted"):
        add_scenes(study, ["A", "B"], [scene("x", ["A", "B"])], SMALL)
    assert (study / "study.json").read_bytes() == before


def test_a_lost_picture_is_named_when_something_is_added(study: Path):
    shutil.rmtree(study / "pictures")
    with pytest.raises(InputError, match="is missing in"):
        add_scenes(study, ["A", "B"], [scene("x", ["A", "B"])], SMALL)
