"""Interlaced video is refused, or deinterlaced where that is asked for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from backplate.core.errors import InputError
from backplate.core.jobs.video.run import run_video
from backplate.core.media.video.decode import ReadSettings
from clips import (
    Nearest,
    pictures_of,
    times_of,
    write_clip,
)
from small_jobs import job


def test_frames_that_become_interlaced_are_said(tmp_path: Path):
    fields = {"x264-params": "interlaced=1:tff=1"}
    parts = [write_clip(tmp_path / "a.ts"), write_clip(tmp_path / "b.ts", options=fields)]
    source = tmp_path / "both.ts"
    source.write_bytes(b"".join(path.read_bytes() for path in parts))
    with pytest.raises(InputError, match=r"becomes interlaced at frame 20.*--deinterlace"):
        run_video(job(source, tmp_path / "out.mp4"), Nearest())
    mended = job(source, tmp_path / "out.mp4", {"resume": False}, read=ReadSettings(deinterlace=True))
    assert run_video(mended, Nearest()).counts.frames == 40


def test_interlaced_video_is_deinterlaced_where_asked(tmp_path: Path):
    source = write_clip(tmp_path / "in.mkv", options={"x264-params": "interlaced=1:tff=1"}, time_base=Fraction(1, 1000),
                        pts=[40 * number for number in range(20)])  # fmt: skip
    report = run_video(job(source, tmp_path / "out.mkv", read=ReadSettings(deinterlace=True)), Nearest())
    assert report.counts.frames == 20
    assert times_of(tmp_path / "out.mkv") == times_of(source)


def test_deinterlacing_removes_the_comb(tmp_path: Path):
    """Two moments woven line by line: an edge that moves 8 pixels between the fields."""
    pictures = []
    for number in range(8):
        moments = [np.full((48, 64, 3), 40, np.uint8) for _ in range(2)]
        for field, moment in enumerate(moments):
            moment[:, 4 * (2 * number + field) :] = 200
        woven = moments[0]
        woven[1::2] = moments[1][1::2]
        pictures.append(woven)
    source = write_clip(tmp_path / "in.mkv", pictures=pictures, time_base=Fraction(1, 1000),
                        pts=[40 * number for number in range(8)],
                        options={"x264-params": "interlaced=1:tff=1", "qp": "4"})  # fmt: skip
    report = run_video(job(source, tmp_path / "out.mkv", read=ReadSettings(deinterlace=True)), Nearest())
    assert report.counts.frames == 8
    reduced = [each.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3)) for each in pictures_of(tmp_path / "out.mkv")]
    for before, after in zip(pictures[1:-1], reduced[1:-1], strict=True):
        assert combing(after) < combing(before) / 4


def combing(picture: np.ndarray) -> float:
    """How far lines differ from both of their neighbours in the same direction, in levels."""
    lines = picture.astype(float)
    up, down = lines[1:-1] - lines[:-2], lines[1:-1] - lines[2:]
    return float(np.where(up * down > 0, np.minimum(np.abs(up), np.abs(down)), 0).mean())
