from __future__ import annotations

import json
import shutil

import pytest
from backplate.cli import models as models_command


@pytest.fixture
def folder(tmp_path, model):
    """A folder with a file that bears a known name and one that does not."""
    target = tmp_path / "models"
    (target / "mine").mkdir(parents=True)
    shutil.copy(model, target / "realesr-general-x4v3.safetensors")
    shutil.copy(model, target / "mine" / "tiny [v2].safetensors")
    return target


def test_table_shows_known_models_and_others(backplate, folder):
    result = backplate("models", "--models-dir", folder, code=0)
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert lines["realesr-general-x4v3"].split()[1:4] == ["x4", "BSD-3-Clause", "yes"]
    assert lines["RealESRGAN_x4plus"].split()[1:4] == ["x4", "BSD-3-Clause", "-"]
    assert "(not commercial)" in result.stdout
    assert f"realesr-general-x4v3.safetensors: {folder / 'realesr-general-x4v3.safetensors'}\n" in result.stdout
    assert f"mine/tiny [v2].safetensors: {folder / 'mine' / 'tiny [v2].safetensors'}\n" in result.stdout
    assert str(folder) in result.stderr


def test_list_for_scripts(backplate, folder):
    listing = json.loads(backplate("models", "--models-dir", folder, "--json").stdout)
    by_name = {entry["name"]: entry for entry in listing["catalogue"]}
    assert by_name["realesr-general-x4v3"]["installed"] == [str(folder / "realesr-general-x4v3.safetensors")]
    assert by_name["4x-UltraSharp"]["installed"] == []
    assert by_name["4x-UltraSharp"]["commercial_use"] is False
    others = {entry["name"]: entry["path"] for entry in listing["other"]}
    assert others.pop("mine/tiny [v2].safetensors") == str(folder / "mine" / "tiny [v2].safetensors")
    assert sorted(others) == [
        f"backplate-{name}.safetensors" for name in ("lite-x2", "lite-x4", "standard-x2", "standard-x4")
    ]
    assert listing["folders"][0] == str(folder)


def test_folder_that_is_not_there(backplate, tmp_path):
    backplate("models", "--models-dir", tmp_path / "nothing", code=1, says="is not a folder")


def test_info(backplate, model):
    result = backplate("info", model, code=0)
    assert "x2" in result.stdout
    assert result.stdout.rstrip().endswith(str(model))


def test_info_for_scripts_finds_by_name(backplate, model):
    facts = json.loads(backplate("info", "tiny_x2", "--models-dir", model.parent, "--json").stdout)
    assert (facts["scale"], facts["path"], facts["licence"]) == (2, str(model), None)
    assert len(facts["sha256"]) == 64


def test_info_on_what_is_not_there(backplate):
    result = backplate("info", "4x-UltraSharp", code=1)
    assert result.stderr.count("\n") == 1
    assert "https://" in result.stderr


def test_fetch_of_a_model_that_nobody_knows(backplate):
    backplate("models", "fetch", "5x-Nothing", code=2, says="choose one of RealESRGAN_x4plus")


def test_fetch_shows_a_licence_that_forbids_commercial_use_and_stops(backplate, tmp_path):
    result = backplate("models", "fetch", "4x-ultrasharp", "--models-dir", tmp_path / "new", code=1)
    assert "CC-BY-NC-SA-4.0 (forbids commercial use; --accept-non-commercial" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (["fetch", "realesr-general-x4v3", "--models-dir", "there"], "there"),
        (["--models-dir", "there", "fetch", "realesr-general-x4v3"], "there"),
        (["fetch", "realesr-general-x4v3"], "data/backplate/models"),
    ],
)
def test_fetch_into_the_wanted_folder(backplate, tmp_path, monkeypatch, words, place):
    asked = []

    def fetch(entry, folder, *, on_progress, accept_non_commercial):
        asked.append((entry.name, folder, accept_non_commercial))
        on_progress(1, entry.bytes)
        return folder / entry.file

    monkeypatch.setattr(models_command, "fetch", fetch)
    words = [tmp_path / word if word == "there" else word for word in words]
    (tmp_path / "there").mkdir()
    result = backplate("models", *words, code=0)
    assert asked == [("realesr-general-x4v3", tmp_path / place, False)]
    assert result.stdout.strip() == str(tmp_path / place / "realesr-general-x4v3.pth")
