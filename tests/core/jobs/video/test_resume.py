"""A job that was interrupted goes on after its last finished segment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from backplate.core.errors import InputError
from backplate.core.jobs.video.run import run_video
from backplate.core.media.video.encode import EncodeSettings
from clips import (
    Nearest,
    packets_of,
    pictures_of,
    times_of,
    write_clip,
)
from small_jobs import Stop, StopAfter, job


def test_cancel_keeps_what_is_finished_and_the_next_run_goes_on(tmp_path: Path):
    source = write_clip(tmp_path / "in.mp4", audio=True)
    whole, output = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    run_video(job(source, whole), Nearest())
    with pytest.raises(Stop):
        run_video(job(source, output), Nearest(), StopAfter(22))
    assert not output.exists()
    model = Nearest()
    report = run_video(job(source, output), model)
    assert 7 <= report.resumed < 20
    assert report.counts.frames == 20
    assert model.calls == 20 - report.resumed
    assert times_of(output) == times_of(whole)
    assert packets_of(output) == packets_of(whole)
    for first, second in zip(pictures_of(whole), pictures_of(output), strict=True):
        assert np.abs(first.astype(int) - second).mean() < 1


def test_other_settings_do_not_go_on_with_foreign_segments(tmp_path: Path):
    source, output = write_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    with pytest.raises(Stop):
        run_video(job(source, output), Nearest(), StopAfter(20))
    other = EncodeSettings(preset="ultrafast", crf=30)
    with pytest.raises(InputError, match=r"a different encoding.*--no-resume"):
        run_video(job(source, output, encode=other), Nearest())
    report = run_video(job(source, output, {"resume": False}, encode=other), Nearest())
    assert report.resumed == 0
    assert times_of(output) == times_of(source)
