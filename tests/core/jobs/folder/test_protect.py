"""Masks beside pictures: found, used, watched when resuming, and never taken for pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.canvas import Background, Fill
from backplate.core.image.fit import Fit, Target
from backplate.core.image.protect import ProtectMode, magnified
from backplate.core.jobs.folder.job import FolderJob
from backplate.core.jobs.folder.manifest import manifest_path
from backplate.core.jobs.folder.run import run_folder
from backplate.core.jobs.picture import PictureSettings, enlarge, read_source
from backplate.core.jobs.protect import Mask, ProtectSettings, mask_in_file
from backplate.core.media.picture_folder import list_pictures, lone_masks, lone_masks_text, passed_over
from backplate.core.progress import Progress
from backplate.core.types import FloatBox, Size
from clips import Nearest
from PIL import Image

DOUBLE = PictureSettings(target=Target(fit=Fit.FACTOR, factor=2.0))


def drawn(path: Path, height: int = 30, width: int = 40, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(4).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels[:6, :8]).resize((width, height), Image.Resampling.BICUBIC).save(path, **options)
    return path


def masked(path: Path, height: int = 30, width: int = 40, left: int = 0) -> Path:
    """White from column ``left`` on."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[:, left:] = 255
    Image.fromarray(pixels).save(path)
    return path


def lines(job: FolderJob) -> dict[str, dict]:
    """The last line of each picture in the manifest."""
    return {line["source"]: line for line in map(json.loads, manifest_path(job.output).read_text().splitlines())}


def source_enlarged(path: Path, scale: int = 2) -> np.ndarray:
    """uint8 (H, W, 3), as ``resample`` promises."""
    pixels = torch.from_numpy(np.asarray(Image.open(path))).permute(2, 0, 1)[None].float() / 255
    height, width = pixels.shape[-2:]
    rows = torch.cat(list(magnified(pixels, FloatBox(0, 0, width, height), Size(width * scale, height * scale))), dim=2)
    return (rows[0].permute(1, 2, 0) * 255).round().byte().numpy()


def test_a_folder_with_masks_beside_its_pictures(job, tmp_path):
    folder = tmp_path / "in"
    for name in ("a.png", "b.png", "c.png", "d.png", "sub/e.png"):
        drawn(folder / name)
    masked(folder / "a.protect.png")
    (folder / "b.protect.png").write_bytes(b"no picture")
    masked(folder / "c.png.protect.png", 30, 90)
    masked(folder / "sub/e.protect.png", left=40)
    masked(folder / "lost.protect.png")
    work = job(folder, settings=DOUBLE)
    assert [task.name for task in work.tasks] == ["a.png", "b.png", "c.png", "d.png", "sub/e.png"]
    run_folder(work, Nearest())
    known = lines(work)
    assert {name: line["status"] for name, line in known.items()} == {
        "a.png": "done", "b.png": "failed", "c.png": "failed", "d.png": "done", "sub/e.png": "done",
    }  # fmt: skip
    assert "b.protect.png: not a readable picture" in known["b.png"]["reason"]
    assert "The mask c.png.protect.png is 90x30 and the picture 40x30, 125% apart" in known["c.png"]["reason"]
    assert known["sub/e.png"]["notes"] == ["the mask e.protect.png marks nothing, so nothing is protected"]
    assert (known["a.png"]["protected"], known["d.png"]["protected"]) == (1.0, 0.0)
    assert np.array_equal(Image.open(work.output / "a.png"), source_enlarged(folder / "a.png"))
    doubled = np.asarray(Image.open(folder / "d.png")).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(Image.open(work.output / "d.png"), doubled), "without a mask it is the model's"
    assert not list(work.output.rglob("*.protect.png"))


def test_resuming_notices_a_changed_mask(job, tmp_path, listening):
    folder = tmp_path / "in"
    drawn(folder / "a.png")
    drawn(folder / "b.png", 31)
    masked(folder / "a.protect.png")

    def again(**changes: object) -> list[tuple[str, bool]]:
        progress = listening()
        run_folder(job(folder, settings=DOUBLE, resume=True, **changes), Nearest(), progress)
        return sorted(progress.finished)

    again()
    assert again() == [("a.png", True), ("b.png", True)]
    masked(folder / "a.protect.png", left=30)
    assert again() == [("a.png", False), ("b.png", True)]
    (folder / "a.protect.png").unlink()
    assert again() == [("a.png", False), ("b.png", True)]
    masked(folder / "b.protect.png", 31)
    assert again() == [("a.png", True), ("b.png", False)]
    anchor = ProtectSettings(mode=ProtectMode.ANCHOR)
    assert again(protect=anchor) == [("a.png", True), ("b.png", False)]


def test_one_mask_for_all_and_one_of_its_own(job, tmp_path):
    folder = tmp_path / "in"
    drawn(folder / "a.png")
    drawn(folder / "b.png")
    masked(folder / "b.protect.png", left=40)
    one = mask_in_file(masked(tmp_path / "all.png"), ProtectMode.RESAMPLE)
    work = job(folder, settings=DOUBLE, protect=ProtectSettings(mask=one))
    run_folder(work, Nearest())
    assert [line["protected"] for _, line in sorted(lines(work).items())] == [1.0, 0.0]


def test_a_mask_outside_of_the_folders_that_may_be_read(job, tmp_path):
    folder = tmp_path / "in"
    drawn(folder / "a.png")
    secret = masked(tmp_path / "secret.png")
    (folder / "a.protect.png").symlink_to(secret)
    work = job(folder, settings=DOUBLE, roots=(folder,))
    run_folder(work, Nearest())
    assert "leads outside the folders that may be read" in lines(work)["a.png"]["reason"]


