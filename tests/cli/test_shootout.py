"""``backplate shootout``: the report, and what the exit code means."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three pictures of 64x48."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    ramp = Image.linear_gradient("L").resize((64, 48))
    for index, turned in enumerate((ramp, ramp.rotate(180), ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT))):
        image = Image.merge("RGB", [turned, ramp, turned])
        image.paste((240, 240, 240), (20 + index, 10, 50, 40))
        image.save(folder / f"p{index}.png")
    return folder


def shootout(backplate, pictures: Path, output: Path, *words: object, **checks: object):
    options = ("--images", pictures, "--scale", 2, "-o", output, "--metrics", "psnr")
    return backplate("shootout", *words, *options, **checks)


def test_a_run_writes_its_report(backplate, model, pictures, tmp_path):
    result = shootout(backplate, pictures, tmp_path / "out", "--models", model, "--degrade", "bicubic", code=0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "contact_sheet.png",
        "report.csv",
        "report.html",
        "report.json",
    ]
    assert result.stdout.splitlines()[2].startswith("Lanczos")
    assert "made 2 times smaller by antialiased bicubic reduction" in result.stdout
    data = json.loads((tmp_path / "out/report.json").read_text())
    assert {each["model"] for each in data["results"]} == {"Lanczos", "tiny_x2", "reference"}
    assert data["metrics"]["psnr"]["convention"].endswith("BT.601 Y (16-235), border of 2 px left out")


def test_models_follow_one_option_or_several(backplate, model, pictures, tmp_path):
    other = shutil.copy(model, tmp_path / "other.safetensors")
    for words in (["--models", model, other], ["--models", model, "--models", other]):
        shootout(backplate, pictures, tmp_path / "out", *words, code=0)
        with (tmp_path / "out/report.csv").open() as file:
            assert {row["model"] for row in csv.DictReader(file)} == {"Lanczos", "tiny_x2", "other"}


def test_references_are_matched_by_name(backplate, model, pictures, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    for path in pictures.iterdir():
        Image.open(path).resize((32, 24), Image.Resampling.BICUBIC).save(small / path.name)
    (pictures / "p2.png").unlink()
    result = shootout(backplate, small, tmp_path / "out", "-m", model, "--references", pictures, code=0)
    assert f"p2.png of {small} has no partner in {pictures}." in result.stdout
    data = json.loads((tmp_path / "out/report.json").read_text())
    assert [each["has_reference"] for each in data["pictures"]] == [True, True, False]


def test_a_scale_that_is_not_the_models_is_met(backplate, model, pictures, tmp_path):
    backplate("shootout", "-m", model, "--images", pictures, "--scale", 3, "-o", tmp_path / "out", code=0)
    data = json.loads((tmp_path / "out/report.json").read_text())
    assert data["pictures"][0]["result"] == [192, 144]


def test_a_bad_model_and_a_bad_picture_are_listed_and_exit_code_2(backplate, model, pictures, tmp_path):
    (pictures / "bad.png").write_text("no picture")
    (tmp_path / "fake.pth").write_text("no weights")
    words = ["--models", model, tmp_path / "fake.pth", "absent"]
    result = shootout(backplate, pictures, tmp_path / "out", *words, code=2)
    for start in ("bad.png is left out: ", "fake cannot be used: ", "absent cannot be used: "):
        assert start in result.stdout
    page = (tmp_path / "out/report.html").read_text()
    assert "bad.png is left out" in page
    assert "tiny_x2" in page


def test_no_model_at_all_is_exit_code_1(backplate, pictures, tmp_path):
    shootout(backplate, pictures, tmp_path / "out", "-m", "absent", code=1)
    assert (tmp_path / "out/report.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--degrade", "blur"], "--degrade blur: choose one of bicubic, jpeg, realesrgan"),
        (["--images", "absent"], "There is no folder or picture absent"),
        (["--metrics", "lr_psnr"], "no metric 'lr_psnr'"),
        (["--precision", "fp8"], "--precision fp8"),
    ],
)
def test_misuse_is_exit_code_2(backplate, model, pictures, tmp_path, words, message):
    result = backplate("shootout", "-m", model, "--images", pictures, "--scale", 2, "-o", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(backplate, model, pictures, tmp_path):
    (tmp_path / "out").touch()
    shootout(backplate, pictures, tmp_path / "out", "-m", model, code=2, says="out is a file; name a folder")


def test_references_and_degradation_at_once_are_refused(backplate, model, pictures, tmp_path):
    words = ["-m", model, "--references", pictures, "--degrade", "jpeg"]
    assert shootout(backplate, pictures, tmp_path / "out", *words).exit_code == 2
