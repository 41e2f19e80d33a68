"""Lines that are written whole, read in spite of everything, and merged."""

from __future__ import annotations

import errno
import io
import json
import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backplate.core.errors import InputError
from backplate.core.jobs.folder.manifest import (
    Entry,
    History,
    Manifest,
    Status,
    manifest_files,
    manifest_path,
    merge_manifests,
    parse_line,
    read_entries,
)
from backplate.core.media.picture_folder import Shard

DONE = Entry(
    source="s/a.png",
    output="s/a.png",
    status=Status.DONE,
    notes=("a note",),
    source_sha256="1" * 64,
    settings_sha256="2" * 64,
    lr_psnr=31.25,
    delta_e=1.5,
    finished="2026-01-02T03:04:05.006+00:00",
)


def append(path: Path, *entries: Entry) -> None:
    manifest = Manifest(path)
    for entry in entries:
        manifest.append(entry)
    manifest.close()


@pytest.mark.parametrize(
    "entry",
    [
        DONE,
        replace(DONE, status=Status.FAILED, reason='"quoted"\nand broken', lr_psnr=None, delta_e=None, kept=True),
        replace(DONE, status=Status.FLAGGED, lr_psnr=math.inf),
        replace(DONE, source="b\u00e4r \U0001f43b.png", output="\udcff.png"),
    ],
)
def test_a_line_says_the_entry_and_is_one_line_of_json(entry: Entry):
    line = entry.to_json()
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line)["status"] == entry.status.value
    assert parse_line(line) == entry


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", "null", "7", '{"source": "a"}', '{"source": "a", "output": "b", "status": "lost"}',
     '{"source": 1, "output": "b", "status": "done"}', DONE.to_json()[:-1]],
)  # fmt: skip
def test_what_is_no_entry_is_none(line: str):
    assert parse_line(line) is None


def test_names_of_later_versions_are_passed_over():
    assert parse_line(json.dumps(json.loads(DONE.to_json()) | {"weather": "fine"})) == DONE


def test_every_way_a_line_can_be_cut_off_costs_that_line_only(tmp_path: Path):
    path = tmp_path / "manifest.jsonl"
    second = replace(DONE, source="b.png", finished="2026-01-03")
    whole = DONE.to_json() + "\n"
    for cut in range(0, len(second.to_json()), 7):
        path.write_text(whole + second.to_json()[:cut])
        append(path, second)
        entries, unreadable = read_entries([path])
        assert entries == [DONE, second]
        assert unreadable == (cut > 0)


def test_many_threads_and_two_writers_leave_whole_lines(tmp_path: Path):
    path = tmp_path / "manifest.jsonl"
    writers = [Manifest(path), Manifest(path)]
    assert [writer.alone for writer in writers] == [True, False]

    def write(number: int) -> None:
        for index in range(20):
            writers[number % 2].append(replace(DONE, source=f"{number}/{index}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries, unreadable = read_entries([path])
    assert unreadable == 0
    assert {entry.source for entry in entries} == {f"{a}/{b}" for a in range(6) for b in range(20)}


def test_only_the_same_work_counts_as_finished(tmp_path: Path):
    append(tmp_path / "m.jsonl", DONE)
    history = History([tmp_path / "m.jsonl"])
    assert history.finished(DONE) == DONE
    for change in ({"source_sha256": "9" * 64}, {"settings_sha256": "9" * 64}, {"output": "c.png"}, {"source": "c"}):
        assert history.finished(replace(DONE, **change)) is None
    append(tmp_path / "m.jsonl", replace(DONE, status=Status.FAILED, finished="2027"))
    assert History([tmp_path / "m.jsonl"]).finished(DONE) == DONE


def test_whose_file_it_is(tmp_path: Path):
    kept = replace(DONE, source="k.png", output="k.png", status=Status.FAILED, kept=True)
    append(tmp_path / "m.jsonl", DONE, kept)
    history = History([tmp_path / "m.jsonl"])
    assert [history.is_ours(name, begun=True) for name in ("s/a.png", "k.png", "new.png")] == [True, False, True]
    assert [history.is_ours(name, begun=False) for name in ("s/a.png", "k.png", "new.png")] == [True, False, False]


def test_parts_are_merged_in_natural_order_one_line_a_picture(tmp_path: Path):
    names = [f"p{number}.png" for number in (10, 9, 2)]
    entries = [replace(DONE, source=name, output=name) for name in names]
    append(manifest_path(tmp_path, Shard(1, 2)), entries[0], replace(entries[1], status=Status.FAILED))
    append(manifest_path(tmp_path, Shard(2, 2)), replace(entries[1], finished="2027"), entries[2])
    assert [path.name for path in manifest_files(tmp_path)] == [
        "manifest.shard-1-of-2.jsonl",
        "manifest.shard-2-of-2.jsonl",
    ]
    merged = merge_manifests(tmp_path)
    assert [entry.source for entry in merged] == ["p2.png", "p9.png", "p10.png"]
    assert all(entry.status is Status.DONE for entry in merged)
    assert read_entries([manifest_path(tmp_path)])[0] == sorted(merged, key=lambda entry: entry.finished)
    assert merge_manifests(tmp_path) == merged


def test_a_failure_on_a_newer_file_counts_more_than_an_older_result(tmp_path: Path):
    failed = replace(DONE, status=Status.FAILED, source_sha256="3" * 64, finished="2027")
    append(manifest_path(tmp_path), DONE, failed)
    assert merge_manifests(tmp_path) == [failed]


def test_nothing_to_merge_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no manifest"):
        merge_manifests(tmp_path)


def test_a_disk_that_takes_a_part_of_a_line_gets_the_rest(tmp_path: Path) -> None:
    class Slow(io.FileIO):
        def write(self, content: Any) -> int:
            return super().write(bytes(content)[:7])

    path = tmp_path / "manifest.jsonl"
    manifest = Manifest(path)
    manifest._file = Slow(path, "a+")
    for name in ("a.png", "b.png"):
        manifest.append(Entry(source=name, output=name, status=Status.DONE))
    manifest.close()
    entries, unreadable = read_entries([path])
    assert ([entry.source for entry in entries], unreadable) == (["a.png", "b.png"], 0)


def test_a_line_that_a_full_disk_cut_off_is_not_glued_to_the_next(tmp_path: Path) -> None:
    class Full(io.FileIO):
        room = 30

        def write(self, content: Any) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = super().write(bytes(content)[: self.room])
            self.room -= taken
            return taken

    path = tmp_path / "manifest.jsonl"
    manifest = Manifest(path)
    manifest._file = full = Full(path, "a+")
    with pytest.raises(OSError, match="No space"):
        manifest.append(Entry(source="a.png", output="a.png", status=Status.DONE))
    full.room = 10_000
    manifest.append(Entry(source="b.png", output="b.png", status=Status.DONE))
    manifest.close()
    entries, unreadable = read_entries([path])
    assert ([entry.source for entry in entries], unreadable) == (["b.png"], 1)
