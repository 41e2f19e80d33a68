"""Files appear complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from backplate.core.atomic_write import companion_name, remove_leftovers, whole_file, write_atomic


def test_content_takes_the_final_name(tmp_path: Path):
    write_atomic(tmp_path / "a.txt", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"new"


def test_the_final_name_is_not_there_while_the_file_is_written(tmp_path: Path):
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_bytes(b"half")
        assert not (tmp_path / "a.txt").exists()
        assert temporary.parent == tmp_path, "a rename within one file system"


def test_what_was_there_outlives_a_failure(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"old")

    def stop_in_the_middle() -> None:
        with whole_file(tmp_path / "a.txt") as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_in_the_middle()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["a.txt", "n" * 240 + ".png", "\u6620" * 83 + ".png"])
def test_leftovers_of_a_kill_are_found_for_names_of_any_length(name: str, tmp_path: Path):
    with whole_file(tmp_path / name) as temporary:
        temporary.write_bytes(b"half")
        left = tmp_path / temporary.name.replace(temporary.name[-13:-5], "12345678")
        left.write_bytes(b"half")
    (tmp_path / "b.txt").write_bytes(b"somebody else's")
    assert remove_leftovers([tmp_path / name]) == 1
    assert {path.name for path in tmp_path.iterdir()} == {name, "b.txt"}


@pytest.mark.parametrize("name", ["a.mkv", "n" * 251 + ".mkv", "\u6620" * 83 + ".mkv", "\udce9" * 250 + ".mkv"])
def test_a_folder_beside_a_file_of_any_name_has_a_name_of_its_own(name: str, tmp_path: Path):
    companion = companion_name(name, ".parts")
    assert len(os.fsencode(companion)) <= 255
    (tmp_path / companion).mkdir()
    assert companion != companion_name(name[:-5] + "z.mkv", ".parts")
    write_atomic(tmp_path / name, b"new")
