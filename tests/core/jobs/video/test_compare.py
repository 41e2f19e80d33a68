"""Looking a result over finds what was kept and what was not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.image.fit import Fit, Target
from backplate.core.jobs.model_info import Model
from backplate.core.jobs.video.compare import compare_videos
from backplate.core.jobs.video.plan import VideoJob, VideoSettings
from backplate.core.jobs.video.run import run_video
from backplate.core.media.video.decode import ReadSettings
from clips import STEP, Nearest, drawing, write_clip


def doubled(source: Path, output: Path, read: ReadSettings | None = None, reference: Path | None = None) -> VideoJob:
    settings = VideoSettings(target=Target(fit=Fit.FACTOR, factor=2), read=read or ReadSettings())
    model, cpu = Model(name="nearest", sha256="0"), torch.device("cpu")
    return VideoJob(source=source, output=output, settings=settings, model=model, device=cpu, reference=reference)


def test_a_result_of_its_source_is_said_to_be_kept(tmp_path: Path):
    source, output = write_clip(tmp_path / "in.mp4", audio=True), tmp_path / "out.mp4"
    run_video(doubled(source, output), Nearest())
    found = compare_videos(output, source)
    assert (found.frames, found.source_frames, found.times_kept, found.sound_kept) == (20, 20, True, True)
    assert found.flicker.levels is not None
    assert found.flicker.levels < 1
    assert "times kept" in found.text()


def test_a_part_is_compared_with_that_part(tmp_path: Path):
    source, output = write_clip(tmp_path / "in.mp4", audio=True), tmp_path / "out.mp4"
    part = ReadSettings(start=0.2, seconds=0.4)
    run_video(doubled(source, output, part), Nearest())
    found = compare_videos(output, source, part=part)
    assert (found.frames, found.source_frames, found.times_kept, found.sound_kept) == (10, 10, True, True)


def test_late_frames_missing_frames_and_other_sound_are_found(tmp_path: Path):
    source = write_clip(tmp_path / "in.mp4", audio=True)
    late = write_clip(tmp_path / "late.mp4", pts=[STEP * number + 20 * (number == 9) for number in range(20)])
    short = write_clip(tmp_path / "short.mp4", pictures=[drawing(number) for number in range(19)])
    assert compare_videos(late, source).times_kept is False
    assert compare_videos(short, source).times_kept is False
    assert compare_videos(short, source).source_frames == 20
    silent = compare_videos(write_clip(tmp_path / "silent.mp4"), source, part=ReadSettings())
    assert (silent.times_kept, silent.sound_kept) == (True, False)


def test_vmaf_is_in_the_report_when_there_is_a_reference(tmp_path: Path):
    pytest.importorskip("imageio_ffmpeg", reason="VMAF is measured by the ffmpeg of imageio-ffmpeg")
    source, output = write_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    reference = write_clip(tmp_path / "ref.mp4", pictures=[drawing(number, 128, 96) for number in range(20)])
    report = run_video(doubled(source, output, reference=reference), Nearest())
    assert set(report.vmaf) == {"vmaf_v0.6.1", "vmaf_v0.6.1neg"}
    assert all(0 <= score <= 100 for score in report.vmaf.values())
    with pytest.raises(InputError, match="is 64x48 and the result will be 128x96"):
        run_video(doubled(source, tmp_path / "other.mp4", reference=source), Nearest())
