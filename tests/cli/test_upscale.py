from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.errors import OutOfMemory
from backplate.core.jobs import picture
from backplate.core.media.picture.read import read_picture, write_picture
from PIL import Image, ImageCms, ImageOps

NEAR = 6 / 255
"""The model adds a texture of about one level to the enlarged picture; resampling adds a little."""


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


def nothing_but(folder: Path, *names: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


# -- sizes and names -------------------------------------------------------------------------------------------------


def test_own_scale(backplate, drawn, model, tmp_path):
    source = drawn("in.png", (12, 9))
    result = backplate("upscale", source, "-o", tmp_path / "out.png", "--model", model, code=0)
    assert result.stdout == ""
    assert result.stderr.startswith(f"backplate: {source} -> {tmp_path / 'out.png'} (24x18, ")
    assert result.stderr.count("\n") == 1
    enlarged = np.asarray(opened(source).resize((24, 18), Image.Resampling.NEAREST)) / 255
    assert np.abs(np.asarray(opened(tmp_path / "out.png")) / 255 - enlarged).max() < NEAR


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["--size", "40x40"], (40, 40)),
        (["--size", "40x"], (40, 30)),
        (["--size", "x30"], (40, 30)),
        (["--size", "50"], (50, 50)),
        (["--size", "40", "--fit", "contain"], (40, 30)),
        (["--size", "40", "--fit", "pad"], (40, 40)),
        (["--size", "40x20", "--fit", "stretch"], (40, 20)),
        (["--size", "48", "--fit", "longest"], (48, 36)),
        (["--size", "36", "--fit", "shortest"], (48, 36)),
        (["--scale", "1.5"], (18, 14)),
        (["--scale", "5"], (60, 45)),
        (["--megapixels", "0.0048"], (80, 60)),
        (["--size", "6"], (6, 6)),
        (["--size", "50", "--multiple-of", "16"], (48, 48)),
        (["--multiple-of", "8"], (24, 16)),
    ],
)
def test_sizes(backplate, drawn, model, tmp_path, words, size):
    backplate("upscale", drawn("in.png"), "-o", tmp_path / "out.png", "--model", model, *words, code=0)
    assert opened(tmp_path / "out.png").size == size


