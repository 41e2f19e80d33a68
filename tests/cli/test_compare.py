"""``backplate compare``: figures on stdout, sentences on stderr, and what the exit code means."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pair(tmp_path: Path):
    """``pair("a", "b", name, error)``: a picture in both folders, the first off by ``error`` levels."""

    def make(name: str = "one.png", error: int = 5, size: tuple[int, int] = (40, 30)) -> tuple[Path, Path]:
        ramp = np.asarray(Image.linear_gradient("L").resize(size)).astype(int) // 2 + 40
        for folder, shift in (("a", error), ("b", 0)):
            (tmp_path / folder).mkdir(exist_ok=True)
            values = np.repeat((ramp + shift)[..., None], 3, axis=2).astype(np.uint8)
            Image.fromarray(values).save(tmp_path / folder / name)
        return tmp_path / "a" / name, tmp_path / "b" / name

    return make


def decibels(error: int) -> float:
    return 20 * math.log10(255 / error)


def test_json_is_one_object_of_means(backplate, pair):
    result = backplate("compare", *pair(error=5), "--metrics", "psnr,ssim", "--json", code=0)
    found = json.loads(result.stdout)
    assert list(found) == ["psnr", "ssim"]
    assert found["psnr"] == pytest.approx(decibels(5), abs=1e-3)
    assert result.stderr == ""


def test_folders_have_the_mean_of_their_pairs(backplate, pair, tmp_path):
    pair("1.png", 5), pair("2.png", 10)
    result = backplate("compare", tmp_path / "a", tmp_path / "b", "--json", "--metrics", "psnr")
    assert json.loads(result.stdout)["psnr"] == pytest.approx((decibels(5) + decibels(10)) / 2, abs=1e-3)


def test_the_table_names_conventions(backplate, pair):
    result = backplate("compare", *pair(), "--channel", "y", "--border", 4, code=0)
    assert "BT.601 Y (16-235), border of 4 px left out; higher is better" in result.stdout


def test_identical_pictures_are_infinity_that_json_and_python_read(backplate, pair):
    result = backplate("compare", *pair(error=0), "--json", "--metrics", "psnr")
    assert json.loads(result.stdout) == {"psnr": "Infinity"}
    assert backplate("compare", *pair(error=0), "--fail-below", "psnr=99").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--fail-below", "psnr=30"], 0),
        (["--fail-below", "psnr=35"], 3),
        (["--fail-below", "psnr=30", "--fail-below", "ssim=0.9999"], 3),
    ],
)
def test_a_missed_threshold_is_exit_code_3(backplate, pair, words, code):
    result = backplate("compare", *pair(error=5), *words)
    assert result.exit_code == code
    assert ("wanted at least" in result.stderr) == (code == 3)


def test_a_threshold_asks_for_its_metric(backplate, pair):
    result = backplate("compare", *pair(), "--metrics", "psnr", "--fail-below", "ssim=0.1", "--json")
    assert set(json.loads(result.stdout)) == {"psnr", "ssim"}


def test_a_threshold_without_a_figure_is_missed(backplate, pair):
    backplate("compare", *pair(size=(8, 8)), "--fail-below", "ssim=0.1", code=3, says="could not be measured")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fail-below", "lpips=0.3"], "LPIPS is better when lower; use --fail-above."),
        (["--fail-above", "psnr=30"], "PSNR is better when higher; use --fail-below."),
        (["--fail-below", "psnr"], "write it as METRIC=MEAN"),
        (["--metrics", "pnsr"], "no metric 'pnsr' here; did you mean psnr"),
        (["--channel", "u"], "choose one of rgb, y"),
        (["--align", "stretch"], "choose one of none, crop, resize"),
        (["--vmaf-model", "phone"], "no VMAF model 'phone'"),
    ],
)
def test_misuse_is_exit_code_2(backplate, pair, words, message):
    backplate("compare", *pair(), *words, code=2, says=message)


def test_one_bad_pair_is_named_and_exit_code_2(backplate, pair, tmp_path):
    pair("good.png"), pair("bad.png"), pair("lonely.png")
    (tmp_path / "a/bad.png").write_text("no picture")
    (tmp_path / "b/lonely.png").unlink()
    result = backplate("compare", tmp_path / "a", tmp_path / "b", "--json", "--metrics", "psnr", code=2)
    assert json.loads(result.stdout)["psnr"] == pytest.approx(decibels(5), abs=1e-3)
    assert "bad.png" in result.stderr
    assert "lonely.png of" in result.stderr


def test_nothing_compared_is_exit_code_1(backplate, pair, tmp_path):
    first, _ = pair("a.png", size=(40, 30))
    _, second = pair("b.png", size=(41, 30))
    result = backplate("compare", first, second, code=1)
    assert "The result is 40x30 and the reference 41x30; align 'crop'" in result.stdout
    assert backplate("compare", first, second, "--align", "crop").exit_code == 0
    backplate("compare", first, tmp_path / "absent", code=1, says="no file or folder")


def test_a_metric_that_cannot_be_had_leaves_the_others(backplate, pair, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub._hub_dir", None, raising=False)
    result = backplate("compare", *pair(size=(64, 64)), "--metrics", "psnr,lpips", "--json", code=0)
    assert set(json.loads(result.stdout)) == {"psnr"}
    assert "alexnet-owt-7be5be79.pth" in result.stderr


def test_report_file_has_every_pair(backplate, pair, tmp_path):
    pair("1.png", 5), pair("2.png", 10)
    backplate("compare", tmp_path / "a", tmp_path / "b", "--report", tmp_path / "report.json", code=0)
    data = json.loads((tmp_path / "report.json").read_text())
    assert [row["name"] for row in data["rows"]] == ["1.png", "2.png"]
    assert data["rows"][1]["values"]["psnr"] == pytest.approx(decibels(10), abs=1e-3)


def test_vmaf_without_its_package_says_what_to_install(program, pair):
    process = program("compare", *pair(size=(64, 64)), "--metrics", "vmaf", without=["imageio_ffmpeg"])
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "pip install imageio-ffmpeg" in _ + stderr


@pytest.mark.parametrize("code", ["import runpy; runpy.run_module('backplate.cli', run_name='__main__')", "name"])
def test_a_name_that_the_output_cannot_write_ends_nothing(code: str, loading: str, pair):
    first, second = (path.rename(path.with_name("\u6620.png")) for path in pair())
    if code == "name":
        code = "from backplate.cli import write_any_name as any_name; any_name(); print('\\u6620 psnr')"
    program = [sys.executable, "-c", f"{loading}\n{code}", "compare", first, second, "--metrics", "psnr"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(program, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert b"psnr" in done.stdout.lower()
    assert b"\\u6620" in done.stdout