def test_which_masks_belong_to_pictures(tmp_path):
    for name in ("a.JPG", "b.png", "x/c.webp", "x/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for name in ("a.protect.png", "b.png.protect.png", "x/c.protect.png", "x/a.protect.png", "b.jpg.protect.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [source.name for source in list_pictures(tmp_path, recursive=True)] == ["a.JPG", "b.png", "x/c.webp"]
    assert passed_over(tmp_path, recursive=True) == {".txt": 1}
    lone = lone_masks(tmp_path, recursive=True)
    assert lone == ["b.jpg.protect.png", "x/a.protect.png"]
    assert lone_masks_text(lone).startswith(
        "2 masks have no picture of the same name beside them: b.jpg.protect.png, x"
    )
    assert lone_masks(tmp_path, recursive=False) == ["b.jpg.protect.png"]


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_mask_is_for_the_picture_as_it_is_shown(tmp_path, orientation):
    """The camera's mark turns the picture; who paints a mask on it sees it turned."""
    exif = Image.Exif()
    exif[274] = orientation
    path = drawn(tmp_path / "a.png", 30, 40, exif=exif)
    size = (30, 40) if orientation == 1 else (30, 40) if orientation == 3 else (40, 30)
    mask = Mask("m.png", ProtectMode.RESAMPLE, masked(tmp_path / "m.png", *size, left=size[1] // 2))
    source = read_source(path, tmp_path / "out.png", DOUBLE, 2, mask)
    result = enlarge(source, Nearest(), DOUBLE, Progress()).picture
    plain = enlarge(replace(source, protection=None), Nearest(), DOUBLE, Progress()).picture
    half = result.shape[3] // 2
    assert not torch.equal(result[..., half:], plain[..., half:])
    assert torch.equal(result[..., : half - 20], plain[..., : half - 20])


def test_trimmed_padded_deep_and_transparent_at_once(tmp_path):
    """The mask is for the picture before it is trimmed; 16 bits, alpha and bars stay what they are."""
    rng = np.random.default_rng(1)
    pixels = np.full((60, 70, 4), 65535, np.uint16)
    pixels[10:50, 20:60, :3] = rng.integers(0, 60000, (40, 40, 3))
    pixels[10:14, 20:60, 3] = 30000
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    mask = np.zeros((60, 70), np.uint8)
    mask[30:42, 30:50] = 255
    Image.fromarray(mask).save(tmp_path / "a.protect.png")
    settings = PictureSettings(
        target=Target(fit=Fit.PAD, width=100, height=80), background=Background(Fill.COLOUR, "white"), trim=True
    )
    found = ProtectSettings().mask_for(tmp_path / "a.png")
    source = read_source(tmp_path / "a.png", tmp_path / "out.png", settings, 2, found)
    assert source.protection is not None
    assert source.protection.mask.shape[-2:] == (40, 40)
    assert source.protection.mask[0, 0, 20:32, 10:30].min() == 1
    result = enlarge(source, Nearest(), settings, Progress())
    plain = enlarge(replace(source, protection=None), Nearest(), settings, Progress())
    lanczos = enlarge(source, None, settings, Progress())
    changed = (result.picture != plain.picture).any(dim=1)[0]
    rows, columns = changed.nonzero(as_tuple=True)
    # 40x40 at twice the size, in the middle of 100 columns; the fade ends 8 source pixels outside.
    assert int(columns.min()) >= 10 + 2 * (10 - 8)
    assert int(columns.max()) < 10 + 2 * (30 + 8)
    assert int(rows.min()) >= 2 * (20 - 8)
    assert int(rows.max()) < 2 * (32 + 8)
    ours, theirs = ((each.picture - lanczos.picture)[:, :, 44:60, 34:66].abs().mean() for each in (result, plain))
    assert ours < theirs
    assert (result.alpha is None) == (plain.alpha is None)


def test_a_mask_is_not_overwritten(tmp_path):
    path = masked(tmp_path / "m.png")
    with pytest.raises(InputError, match="is the protection mask"):
        read_source(drawn(tmp_path / "a.png"), path, DOUBLE, 2, mask_in_file(path, ProtectMode.RESAMPLE))


def test_a_mask_is_its_brightness_where_it_is_not_transparent(tmp_path):
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[0] = (255, 255, 255, 255)
    pixels[1] = (255, 255, 255, 0)
    pixels[1, 2] = (128, 128, 128, 255)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    read = mask_in_file(tmp_path / "m.png", ProtectMode.RESAMPLE).read()[0, 0]
    assert torch.allclose(read, torch.tensor([[1, 1, 1], [0, 0, 128 / 255]]), atol=1e-4)


def test_what_is_protected_is_not_locked(tmp_path):
    """The lock works on what the model drew; the protected part stays the enlarged source."""
    path = drawn(tmp_path / "a.png")
    locked = replace(DOUBLE, fidelity=1.0)
    for left, untouched in ((0, 0), (20, 48)):
        mask = Mask("m.png", ProtectMode.RESAMPLE, masked(tmp_path / "m.png", left=left))
        source = read_source(path, tmp_path / "out.png", locked, 2, mask)
        result = enlarge(source, Nearest(), locked, Progress()).picture[0, :, :, untouched:]
        expected = torch.from_numpy(source_enlarged(path)).permute(2, 0, 1)[:, :, untouched:] / 255
        assert (result - expected).abs().max() < 0.6 / 255