def test_folder_into_folder(backplate, drawn, model, tmp_path):
    for name in ("in/b10.png", "in/b9.jpg", "in/c.gif", "in/d.webp"):
        drawn(name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    out = tmp_path / "new" / "out"
    result = backplate("upscale", tmp_path / "in", drawn("e.bmp"), "-o", out, "--model", model, code=0)
    names = ["b10.png", "b9.jpg", "c.png", "d.webp", "e.bmp"]
    assert nothing_but(out, *names, "manifest.jsonl")
    assert all(opened(out / name).size == (24, 18) for name in names)
    order = [line.split(" -> ")[1].split(" (")[0] for line in result.stderr.splitlines() if " -> " in line]
    assert [Path(path).name for path in order] == ["b9.jpg", "b10.png", "c.png", "d.webp", "e.bmp"]


@pytest.mark.parametrize(("word", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF")])
def test_format(backplate, drawn, model, tmp_path, word, kind):
    out = tmp_path / "out"
    backplate("upscale", drawn("in.bmp"), "-o", out, "--model", model, "--format", word, code=0)
    assert nothing_but(out, f"in.{word}")
    assert opened(out / f"in.{word}").format == kind


def test_quality(backplate, drawn, model, tmp_path):
    for quality in (5, 95):
        words = ["-o", tmp_path / f"{quality}.jpg", "--model", model, "--quality", quality]
        assert backplate("upscale", drawn("in.png", (64, 64)), *words).exit_code == 0
    assert (tmp_path / "5.jpg").stat().st_size < (tmp_path / "95.jpg").stat().st_size


def test_model_by_name(backplate, drawn, model, tmp_path, monkeypatch):
    words = ["upscale", drawn("in.png"), "-o", tmp_path / "out.png", "--model", "tiny_x2"]
    assert backplate(*words).exit_code == 1
    assert backplate(*words, "--models-dir", model.parent).exit_code == 0
    (tmp_path / "out.png").unlink()
    monkeypatch.setenv("BACKPLATE_MODELS", str(model.parent))
    assert backplate(*words).exit_code == 0


def test_tiles_change_nothing(backplate, drawn, model, tmp_path):
    source = drawn("in.png", (100, 70))
    for name, words in (("whole", ["--tile-size", 512]), ("tiled", ["--tile-size", 32])):
        assert backplate("upscale", source, "-o", tmp_path / f"{name}.png", "--model", model, *words).exit_code == 0
    whole, tiled = (np.asarray(opened(tmp_path / f"{name}.png"), int) for name in ("whole", "tiled"))
    assert np.abs(whole - tiled).max() <= 1


def test_edge_is_heeded(backplate, drawn, model, tmp_path):
    source = drawn("in.png", (20, 20))
    results = []
    for edge in ("plain", "wrap-both"):
        path = tmp_path / f"{edge}.png"
        words = ["--bit-depth", 16, "--edge", edge, "--no-keep-colours"]
        assert backplate("upscale", source, "-o", path, "--model", model, *words).exit_code == 0
        results.append(read_picture(path).picture)
    assert (results[0] - results[1])[..., :2, :].abs().max() > 1e-4
    assert torch.equal(results[0][..., 18:22, 18:22], results[1][..., 18:22, 18:22])


def test_sharpening_is_heeded_and_makes_no_halo(backplate, drawn, model, tmp_path):
    source = tmp_path / "step.png"
    step = torch.full((1, 3, 16, 16), 0.25)
    step[..., 8:] = 0.75
    write_picture(source, step)
    paths = [tmp_path / "plain.png", tmp_path / "sharp.png"]
    for path, words in zip(paths, ([], ["--sharpen", "1"]), strict=True):
        assert backplate("upscale", source, "-o", path, "--model", model, "--size", "48", *words).exit_code == 0
    plain, sharp = (read_picture(path).picture for path in paths)
    assert (sharp[..., 25] - sharp[..., 22]).mean() > (plain[..., 25] - plain[..., 22]).mean() + 0.02
    assert sharp.min() >= plain.min() - 1e-3
    assert sharp.max() <= plain.max() + 1e-3


# -- odd inputs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (64, 1), (2, 3), (8000, 20)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_odd_sizes(backplate, drawn, model, tmp_path, size, mode):
    backplate("upscale", drawn("in.png", size, mode), "-o", tmp_path / "out.png", "--model", model, code=0)
    assert (opened(tmp_path / "out.png").size, opened(tmp_path / "out.png").mode) == ((size[0] * 2, size[1] * 2), mode)


def test_one_pixel_to_a_size(backplate, drawn, model, tmp_path):
    source = drawn("in.png", (1, 1))
    backplate("upscale", source, "-o", tmp_path / "out.png", "--model", model, "--size", "40x20", code=0)
    got = np.asarray(opened(tmp_path / "out.png")) / 255
    assert got.shape == (20, 40, 3)
    assert np.abs(got - np.asarray(opened(source)) / 255).max() < NEAR


def test_16_bit_rgba(backplate, model, tmp_path):
    ramp = torch.linspace(0, 1, 40).reshape(1, 1, 1, 40).expand(1, 3, 30, 40)
    alpha = torch.linspace(0, 1, 30).reshape(1, 1, 30, 1).expand(1, 1, 30, 40)
    write_picture(tmp_path / "in.png", ramp, alpha, bit_depth=16)
    for name, depth in (("out.png", 16), ("out.tif", 16), ("out.webp", 8)):
        backplate("upscale", tmp_path / "in.png", "-o", tmp_path / name, "--model", model, code=0)
        back = read_picture(tmp_path / name)
        assert back.bit_depth == depth
        assert back.alpha is not None
        assert back.alpha.shape == (1, 1, 60, 80)
        assert (back.alpha[0, 0, :, 7].diff() >= 0).all()
    steps = read_picture(tmp_path / "out.png").picture[0, 0, 40:].unique()
    assert len(steps) > 300


@pytest.mark.parametrize(("depth", "expected"), [(8, 8), (16, 16)])
def test_bit_depth_may_be_asked_for(backplate, drawn, model, tmp_path, depth, expected):
    words = ["-o", tmp_path / "out.png", "--model", model, "--bit-depth", depth]
    assert backplate("upscale", drawn("in.png"), *words).exit_code == 0
    assert read_picture(tmp_path / "out.png").bit_depth == expected


def test_grey_jpeg_stays_grey(backplate, drawn, model, tmp_path):
    backplate("upscale", drawn("in.jpg", mode="L"), "-o", tmp_path / "out", "--model", model, code=0)
    assert opened(tmp_path / "out" / "in.jpg").mode == "L"


def test_palette_with_transparency(backplate, model, tmp_path):
    image = Image.new("P", (16, 16), 0)
    image.putpalette([200, 30, 40, 10, 20, 220])
    image.paste(1, (8, 0, 16, 16))
    image.save(tmp_path / "in.png", transparency=0)
    backplate("upscale", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", model, code=0)
    got = opened(tmp_path / "out.png")
    assert got.mode == "RGBA"
    assert got.getpixel((4, 16))[3] == 0
    assert np.abs(np.array(got.getpixel((26, 16))) - [10, 20, 220, 255]).max() <= 255 * NEAR
    # No fringe: colour beside the edge is that of the visible side.
    edge = np.asarray(got)[:, 14:18]
    visible = edge[edge[..., 3] > 0]
    assert np.abs(visible[:, :3].astype(int) - [10, 20, 220]).max() <= 255 * NEAR


def test_cmyk_jpeg(backplate, model, tmp_path):
    Image.new("CMYK", (16, 8), (0, 255, 255, 0)).save(tmp_path / "in.jpg", quality=100, subsampling=0)
    backplate("upscale", tmp_path / "in.jpg", "-o", tmp_path / "out", "--model", model, code=0)
    got = opened(tmp_path / "out" / "in.jpg")
    assert got.mode == "RGB"
    assert np.abs(np.array(got.getpixel((16, 8))) - [255, 0, 0]).max() <= 8


@pytest.mark.parametrize("orientation", [3, 6])
def test_rotated_jpeg_is_turned_once(backplate, drawn, model, tmp_path, orientation):
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "Maker"
    source = drawn("in.jpg", (12, 9), exif=exif, dpi=(300, 300), quality=100, subsampling=0)
    backplate("upscale", source, "-o", tmp_path / "out.jpg", "--model", model, code=0)
    upright, got = ImageOps.exif_transpose(opened(source)), opened(tmp_path / "out.jpg")
    assert got.size == (upright.width * 2, upright.height * 2)
    assert 274 not in got.getexif()
    assert got.getexif()[271] == "Maker"
    assert got.info["dpi"] == (300, 300)
    small = np.asarray(got.resize(upright.size, Image.Resampling.BOX), int)
    assert np.abs(small - np.asarray(upright, int)).mean() < 4


def test_truncated_jpeg_is_refused_and_nothing_is_written(backplate, drawn, model, tmp_path):
    whole = drawn("whole.jpg", (64, 64)).read_bytes()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(whole[: len(whole) // 2])
    result = backplate("upscale", broken, "-o", tmp_path / "out" / "x.png", "--model", model, code=1)
    assert result.stderr.startswith(f"backplate: {broken}: the file is damaged or cut off")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_one_bad_picture_does_not_stop_the_others(backplate, drawn, model, tmp_path):
    drawn("in/a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no picture")
    drawn("in/c.png")
    result = backplate("upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", model, code=2)
    assert nothing_but(tmp_path / "out", "a.png", "c.png", "manifest.jsonl")
    lines = result.stderr.splitlines()
    assert [
        line for line in lines if line.startswith(f"backplate: {tmp_path / 'in' / 'b.png'}: not a readable picture")
    ]
    assert "2 of 3 pictures are done, 1 failed." in lines


def test_first_frame_of_an_animation_with_a_word_about_it(backplate, tmp_path, model):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "in.gif", save_all=True, append_images=frames[1:])
    result = backplate("upscale", tmp_path / "in.gif", "-o", tmp_path / "out", "--model", model, code=0)
    assert "only the first of 2 frames" in result.stderr
    assert opened(tmp_path / "out" / "in.png").getpixel((8, 8))[0] > 240


# -- transparency and colours ----------------------------------------------------------------------------------------


@pytest.fixture
def half_transparent(tmp_path) -> Path:
    """White, transparent in its right half."""
    image = Image.new("RGBA", (16, 8), (255, 255, 255, 255))
    image.paste((0, 0, 0, 0), (8, 0, 16, 8))
    image.save(tmp_path / "half.png")
    return tmp_path / "half.png"


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_is_kept(backplate, half_transparent, model, tmp_path, suffix):
    backplate("upscale", half_transparent, "-o", tmp_path / f"out.{suffix}", "--model", model, code=0)
    got = opened(tmp_path / f"out.{suffix}")
    assert [got.getpixel((x, 8))[3] for x in (0, 10, 21, 31)] == [255, 255, 0, 0]


@pytest.mark.parametrize("words", [[], ["--size", "32x16"]])
def test_background_goes_behind_transparency(backplate, half_transparent, model, tmp_path, words):
    words = ["-o", tmp_path / "out.jpg", "--model", model, "--background", "#00ff00", *words]
    backplate("upscale", half_transparent, *words, code=0)
    got = opened(tmp_path / "out.jpg")
    assert np.abs(np.array(got.getpixel((4, 8))) - [255, 255, 255]).max() <= 6
    assert np.abs(np.array(got.getpixel((27, 8))) - [0, 255, 0]).max() <= 6


def test_transparency_without_a_background_is_refused_for_jpeg(backplate, half_transparent, model, tmp_path):
    result = backplate("upscale", half_transparent, "-o", tmp_path / "out.jpg", "--model", model, code=1)
    assert "holds no transparency" in result.stderr
    assert not (tmp_path / "out.jpg").exists()


def test_opaque_alpha_does_not_keep_from_jpeg(backplate, drawn, model, tmp_path):
    source = drawn("in.png", mode="RGBA")
    assert backplate("upscale", source, "-o", tmp_path / "out.jpg", "--model", model).exit_code == 0


@pytest.mark.parametrize(
    ("background", "pixel"), [("transparent", (0, 0, 0, 0)), ("#102030", (16, 32, 48)), ("white", (255, 255, 255))]
)
def test_padding(backplate, drawn, model, tmp_path, background, pixel):
    words = ["--size", "40x40", "--fit", "pad", "--anchor", "top", "--background", background]
    backplate("upscale", drawn("in.png"), "-o", tmp_path / "out.png", "--model", model, *words, code=0)
    got = opened(tmp_path / "out.png").getpixel((20, 39))
    assert got[3:] == pixel[3:]
    if len(pixel) == 3:
        assert got == pixel


def test_transparent_padding_is_refused_for_jpeg_before_the_work(backplate, drawn, model, tmp_path):
    words = ["--size", "40x40", "--fit", "pad", "--background", "transparent"]
    result = backplate("upscale", drawn("in.png"), "-o", tmp_path / "out.jpg", "--model", model, *words, code=1)
    assert "holds no transparency" in result.stderr


def test_grey_picture_gets_a_coloured_background(backplate, model, tmp_path):
    Image.new("LA", (16, 8), (128, 0)).save(tmp_path / "in.png")
    words = ["-o", tmp_path / "out.png", "--model", model, "--background", "255,0,0"]
    backplate("upscale", tmp_path / "in.png", *words, code=0)
    assert opened(tmp_path / "out.png").getpixel((5, 5)) == (255, 0, 0)


@pytest.fixture
def profiled(tmp_path) -> Path:
    """A picture with a profile, so near to sRGB that a conversion keeps the numbers."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "profiled.png"
    Image.new("RGB", (8, 8), (200, 100, 50)).save(path, icc_profile=profile)
    return path


def test_profile_is_carried_or_converted_away(backplate, profiled, model, tmp_path):
    profile = opened(profiled).info["icc_profile"]
    for name, words, expected in (
        ("kept.png", [], profile),
        ("kept.jpg", [], profile),
        ("converted.png", ["--srgb"], None),
        ("converted.bmp", [], None),
    ):
        backplate("upscale", profiled, "-o", tmp_path / name, "--model", model, *words, code=0)
        assert opened(tmp_path / name).info.get("icc_profile") == expected
        assert np.abs(np.array(opened(tmp_path / name).getpixel((8, 8))) - [200, 100, 50]).max() <= 6


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_file_records_what_made_it(backplate, drawn, model, tmp_path, suffix):
    path = tmp_path / f"out.{suffix}"
    assert backplate("upscale", drawn("in.png"), "-o", path, "--model", model).exit_code == 0
    image = opened(path)
    maker = image.text["Software"] if suffix == "png" else image.getexif()[305]
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert maker == f"Backplate 0.1.0; tiny_x2; sha256 {digest[:12]}"


# -- refusals --------------------------------------------------------------------------------------------------------


def test_existing_output_is_kept_unless_told_otherwise(backplate, drawn, model, tmp_path):
    source, out = drawn("in.png"), tmp_path / "out.png"
    out.write_bytes(b"precious")
    result = backplate("upscale", source, "-o", out, "--model", model, code=1)
    assert result.stderr == f"backplate: {source}: {out} already exists; --overwrite replaces it.\n"
    assert out.read_bytes() == b"precious"
    assert backplate("upscale", source, "-o", out, "--model", model, "--overwrite").exit_code == 0
    assert opened(out).size == (24, 18)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nothing.png", "-o", "out.png"], "nothing.png: no such file or folder"),
        (["in.png", "-o", "in.png"], "is the input"),
        (["in.png", "other.png", "-o", "out.png"], "2 inputs cannot go into the one file"),
        (["in.png", "-o", "out.gif"], "cannot be written"),
        (["in.png", "-o", "out.png", "--size", "big"], "write it as 2000x1000"),
        (["in.png", "-o", "out.png", "--size", "9", "--scale", "2"], "set the size in different ways"),
        (["in.png", "-o", "out.png", "--fit", "cover"], "has no effect without"),
        (["in.png", "-o", "out.png", "--edge", "mirror"], "choose one of plain"),
        (["in.png", "-o", "out.png", "--precision", "fp8"], "choose one of auto"),
        (["in.png", "-o", "out.png", "--bit-depth", "12"], "--bit-depth 12: choose one of 8, 16"),
        (["in.png", "-o", "out.png", "--background", "colourful"], "colourful"),
        (["in.png", "-o", "out.png", "--sharpen", "99"], "amount is 99"),
        (["in.png", "-o", "out.png", "--tile-size", "1"], "tile size of 1"),
        (["in.png", "-o", "out", "--format", "gif"], "--format gif: choose one of png"),
        (["in.png", "-o", "out.png", "--quality", "101"], "--quality"),
        (["in.png"], "--output"),
    ],
)
def test_command_lines_that_make_no_sense(backplate, drawn, tmp_path, monkeypatch, words, reason):
    drawn("in.png")
    drawn("other.png")
    monkeypatch.chdir(tmp_path)
    # No such model: nothing is loaded before the command line has been understood.
    backplate("upscale", *words, "--model", "no such model", code=2, says=reason)
    assert nothing_but(tmp_path, "in.png", "other.png")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--model", "4x-UltraSharp"], "https://"),
        (["--model", "{model}", "--device", "quantum"], "no device quantum"),
        (["--model", "in.png"], ""),
        (["--model", "{model}", "--size", "70000"], "65,500"),
        (["--model", "{model}", "--bit-depth", "16", "--format", "jpg"], "PNG and TIFF hold 16"),
    ],
)
def test_what_cannot_be_done(backplate, drawn, model, tmp_path, monkeypatch, words, reason):
    drawn("in.png")
    monkeypatch.chdir(tmp_path)
    words = [str(model) if word == "{model}" else word for word in words]
    result = backplate("upscale", "in.png", "-o", "out", *words, code=1, says=reason)
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("backplate: ")
    assert not (tmp_path / "out").exists()


def test_half_precision_on_the_cpu_is_answered_with_a_word(backplate, drawn, model, tmp_path):
    words = ["-o", tmp_path / "out.png", "--model", model, "--device", "cpu", "--precision", "fp16"]
    backplate("upscale", drawn("in.png"), *words, code=0, says="runs in fp32 instead of fp16")


def test_side_beyond_the_format_is_refused_before_the_work(backplate, drawn, model, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("the model ran")

    monkeypatch.setattr(picture, "upscale_with_alpha", never)
    result = backplate("upscale", drawn("in.png", (8200, 1)), "-o", tmp_path / "out.webp", "--model", model, code=1)
    assert "16400x2 is beyond the 16383 pixels" in result.stderr


# -- failures and interruption ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "said"),
    [(OutOfMemory("Out of memory at last."), "Out of memory at last."), (ZeroDivisionError("oh"), "BACKPLATE_DEBUG=1")],
)
@pytest.mark.parametrize("debug", ["", "1"])
def test_failure_is_one_line_without_debugging(backplate, drawn, model, tmp_path, monkeypatch, failure, said, debug):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(picture, "upscale_with_alpha", fail)
    monkeypatch.setenv("BACKPLATE_DEBUG", debug)
    result = backplate("upscale", drawn("in.png"), "-o", tmp_path / "out.png", "--model", model, code=1, says=said)
    assert ("Traceback" in result.stderr) == bool(debug)
    assert (result.stderr.count("\n") == 1) == (not debug)
    assert nothing_but(tmp_path, "in.png")


def test_without_a_model_an_installed_real_esrgan_is_taken_and_named(backplate, drawn, model, tmp_path):
    folder = tmp_path / "installed"
    folder.mkdir()
    shutil.copy(model, folder / "realesr-general-x4v3.safetensors")
    common = ("--models-dir", folder, "--name-template", "{stem} by {model}")
    result = backplate("upscale", drawn("in/a.png").parent, "-o", tmp_path / "out", *common, code=0)
    assert "The model is realesr-general-x4v3.safetensors, which is installed" in result.stderr
    assert (tmp_path / "out" / "a by realesr-general-x4v3.png").is_file()


def test_without_a_model_and_without_an_installed_one_a_bundled_one_is_taken(backplate, drawn, tmp_path):
    result = backplate("upscale", drawn("a.png"), "-o", tmp_path / "out.png", code=0)
    assert "installed" not in result.stderr
    with Image.open(tmp_path / "out.png") as out, Image.open(tmp_path / "a.png") as source:
        assert out.width == 4 * source.width


def test_interruption_while_writing_leaves_nothing(backplate, drawn, model, tmp_path, monkeypatch):
    drawn("in/a.png")
    drawn("in/b.png")
    saves = []
    save = Image.Image.save

    def interrupted(image, file, *args, **options):
        saves.append(file)
        if len(saves) == 2:
            file.write(b"the first bytes")
            raise KeyboardInterrupt
        save(image, file, *args, **options)

    monkeypatch.setattr(Image.Image, "save", interrupted)
    result = backplate("upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", model, code=130)
    assert result.stderr.splitlines()[-1] == "backplate: interrupted"
    # Two threads write, and either picture may be the first.
    assert any(nothing_but(tmp_path / "out", name, "manifest.jsonl") for name in ("a.png", "b.png"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_ctrl_c_ends_a_real_process_with_130(program, model, tmp_path):
    pipe = tmp_path / "in.png"
    os.mkfifo(pipe)
    # Where the tests themselves run with the signal ignored, as behind "&", their children would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = program("upscale", pipe, "-o", tmp_path / "out.png", "--model", model)
    signal.signal(signal.SIGINT, before)
    # Opening blocks until the process reads from the other end.
    with pipe.open("wb"):
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "backplate: interrupted\n"
    assert nothing_but(tmp_path, "in.png")


# -- the program itself ----------------------------------------------------------------------------------------------


def test_real_process(program, drawn, model, tmp_path):
    drawn("in/a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"")
    process = program("upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", model)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (2, "")
    assert [line.partition(" ")[0] for line in stderr.splitlines()][:2] == ["backplate:"] * 2
    assert "1 of 2 pictures are done, 1 failed." in stderr
    assert nothing_but(tmp_path / "out", "a.png", "manifest.jsonl")


def test_version_and_help_do_not_wait_for_pytorch(program):
    for words, said in ((["--version"], "backplate 0.1.0"), (["--help"], "upscale"), (["upscale", "--help"], "--size")):
        process = program(*words, without=["torch", "spandrel", "cv2", "numpy", "PIL"])
        stdout, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, "")
        assert said in stdout


def test_installed_command(drawn, model, tmp_path):
    command = Path(sys.executable).with_name("backplate")
    if not shutil.which(str(command)):
        pytest.skip("backplate is not installed beside this Python")
    done = subprocess.run([str(command), "--version"], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout) == (0, "backplate 0.1.0\n")
