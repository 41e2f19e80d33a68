"""--fidelity and --keep-colours: heeded for one picture and for folders, noted, and part of what a job is known by."""

from __future__ import annotations

import json
import math

import torch
from backplate.core.image.resize import resize
from backplate.core.media.picture.read import read_picture
from backplate.core.types import Size


def lr_psnr(source, result) -> float:
    small, large = read_picture(source).picture, read_picture(result).picture
    missing = small - resize(large, Size(small.shape[3], small.shape[2]))
    return -20 * math.log10(float(missing.square().mean().sqrt()))


def test_a_locked_picture_agrees_with_its_source(backplate, drawn, model, tmp_path):
    source = drawn("in.png", (40, 30))
    words = ["upscale", source, "--model", model, "--no-keep-colours", "--scale", 3.3]
    assert backplate(*words, "-o", tmp_path / "own.png").exit_code == 0
    backplate(*words, "-o", tmp_path / "locked.png", "--fidelity", 1, code=0, says="agrees with the source to")
    assert lr_psnr(source, tmp_path / "locked.png") >= 45
    assert lr_psnr(source, tmp_path / "locked.png") >= lr_psnr(source, tmp_path / "own.png")


def test_a_strength_out_of_range_is_refused(backplate, drawn, model, tmp_path):
    result = backplate("upscale", drawn("in.png"), "--model", model, "-o", tmp_path / "o.png", "--fidelity", 1.5)
    assert result.exit_code == 2
    assert "--fidelity" in result.stderr


def test_a_folder_notes_it_and_makes_pictures_again_when_it_changes(backplate, drawn, model, tmp_path):
    drawn("in/a.png", (40, 30))
    words = ["upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", model]
    assert backplate(*words).exit_code == 0
    again = backplate(*words, "--resume", "--fidelity", 1, code=0)
    entries = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert any("agrees with the source" in note for note in entries[-1]["notes"])
    assert "1 of these pictures were made with other settings" in again.stderr


def test_colours_are_kept_unless_asked_otherwise(backplate, drawn, model, tmp_path):
    source = drawn("in.png", (40, 30))
    for name, words in (("kept", []), ("own", ["--no-keep-colours"])):
        backplate(
            "upscale", source, "--model", model, "-o", tmp_path / f"{name}.png", "--bit-depth", 16, *words, code=0
        )
    kept, own = (read_picture(tmp_path / f"{name}.png").picture for name in ("kept", "own"))
    assert not torch.equal(kept, own)
    means = [float((each.mean((2, 3)) - read_picture(source).picture.mean((2, 3))).abs().max()) for each in (kept, own)]
    assert means[0] < means[1]
