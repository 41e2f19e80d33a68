"""Which pictures a folder has, what their results are called, and who works on which."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from backplate.core.errors import InputError
from backplate.core.image.fit import Fit, Target
from backplate.core.media.picture_folder import (
    Shard,
    Source,
    contained,
    list_pictures,
    natural_order,
    parse_shard,
    parse_template,
    passed_over,
    passed_over_text,
    pixels_of,
    plan_tasks,
    refuse_inputs_as_outputs,
    size_in_header,
    within,
)
from backplate.core.shootout.pairing import files_in
from backplate.core.training.dataset import find_pictures
from PIL import Image

OUT = Path("out")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_in(folder: Path, **options: object) -> list[str]:
    return [source.name for source in list_pictures(folder, **{"recursive": False, **options})]


def results(*names: str, **options: object) -> list[str]:
    sources = [Source(name, Path("in") / name) for name in names]
    return [task.output_name for task in plan_tasks(sources, OUT, **options)]


@pytest.mark.parametrize(
    "names",
    [
        ["2", "10"], ["a2b", "a10a"], ["a", "a1"], ["f 9 v2", "f 10 v1"], ["1", "a"], ["A1", "a1"], ["01", "1"],
        ["s2/1", "s10/0"], ["a/9", "a/10", "b/1"], ["\u0663", "4"],
    ],
)  # fmt: skip
def test_natural_order(names: list[str]):
    backwards = names[::-1]
    assert sorted(backwards, key=natural_order) == names


def test_only_pictures_that_are_not_hidden_in_natural_order(tmp_path: Path):
    touch(tmp_path, "f10.png", "f9.JPG", "notes.txt", "._f9.png", "f1.gif.txt", "sub/x.png", ".hidden/y.png")
    (tmp_path / "folder.png").mkdir()
    assert names_in(tmp_path) == ["f9.JPG", "f10.png"]
    assert names_in(tmp_path, recursive=True) == ["f9.JPG", "f10.png", "sub/x.png"]


def test_the_folder_of_results_is_left_out_and_loops_end(tmp_path: Path):
    touch(tmp_path, "a.png", "out/a.png", "sub/b.png")
    (tmp_path / "sub" / "back").symlink_to(tmp_path)
    assert names_in(tmp_path, recursive=True, without=tmp_path / "out") == ["a.png", "sub/b.png"]


def test_a_folder_without_pictures_or_that_is_not_there_is_refused(tmp_path: Path):
    touch(tmp_path, "sub/a.png")
    with pytest.raises(InputError, match="no pictures directly inside"):
        list_pictures(tmp_path, recursive=False)
    with pytest.raises(InputError, match="cannot be listed"):
        list_pictures(tmp_path / "nowhere", recursive=True)


def test_sub_folders_are_mirrored_and_names_kept():
    sources = [Source(name, Path("in") / name) for name in ("a.png", "s/t/b.gif", "s/c.v2.tif")]
    first, second, third = plan_tasks(sources, OUT)
    assert (first.name, first.source, first.output) == ("a.png", Path("in/a.png"), OUT / "a.png")
    assert (second.output_name, second.output) == ("s/t/b.png", OUT / "s" / "t" / "b.png")
    assert third.output_name == "s/c.v2.tif"


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["a.jpg", "a.png"], ["a_jpg.png", "a.png"]),
        (["a.png", "a.jpg"], ["a.png", "a_jpg.png"]),
        (["a.gif", "a.jpg"], ["a.png", "a_jpg.png"]),
        (["A.png", "a.png"], ["A.png", "a_png.png"]),
        (["a.jpg", "a.png", "a_jpg.png"], ["a_jpg_2.png", "a.png", "a_jpg.png"]),
        (["x/a.jpg", "y/a.jpg"], ["x/a.png", "y/a.png"]),
        (["a.gif", "a.JPG", "a.bmp", "a.webp"], ["a.png", "a_jpg.png", "a_bmp.png", "a_webp.png"]),
    ],
)
def test_results_of_one_name_are_told_apart(sources: list[str], expected: list[str]):
    assert results(*sources, suffix=".png") == expected


@pytest.mark.parametrize("seed", range(5))
def test_no_two_results_share_a_name_whatever_the_sources(seed: int):
    stems = [f"{letter}{tail}" for letter in "aA" for tail in ("", "_jpg", "_png", "_jpg_2")]
    names = [f"{stem}.{suffix}" for stem in stems for suffix in ("png", "jpg", "gif")]
    rotated = names[seed * 5 :] + names[: seed * 5]
    got = [name.casefold() for name in results(*rotated, suffix=".png")]
    assert len(set(got)) == len(names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{stem}", ["b.png", "s/a.webp"]),
        ("{index:03d}_{stem}", ["001_b.png", "s/002_a.webp"]),
        ("{model}-{suffix}-{index}", ["tiny-png-1.png", "s/tiny-webp-2.webp"]),
        ("shop", ["shop.png", "s/shop.webp"]),
    ],
)
def test_templates(text: str, expected: list[str]):
    template = parse_template(text, "models/tiny")
    assert results("b.png", "s/a.webp", template=template) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "a/b", "..\\x", ".hidden", "{size}", "{stem", "{stem.__class__}", "{index:99999999d}", "{0}", "x" * 201,
     "{index:{stem}}", "a\0b"],
)  # fmt: skip
def test_templates_that_are_none(text: str):
    with pytest.raises(InputError, match="name template"):
        parse_template(text, "tiny")


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_every_picture_belongs_to_exactly_one_part(parts: int):
    names = [f"{letter}/{number}.png" for letter in string.ascii_letters for number in range(20)]
    counts = dict.fromkeys(range(1, parts + 1), 0)
    for name in names:
        (holder,) = [number for number in counts if Shard(number, parts).holds(name)]
        counts[holder] += 1
    assert min(counts.values()) > 0.7 * len(names) / parts


def test_parts_are_the_same_on_every_machine():
    """Known answers: what `printf a.png | sha256sum` begins with, as a number, modulo the parts."""
    first = 0x7F071235805FBF58
    for parts in range(1, 12):
        assert Shard(first % parts + 1, parts).holds("a.png")


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2", "1/2/3", "", "9999999/9999999"])
def test_parts_that_are_none(text: str):
    with pytest.raises(InputError, match="not a part of a folder"):
        parse_shard(text)


def test_inputs_are_not_outputs(tmp_path: Path):
    touch(tmp_path, "a.png")
    sources = [Source("a.png", tmp_path / "a.png")]
    with pytest.raises(InputError, match="is the input"):
        refuse_inputs_as_outputs(plan_tasks(sources, tmp_path))
    refuse_inputs_as_outputs(plan_tasks(sources, tmp_path, ".jpg"))


@pytest.mark.parametrize("name", ["x", "x/y", ".", "x/../y", "link"])
def test_paths_inside(tmp_path: Path, name: str):
    (tmp_path / "y").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "y")
    assert contained(name, tmp_path) == tmp_path / name


@pytest.mark.parametrize(
    "name", ["..", "../x", "x/../../y", "/etc", "link", "link/x", "a\0b", "x" * 256, "y/" * 600, "../base_beside"]
)
def test_paths_that_lead_out(tmp_path: Path, name: str):
    base, other = tmp_path / "base", tmp_path / "other"
    for folder in (base, other, tmp_path / "base_beside"):
        folder.mkdir()
    (base / "link").symlink_to(other)
    with pytest.raises(InputError, match="leads outside|is not a path"):
        contained(name, base)
    assert contained("link", base, [other]) == base / "link"
    assert contained(str(other / "x"), base, [other]) == other / "x"


def test_the_root_of_all_holds_everything(tmp_path: Path):
    assert within(tmp_path, [Path(tmp_path.anchor)])


def test_sizes_are_read_without_decoding(tmp_path: Path):
    Image.new("RGB", (300, 200)).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:700])
    (tmp_path / "text.png").write_text("no picture")
    assert size_in_header(tmp_path / "a.jpg") == (300, 200)
    assert size_in_header(tmp_path / "cut.jpg") == (300, 200)
    assert size_in_header(tmp_path / "text.png") is None
    assert size_in_header(tmp_path / "nowhere.png") is None


@pytest.mark.parametrize(
    "place",
    [
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
        "#recycle/old.png",
        "#snapshot/old.png",
        "$RECYCLE.BIN/S-1-5-21/$R1.jpg",
        "System Volume Information/x.png",
        "__MACOSX/._a.jpg",
        "lost+found/x.png",
        "sub/@eaDir/x.png",
        "@Recycle/x.png",
        "@tmp/x.png",
        ".Trash-1000/files/x.png",
        "._a.jpg",
    ],
)
def test_what_systems_leave_in_folders_is_no_picture(place, tmp_path):
    for name in ("a.jpg", place):
        path = tmp_path / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path, "PNG")
    assert [source.name for source in list_pictures(tmp_path, recursive=True)] == ["a.jpg"]
    assert not passed_over(tmp_path, recursive=True)
    assert list(files_in(tmp_path)) == ["a.jpg"]
    assert find_pictures(tmp_path) == [tmp_path / "a.jpg"]


def test_a_folder_of_that_name_can_be_named_itself(tmp_path):
    folder = tmp_path / "#recycle"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    assert [source.name for source in list_pictures(folder, recursive=True)] == ["a.png"]


def test_files_of_other_kinds_are_counted(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "sub").mkdir()
    for name in ("1.heic", "2.HEIC", "3.cr3", "README", "Thumbs.db", "desktop.ini", ".hidden", "sub/4.heic"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_bytes(b"{}")
    assert passed_over(tmp_path, recursive=False) == {".heic": 2, ".cr3": 1, "no suffix": 1}
    deep = passed_over(tmp_path, recursive=True, without=tmp_path / "out")
    assert passed_over_text(deep) == "5 files were passed over: 3 .heic, 1 .cr3, 1 no suffix."
    assert passed_over_text({}) == ""
    assert passed_over_text({".heic": 1}) == "1 file was passed over: 1 .heic."
    many = {f".{letter}": 2 for letter in "abcdefgh"}
    assert passed_over_text(many).endswith("2 .f, 4 others.")


def test_a_folder_of_nothing_but_other_kinds_says_so(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no pictures directly inside.*1 file was passed over: 1 \.heic\."):
        list_pictures(tmp_path, recursive=False)


def test_the_pixels_of_a_folder_are_estimated_from_some_of_its_headers(tmp_path: Path):
    paths: list[Path] = []
    for number in range(200):
        paths.append(tmp_path / f"{number}.png")
        Image.new("L", (30, 20)).save(paths[-1])
    assert pixels_of(paths) == 200 * 600
    paths[0].write_bytes(b"damaged")
    assert pixels_of(paths) == 200 * 600
    assert pixels_of(paths[:1]) == pixels_of([]) == 0
    assert pixels_of(paths, Target(width=2000, height=2000, fit=Fit.PAD)) == 200 * 2000 * 2000 // 16
    assert pixels_of(paths, Target(factor=0.5, fit=Fit.FACTOR)) == 200 * 600
