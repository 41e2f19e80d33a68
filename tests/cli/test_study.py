"""``backplate study``: from two models to the setting of the next job."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from backplate.core.study.design import read_design, read_key
from PIL import Image
from small_study import votes_by


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(4):
        ramp = Image.linear_gradient("L").rotate(90 * index).resize((40, 32))
        Image.merge("RGB", [ramp, ramp, ramp.rotate(180)]).save(folder / f"p{index}.png")
    return folder


@pytest.fixture
def study(backplate, model: Path, pictures: Path, tmp_path: Path) -> Path:
    """Of a tiny model and plain Lanczos."""
    words = ["--models", model, "lanczos", "--images", pictures, "--scale", 2, "--voters", 3, "--no-tune"]
    backplate("study", "new", "-o", tmp_path / "study", *words, code=0)
    return tmp_path / "study"


def vote(study: Path, voters: int, favourite: str) -> Path:
    votes = votes_by(read_design(study), read_key(study), voters, lambda label: float(label == favourite))
    path = study.parent / "saved.jsonl"
    path.write_text("".join(vote.to_line() for vote in votes))
    return path


def test_from_models_to_a_preset_to_the_next_job(backplate, study: Path, model: Path, pictures: Path, tmp_path: Path):
    assert sorted(path.name for path in study.iterdir()) == ["key.json", "page.html", "pictures", "study.json"]
    result = backplate("study", "import", study, vote(study, 3, "tiny_x2"), code=0)
    result = backplate("study", "tally", study, "--write-preset", tmp_path / "winner.json", code=0)
    assert "tiny_x2 wins." in result.stdout
    assert sorted(path.name for path in (study / "report").iterdir()) == ["report.csv", "report.html", "report.json"]
    renamed = tmp_path / "models" / "another_name.safetensors"
    renamed.parent.mkdir()
    shutil.copy(model, renamed)
    common = ("--models-dir", renamed.parent, "--no-tune")
    source = pictures / "p0.png"
    backplate("upscale", source, "-o", tmp_path / "a.png", "--preset", tmp_path / "winner.json", *common, code=0)
    assert backplate("upscale", source, "-o", tmp_path / "b.png", "-m", model, "--scale", 2).exit_code == 0
    assert Image.open(tmp_path / "a.png").tobytes() == Image.open(tmp_path / "b.png").tobytes()
    words = ("--preset", tmp_path / "winner.json", "--scale", 3, *common)
    assert backplate("upscale", source, "-o", tmp_path / "c.png", *words).exit_code == 0
    assert Image.open(tmp_path / "c.png").size == (120, 96)


def test_a_preset_of_a_model_that_is_not_here_is_a_sentence(backplate, study: Path, pictures: Path, tmp_path: Path):
    backplate("study", "import", study, vote(study, 3, "tiny_x2"))
    backplate("study", "tally", study, "--write-preset", tmp_path / "winner.json")
    words = ("upscale", pictures / "p0.png", "-o", tmp_path / "a.png", "--preset", tmp_path / "winner.json")
    backplate(*words, code=1, says="put it there")
    assert not (tmp_path / "a.png").exists()
    words = ("upscale", pictures / "p0.png", "-o", tmp_path / "a.png", "--preset", study / "study.json")
    assert "is not a preset" in backplate(*words).stderr


def test_a_preset_may_be_a_side(backplate, study: Path, model: Path, pictures: Path, tmp_path: Path):
    backplate("study", "import", study, vote(study, 3, "tiny_x2"))
    backplate("study", "tally", study, "--write-preset", tmp_path / "sharper.json")
    data = json.loads((tmp_path / "sharper.json").read_text())
    (tmp_path / "sharper.json").write_text(json.dumps({**data, "label": "sharper", "sharpen": 0.8}))
    words = ("--models", model, tmp_path / "sharper.json", "--models-dir", model.parent, "--images", pictures)
    backplate("study", "new", "-o", tmp_path / "next", *words, "--scale", 2, "--no-tune", code=0)
    key = read_key(tmp_path / "next")
    assert key.labels == ("tiny_x2", "sharper")
    assert key.settings["sharper"]["sharpen"] == 0.8


def test_without_a_clear_winner_there_is_no_preset(backplate, study: Path, tmp_path: Path):
    backplate("study", "import", study, vote(study, 3, "nobody"))
    result = backplate("study", "tally", study, "--write-preset", tmp_path / "winner.json", code=1)
    assert "There is nothing to set: no clear winner" in result.stderr
    assert not (tmp_path / "winner.json").exists()
    assert (study / "report/report.html").exists()


def test_lanczos_may_win_but_is_no_preset(backplate, study: Path, tmp_path: Path):
    backplate("study", "import", study, vote(study, 3, "Lanczos"))
    backplate("study", "tally", study, "--write-preset", tmp_path / "winner.json", code=1, says="needs no model")


def test_finished_results_are_compared(backplate, pictures: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    (other / "p3.png").unlink()
    backplate("study", "new", "-o", tmp_path / "s", "--results", f"A={pictures}", f"B={other}", code=0, says="p3.png")
    assert len({answer.picture for answer in read_key(tmp_path / "s").answers.values()}) == 3


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Give --models and --images, or --results"),
        (["--models", "lanczos"], "name a folder of small pictures"),
        (["--models", "lanczos", "--images", "."], "give --scale or --size"),
        (["--models", "lanczos", "lanczos", "--images", ".", "--scale", "2"], "Two sides are called Lanczos"),
        (["--results", "A"], "write it as LABEL=DIR"),
        (["--results", "A=nowhere"], "there is no folder nowhere"),
        (["--results", "A=.", "A=."], "'A' twice"),
        (["--results", "A=.", "B=.", "--question", "beauty"], "choose one of looks, truer, both"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(backplate, tmp_path: Path, words: list[str], sentence: str):
    backplate("study", "new", "-o", tmp_path / "s", *words, code=2, says=sentence)
    assert not (tmp_path / "s").exists()


def test_one_side_only_is_a_sentence(backplate, pictures: Path, tmp_path: Path):
    backplate("study", "new", "-o", tmp_path / "s", "--results", f"A={pictures}", code=1, says="compares 2 to 8 sides")


def test_the_plan_is_the_same_each_time(backplate):
    first, again = (backplate("study", "plan", "--share", 75, "--pictures", 20) for _ in range(2))
    assert first.exit_code == 0
    assert "20 pictures: " in first.stdout
    assert first.stdout == again.stdout


def test_commands_on_no_study_are_sentences(backplate, tmp_path: Path):
    for command in ("tally", "serve"):
        backplate("study", command, tmp_path, code=1, says="There is no")


def test_without_the_extra_serve_says_what_to_install(backplate, study: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    monkeypatch.delitem(sys.modules, "backplate.core.study.serve", raising=False)
    backplate("study", "serve", study, code=2, says="pip install 'backplate[study]'")
