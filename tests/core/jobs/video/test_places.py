"""Places that cannot be written, parts that are damaged, and files beside the result."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from backplate.core.errors import InputError
from backplate.core.jobs.video.run import run_video
from backplate.core.jobs.video.segments import Counts, SegmentStore
from backplate.core.media.video.encode import EncodeSettings
from clips import Nearest, times_of, write_clip
from small_jobs import Stop, StopAfter, job


def stored(folder: Path, count: int = 3) -> SegmentStore:
    store = SegmentStore(folder, {"model": 1})
    store.open(True)
    for number in range(count):
        store.next_file().write_bytes(b"video")
        store.close([(2 * number, 1), (2 * number + 1, 1)], 0, Counts(frames=2))
    return store


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"file": "000001.video"}', "\x00\x00", '{"frames": [], "file": 3}']
)
def test_a_damaged_note_ends_what_counts_as_finished(content: str, tmp_path: Path):
    stored(tmp_path)
    (tmp_path / "000001.json").write_text(content)
    again = SegmentStore(tmp_path, {"model": 1})
    again.open(True)
    assert (len(again.segments), again.counts.frames) == (1, 2)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("empty", [True, False])
def test_a_segment_that_is_gone_or_empty_is_not_finished(empty: bool, number: int, tmp_path: Path):
    stored(tmp_path)
    segment = tmp_path / f"{number:06}.video"
    if empty:
        segment.write_bytes(b"")
    else:
        segment.unlink()
    again = SegmentStore(tmp_path, {"model": 1})
    again.open(True)
    assert len(again.segments) == number


def test_parts_that_nobody_signed_are_made_again(tmp_path: Path):
    stored(tmp_path)
    (tmp_path / "job.json").write_text("{")
    again = SegmentStore(tmp_path, {"model": 2})
    again.open(True)
    assert again.segments == []
    third = SegmentStore(tmp_path, {"model": 2})
    third.open(True)
    assert third.segments == []


def test_a_job_goes_on_after_damaged_parts(tmp_path: Path):
    source, output = write_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    with pytest.raises(Stop):
        run_video(job(source, output), Nearest(), StopAfter(22))
    folder = tmp_path / ".out.mp4.parts"
    notes = sorted(folder.glob("0*.json"))
    assert notes
    notes[-1].write_text('{"file":')
    report = run_video(job(source, output), Nearest())
    assert report.resumed == 7 * (len(notes) - 1)
    assert times_of(output) == times_of(source)


def test_places_that_cannot_be_written_are_said_before_the_work(tmp_path: Path):
    source, model = write_clip(tmp_path / "in.mp4"), Nearest()
    (tmp_path / "file").write_text("a file")
    for output in (tmp_path / "file" / "out.mp4", tmp_path / ("n" * 252 + ".mp4"), Path("/proc/nowhere/out.mp4")):
        with pytest.raises(InputError, match="cannot be written .*; name another place"):
            run_video(job(source, output), model)
    blocked = tmp_path / "out.mp4"
    (tmp_path / ".out.mp4.parts").write_text("a file")
    with pytest.raises(InputError, match=r"\.out\.mp4\.parts cannot be used"):
        run_video(job(source, blocked), model)
    assert model.calls == 0


def test_a_disk_without_room_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source, model = write_clip(tmp_path / "in.mp4"), Nearest()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=200_000))
    wanted = EncodeSettings(preset="ultrafast", bitrate=8_000_000)
    with pytest.raises(InputError, match=r"needs 1 MB at least .* 0 MB free; make room"):
        run_video(job(source, tmp_path / "out.mp4", encode=wanted), model)
    assert model.calls == 0
    run_video(job(source, tmp_path / "out.mp4"), model)
