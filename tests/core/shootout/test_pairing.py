"""Files find their partners, and those without are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from backplate.core.errors import InputError
from backplate.core.shootout.pairing import Kind, files_in, kind_of, pair_files


@pytest.fixture
def touch(tmp_path: Path):
    def make(*names: str) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

    return make


def names(tmp_path: Path) -> list[tuple[str, str]]:
    pairs = pair_files(tmp_path / "a", tmp_path / "b").pairs
    return [
        (pair.result.relative_to(tmp_path / "a").as_posix(), pair.reference.relative_to(tmp_path / "b").as_posix())
        for pair in pairs
    ]


def test_two_files_are_a_pair_whatever_their_names(tmp_path, touch):
    touch("x.png", "y.jpg")
    pairing = pair_files(tmp_path / "x.png", tmp_path / "y.jpg")
    assert pairing.pairs == (("x.png", tmp_path / "x.png", tmp_path / "y.jpg"),)


def test_the_same_name_comes_before_the_same_stem(tmp_path, touch):
    touch("a/one.png", "a/two.webp", "b/one.png", "b/one.jpg", "b/two.bmp")
    assert names(tmp_path) == [("one.png", "one.png"), ("two.webp", "two.bmp")]


def test_order_is_natural_and_subfolders_count(tmp_path, touch):
    touch(*(f"{side}/{name}" for side in "ab" for name in ("f10.png", "f9.png", "sub/f9.png", "sub/clip.mp4")))
    assert [name for name, _ in names(tmp_path)] == ["f9.png", "f10.png", "sub/clip.mp4", "sub/f9.png"]


@pytest.mark.parametrize(
    ("files", "problems"),
    [
        (
            "a/one.png a/extra.png b/one.png b/missing.png a/.hidden.png a/notes.txt",
            ("extra.png of {a} has no partner in {b}.", "missing.png of {b} has no partner in {a}."),
        ),
        (
            "a/two.webp b/two.png b/two.jpg a/one.png b/one.png",
            ("two.webp could belong to two.jpg or two.png of {b}; give it one partner.",),
        ),
    ],
)
def test_files_without_a_clear_partner_are_named_and_the_rest_is_paired(tmp_path, touch, files, problems):
    touch(*files.split())
    pairing = pair_files(tmp_path / "a", tmp_path / "b")
    assert [pair.name for pair in pairing.pairs] == ["one.png"]
    assert pairing.problems == tuple(each.format(a=tmp_path / "a", b=tmp_path / "b") for each in problems)


@pytest.mark.parametrize(
    ("result", "reference", "message"),
    [
        ("absent", "b", "There is no file or folder"),
        ("a", "b/one.png", "is a folder and .* a file; give two files or two folders"),
        ("empty", "b", "empty holds no picture or video"),
        ("other", "b", r"No name in .*other \(zebra.png, ...\) is also in .*b \(one.png, ...\)"),
    ],
)
def test_what_cannot_be_paired_is_refused(tmp_path, touch, result, reference, message):
    touch("a/one.png", "b/one.png", "other/zebra.png", "empty/readme.md")
    with pytest.raises(InputError, match=message):
        pair_files(tmp_path / result, tmp_path / reference)


def test_kinds_are_told_by_suffix():
    assert kind_of(Path("a.PNG")) is Kind.PICTURE
    assert kind_of(Path("a.Mp4")) is Kind.VIDEO
    assert kind_of(Path("a.txt")) is None


def test_names_with_dots_keep_them(tmp_path, touch):
    touch("a/v1.2.png", "b/v1.2.jpg", "b/v1.3.jpg")
    assert names(tmp_path) == [("v1.2.png", "v1.2.jpg")]
    assert list(files_in(tmp_path / "b")) == ["v1.2.jpg", "v1.3.jpg"]
