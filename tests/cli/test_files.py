from __future__ import annotations

from pathlib import Path

import pytest
from backplate.cli.errors import UsageProblem
from backplate.cli.files import into_folder, into_one_file
from backplate.core.media.picture_folder import FileTask


@pytest.fixture
def touched(tmp_path):
    def touch(*names: str) -> list[Path]:
        paths = [tmp_path / name for name in names]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return paths

    return touch


def outputs(tasks: list[FileTask]) -> list[str]:
    return [task.output.name for task in tasks]


def test_one_picture_into_a_file(touched, tmp_path):
    (source,) = touched("a.jpg")
    assert into_one_file([source], tmp_path / "b.webp", None) == FileTask(
        "a.jpg", source, "b.webp", tmp_path / "b.webp"
    )


@pytest.mark.parametrize(
    ("name", "file_format", "expected"),
    [
        ("a.jpg", None, "a.jpg"),
        ("a.JPG", None, "a.JPG"),
        ("a.gif", None, "a.png"),
        ("a.mpo", None, "a.png"),
        ("a.b.jpeg", "tiff", "a.b.tiff"),
        ("a.png", "jpg", "a.jpg"),
    ],
)
def test_names_in_a_folder(touched, tmp_path, name, file_format, expected):
    assert outputs(into_folder(touched(name), tmp_path / "out", file_format)) == [expected]


def test_existing_folder_with_the_suffix_of_a_picture_is_a_folder(touched, tmp_path):
    (tmp_path / "out.png").mkdir()
    assert into_one_file(touched("a.jpg"), tmp_path / "out.png", None) is None
    (task,) = into_folder(touched("a.jpg"), tmp_path / "out.png", None)
    assert task.output == tmp_path / "out.png" / "a.jpg"


def test_folder_gives_its_pictures_in_natural_order_and_nothing_else(touched, tmp_path):
    touched("in/f10.png", "in/f9.png", "in/F1.png", "in/f1b.jpg", "in/._f1.png", "in/notes.txt", "in/sub/x.png")
    got = outputs(into_folder([tmp_path / "in"], tmp_path / "out", None))
    assert got == ["F1.png", "f1b.jpg", "f9.png", "f10.png"]


def test_the_same_picture_twice_is_one_errand(touched, tmp_path):
    (source,) = touched("in/a.png")
    assert len(into_folder([source, tmp_path / "in", source], tmp_path / "out", None)) == 1


def test_every_missing_input_is_named(touched, tmp_path):
    (source,) = touched("a.png")
    with pytest.raises(UsageProblem, match=r"one\.png.*two\.png: no such file"):
        into_folder([tmp_path / "one.png", source, tmp_path / "two.png"], tmp_path / "out", None)


def test_two_pictures_of_one_name_are_both_named(touched, tmp_path):
    sources = touched("x/a.png", "y/a.png")
    with pytest.raises(UsageProblem) as caught:
        into_folder(sources, tmp_path / "out", None)
    assert all(str(source) in str(caught.value) for source in sources)


def test_results_in_a_folder_of_the_sources_are_no_sources(touched, tmp_path):
    touched("in/a.png", "in/out/a.png", "in/sub/b.png")
    got = into_folder([tmp_path / "in"], tmp_path / "in" / "out", None, recursive=True)
    assert [task.name for task in got] == ["a.png", "sub/b.png"]


def test_output_that_is_an_input_is_refused(touched, tmp_path):
    first, second = touched("a.png", "b.png")
    for plan, inputs, output in (
        (into_one_file, [first], first),
        (into_folder, [first, second], tmp_path),
        (into_folder, [tmp_path], tmp_path),
    ):
        with pytest.raises(UsageProblem, match="is the input"):
            plan(inputs, output, None)


def test_output_that_leads_to_an_input_by_a_link_is_refused(touched, tmp_path):
    (source,) = touched("a.png")
    link = tmp_path / "link.png"
    try:
        link.symlink_to(source)
    except OSError:
        pytest.skip("no links on this file system")
    with pytest.raises(UsageProblem, match="is the input"):
        into_one_file([source], link, None)


def test_what_cannot_go_into_one_file(touched, tmp_path):
    sources = touched("in/a.png", "b.png")
    with pytest.raises(UsageProblem, match="2 inputs cannot go into the one file"):
        into_one_file(sources, tmp_path / "x.png", None)
    with pytest.raises(UsageProblem, match="the folder .* cannot go into the one file"):
        into_one_file([tmp_path / "in"], tmp_path / "x.png", None)


def test_formats_that_contradict_or_cannot_be_written(touched, tmp_path):
    sources = touched("a.png")
    with pytest.raises(UsageProblem, match="does not match --format jpg"):
        into_one_file(sources, tmp_path / "x.png", "jpg")
    with pytest.raises(UsageProblem, match=r"\.gif cannot be written"):
        into_one_file(sources, tmp_path / "x.gif", None)
    task = into_one_file(sources, tmp_path / "x.tif", "tiff")
    assert task is not None
    assert task.output.name == "x.tif"


def test_folder_that_is_a_file_or_empty_is_refused(touched, tmp_path):
    source, other = touched("a.png", "notes")
    with pytest.raises(UsageProblem, match="has no picture extension"):
        into_folder([source], other, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageProblem, match="no pictures directly inside"):
        into_folder([tmp_path / "empty"], tmp_path / "out", None)
