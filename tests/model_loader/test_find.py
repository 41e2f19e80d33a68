from __future__ import annotations

import os
from pathlib import Path

import pytest
from backplate.model_loader.catalogue import CATALOGUE
from backplate.model_loader.errors import ModelError, ModelNotFoundError
from backplate.model_loader.find import (
    BUNDLED,
    DEFAULT_MODEL,
    DEFAULT_VIDEO_MODEL,
    FOR_ANY_PICTURE,
    default_folders,
    find_model,
    model_files,
    preferred_model,
    user_folder,
)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (
        first / "b.pth",
        first / "photo" / "A.safetensors",
        first / "photo" / "x.ckpt",
        first / "notes.txt",
        first / ".hidden" / "h.pth",
        first / "half.pth.part",
        second / "b.pth",
        second / "anime" / "x.PTH",
        second / "4x-Ultra.pt",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"-")
    return [first, second]


def test_names_are_relative_sorted_and_the_first_folder_wins(folders):
    files = model_files([*folders, folders[0] / "absent"])
    assert list(files) == ["4x-Ultra.pt", "anime/x.PTH", "b.pth", "photo/A.safetensors", "photo/x.ckpt"]
    assert files["b.pth"] == folders[0] / "b.pth"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_are_followed_once(folders):
    (folders[0] / "photo" / "up").symlink_to(folders[0])
    (folders[0] / "elsewhere").symlink_to(folders[1])
    names = list(model_files(folders[:1]))
    assert "elsewhere/anime/x.PTH" in names
    assert not any("up/" in name for name in names)


@pytest.mark.parametrize(
    ("name", "folder", "expected"),
    [
        ("b.pth", 0, "b.pth"),
        ("photo/x.ckpt", 0, "photo/x.ckpt"),
        ("photo\\x.ckpt", 0, "photo/x.ckpt"),
        ("a", 0, "photo/A.safetensors"),
        ("PHOTO/A", 0, "photo/A.safetensors"),
        ("4x-ultra", 1, "4x-Ultra.pt"),
        ("x.pth", 1, "anime/x.PTH"),
        ("notes.txt", 0, "notes.txt"),  # the loader says what is wrong with it
    ],
)
def test_what_people_type(folders, name, folder, expected):
    assert find_model(name, folders) == folders[folder] / expected


def test_a_path(folders, tmp_path, monkeypatch):
    path = folders[1] / "b.pth"
    assert find_model(str(path), []) == path
    monkeypatch.chdir(folders[1])
    assert find_model("anime/x.PTH", []) == Path("anime/x.PTH")


@pytest.mark.parametrize("name", ["../second/4x-Ultra.pt", "photo/../../second/4x-Ultra.pt", "{absolute}"])
def test_without_paths_nothing_outside_of_the_folders_is_found(folders, name):
    name = name.format(absolute=folders[1] / "4x-Ultra.pt")
    with pytest.raises(ModelNotFoundError):
        find_model(name, folders[:1], allow_paths=False)


def test_a_name_that_fits_two_files(folders):
    with pytest.raises(ModelError, match=r"x may mean anime/x\.PTH or photo/x\.ckpt: give the whole name"):
        find_model("x", folders)


def test_a_known_model_that_is_not_there(folders):
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("realesrgan_X4plus", folders)
    assert "RealESRGAN_x4plus.pth" in str(caught.value)
    assert "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/RealESRGAN_x4plus.pth" in str(caught.value)
    assert f"into {folders[0]}." in str(caught.value)


def test_close_names(folders):
    with pytest.raises(ModelNotFoundError, match=r"did you mean 4x-Ultra\.pt\?$"):
        find_model("4x-Ulta.pth", folders)


def test_no_close_name(folders, tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"choose one of its 5, such as 4x-Ultra\.pt"):
        find_model("qqqqqq", folders)
    with pytest.raises(ModelNotFoundError, match=r"put a file of weights \(\.pth, "):
        find_model("qqqqqq", [tmp_path / "absent"])
    with pytest.raises(ModelNotFoundError, match="No model was named"):
        find_model(" ", folders)


def test_default_folders_in_order_and_without_repeats(tmp_path, monkeypatch):
    named = tmp_path / "named"
    named.mkdir()
    monkeypatch.setenv("BACKPLATE_MODELS", os.pathsep.join(["/one", str(named), "", "/one"]))
    monkeypatch.setenv("COMFYUI_PATH", "/comfy")
    comfyui = Path("/comfy/models/upscale_models")
    assert default_folders() == [Path("/one"), named, comfyui, user_folder(), BUNDLED]
    assert default_folders(named) == [named, Path("/one"), comfyui, user_folder(), BUNDLED]


def test_a_models_folder_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="absent is not a folder"):
        default_folders(tmp_path / "absent")


@pytest.mark.parametrize(
    ("installed", "for_pictures", "for_video"),
    [
        ([], DEFAULT_MODEL, DEFAULT_VIDEO_MODEL),
        (["4x-UltraSharp.pth", "mine.pth"], DEFAULT_MODEL, DEFAULT_VIDEO_MODEL),
        (["deep/realesr-general-x4v3.safetensors"], "deep/realesr-general-x4v3.safetensors", None),
        (["realesr-animevideov3.pth", "RealESRGAN_x4plus_anime_6B.pth"], DEFAULT_MODEL, DEFAULT_VIDEO_MODEL),
        (["RealESRGAN_x4plus.pth"], "RealESRGAN_x4plus.pth", DEFAULT_VIDEO_MODEL),
        (["realesr-general-x4v3.pth", "RealESRGAN_x4plus.pth"], "RealESRGAN_x4plus.pth", "realesr-general-x4v3.pth"),
    ],
)
def test_an_installed_real_esrgan_is_preferred_to_the_bundled_models(tmp_path, installed, for_pictures, for_video):
    for name in installed:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folders = [tmp_path, BUNDLED]
    assert preferred_model(folders) == for_pictures
    assert preferred_model(folders, video=True) == (for_video or for_pictures)


def test_a_model_is_only_taken_unasked_if_everybody_may_use_it():
    entries = {entry.name: entry for entry in CATALOGUE}
    assert all(entries[name].commercial_use for name in FOR_ANY_PICTURE)


@pytest.mark.parametrize("name", [DEFAULT_MODEL, DEFAULT_VIDEO_MODEL])
def test_the_models_that_nobody_has_to_install_are_there(name):
    assert find_model(name, [BUNDLED]).parent == BUNDLED
