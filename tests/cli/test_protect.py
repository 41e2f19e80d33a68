"""``--protect`` and masks beside pictures, as they are typed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


def mask(path, size=(12, 9), level=255):
    Image.new("L", size, level).save(path)
    return path


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_a_mask_beside_a_picture_does_what_the_option_does(backplate, drawn, model, tmp_path):
    source = drawn("in.png")
    white = mask(tmp_path / "white.png")
    plain, named, beside = (tmp_path / f"{name}.png" for name in ("plain", "named", "beside"))
    assert backplate("upscale", source, "-o", plain, "-m", model).exit_code == 0
    assert backplate("upscale", source, "-o", named, "-m", model, "--protect", white).exit_code == 0
    mask(tmp_path / "in.protect.png")
    assert backplate("upscale", source, "-o", beside, "-m", model).exit_code == 0
    assert np.array_equal(pixels(named), pixels(beside))
    assert not np.array_equal(pixels(named), pixels(plain))
    mask(tmp_path / "in.protect.png", level=0)
    done = backplate("upscale", source, "-o", beside, "-m", model, "--overwrite", "--protect", white)
    assert "The mask in.protect.png marks nothing" in done.stderr or "the mask in.protect.png" in done.stderr
    assert np.array_equal(pixels(beside), pixels(plain)), "the one beside goes first"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--protect", "none.png"], "none.png: no such file"),
        (["--protect", "broken.png"], "broken.png: not a readable picture"),
        (["--protect", "wide.png"], "The mask wide.png is 90x9 and the picture 12x9"),
        (["--protect", "white.png", "--protect-mode", "magic"], "--protect-mode magic: choose one of resample, anchor"),
        (["--protect", "out.png", "--overwrite"], "is the protection mask"),
    ],
)
def test_masks_that_do_not_do(backplate, drawn, model, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"x")
    mask(tmp_path / "white.png")
    mask(tmp_path / "out.png")
    mask(tmp_path / "wide.png", (90, 9))
    before = (tmp_path / "out.png").read_bytes()
    target = ["-o", "out.png"] if "out.png" in words else ["-o", "result.png"]
    done = backplate("upscale", drawn("in.png"), *target, "-m", model, *words)
    assert done.exit_code != 0
    assert sentence in done.stderr
    assert not (tmp_path / "result.png").exists()
    assert (tmp_path / "out.png").read_bytes() == before


def test_a_glob_names_the_masks_as_well(backplate, drawn, model, tmp_path):
    inputs = [drawn("in/a.png"), drawn("in/b.png"), mask(tmp_path / "in/a.protect.png")]
    backplate("upscale", *inputs, "-o", tmp_path / "out", "-m", model, code=0)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.png", "b.png"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert {line["source"]: line["protected"] for line in lines} == {"a.png": 1.0, "b.png": 0.0}


def test_a_folder_says_which_masks_have_no_picture(backplate, drawn, model, tmp_path):
    drawn("in/a.png")
    mask(tmp_path / "in/b.protect.png")
    done = backplate("upscale", tmp_path / "in", "-o", tmp_path / "out", "-m", model, code=0)
    assert "A mask has no picture of the same name beside it: b.protect.png" in done.stderr
    assert "1 of 1 pictures are done" in done.stderr
