"""What is wrong with a source is said in a sentence, before the work where it can be known then."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import clips
import numpy as np
import pytest
import torch
from av.video.format import VideoFormat
from backplate.core.errors import InputError
from backplate.core.image.fit import Fit, Target
from backplate.core.jobs.video.run import run_video
from backplate.core.media.video.encode import EncodeSettings
from clips import (
    Nearest,
    drawing,
    packets_of,
    pictures_of,
    times_of,
    write_clip,
)
from small_jobs import job


def cut_off(tmp_path: Path) -> Path:
    whole = write_clip(tmp_path / "whole.mp4", options={"qp": "10"}, audio=True)
    return clips.cut_off(whole, tmp_path / "cut.mp4", 0.7)


def test_a_truncated_file_is_said_and_kept_where_asked(tmp_path: Path):
    source, output = cut_off(tmp_path), tmp_path / "out.mp4"
    with pytest.raises(InputError, match=r"cut off: it can be read for .* s, \d+ frames.*--keep-partial"):
        run_video(job(source, output), Nearest())
    assert not output.exists()
    report = run_video(job(source, output, {"keep_partial": True}), Nearest())
    assert "cut off" in report.problem
    assert report.problem.endswith("; the result ends there.")
    frames = times_of(output)
    assert 5 < len(frames) < 20
    assert frames == times_of(tmp_path / "whole.mp4")[: len(frames)]
    end = frames[-1] + Fraction(1, 25)
    assert packets_of(output)[-1][0] <= end


def test_a_changing_size_is_said_and_the_first_part_kept_where_asked(tmp_path: Path):
    parts = [write_clip(tmp_path / "a.ts"), write_clip(tmp_path / "b.ts", pictures=[drawing(1, 96, 64)] * 5)]
    source = tmp_path / "both.ts"
    source.write_bytes(b"".join(path.read_bytes() for path in parts))
    with pytest.raises(InputError, match="changes from 64x48 to 96x64 at frame 20"):
        run_video(job(source, tmp_path / "out.mp4"), Nearest())
    report = run_video(job(source, tmp_path / "out.mp4", {"keep_partial": True}), Nearest())
    assert report.counts.frames == 20


def test_refusals_come_before_the_work(tmp_path: Path):
    model = Nearest()

    def refused(words: str, source: Path, output: str = "out.mp4", **settings: object) -> None:
        with pytest.raises(InputError, match=words):
            run_video(job(source, tmp_path / output, **settings), model)

    good = write_clip(tmp_path / "good.mp4")
    sound = tmp_path / "sound.m4a"
    with av.open(str(write_clip(tmp_path / "both.mp4", audio=True))) as origin, av.open(str(sound), "w") as container:
        copy = container.add_stream_from_template(origin.streams.audio[0])
        for packet in origin.demux(origin.streams.audio[0]):
            if packet.size:
                packet.stream = copy
                container.mux(packet)
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with av.open(str(tmp_path / "none.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        container.start_encoding()
    interlaced = write_clip(
        tmp_path / "fields.mkv", codec="libx264", options={"x264-params": "interlaced=1:tff=1"}
    )  # fmt: skip
    refused("There is no video at", tmp_path / "absent.mp4")
    refused("no video stream; it holds 1 audio stream", sound)
    refused("cannot be opened", text)
    refused("cannot be opened", empty)
    refused("No frame can be decoded|cannot be opened", tmp_path / "none.avi")
    refused(r"is interlaced.*--deinterlace", interlaced)
    refused("no known video extension", good, "out.gif")
    refused("no video encoder 'h266x'", good, encode=EncodeSettings(codec="h266x"))
    refused("knows no presets", good, "out.mkv", encode=EncodeSettings(codec="ffv1", preset="slow"))
    refused("exclude each other", good, encode=EncodeSettings(crf=10, bitrate=100_000))
    refused(r"so width must be even.*--round-even", good, target=Target(fit=Fit.STRETCH, width=101, height=80))
    refused("does not open for", good, encode=EncodeSettings(preset="nonsense"))
    refused(r"A .webm file cannot hold h264 video; choose .mp4, or another codec", good, "out.webm")
    assert model.calls == 0
    assert not list(tmp_path.glob(".out*"))


def test_an_encoder_whose_device_is_missing_is_refused_in_a_sentence(tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("this machine has what h264_nvenc needs")
    if "h264_nvenc" not in av.codecs_available:
        pytest.skip("this FFmpeg was built without h264_nvenc")
    source = write_clip(tmp_path / "in.mp4", pictures=[drawing(0, 320, 240)] * 2)
    with pytest.raises(InputError, match="h264_nvenc does not open"):
        run_video(job(source, tmp_path / "out.mp4", encode=EncodeSettings(codec="h264_nvenc")), Nearest())


def test_an_encoder_that_takes_pictures_of_its_device_only_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """As VAAPI's do, which not every FFmpeg has."""
    codec = SimpleNamespace(video_formats=[VideoFormat("vaapi")])
    monkeypatch.setattr("backplate.core.media.video.encode._find_encoder", lambda name: codec)
    source = write_clip(tmp_path / "in.mp4")
    with pytest.raises(InputError, match=r"h264_vaapi takes only pictures .*vaapi.*choose an encoder with _nvenc"):
        run_video(job(source, tmp_path / "out.mp4", encode=EncodeSettings(codec="h264_vaapi")), Nearest())


def test_odd_sizes_are_rounded_where_asked(tmp_path: Path):
    source = write_clip(tmp_path / "in.mp4")
    wanted = Target(fit=Fit.COVER, width=101, height=75)
    report = run_video(job(source, tmp_path / "out.mp4", target=wanted, round_even=True), Nearest())
    assert (report.size.width % 2, report.size.height % 2) == (0, 0)
    assert pictures_of(tmp_path / "out.mp4")[0].shape[:2] == report.size[::-1]


def test_a_bit_rate_is_about_what_comes_out(tmp_path: Path):
    generator = np.random.default_rng(2)
    pictures = [generator.integers(0, 256, (96, 128, 3), dtype=np.uint8) for _ in range(50)]
    source = write_clip(tmp_path / "in.mp4", pictures=pictures)
    wanted = EncodeSettings(preset="ultrafast", bitrate=400_000)
    run_video(job(source, tmp_path / "out.mp4", encode=wanted, segment_frames=50), Nearest())
    bits = 8 * sum(len(content) for _, content in packets_of(tmp_path / "out.mp4", "video"))
    assert 200_000 < bits / 2 < 800_000
