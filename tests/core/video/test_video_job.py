"""The whole job on small clips: what has to be kept is kept, whatever the container and however it was interrupted."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from backplate.core.image.held import HeldSettings
from backplate.core.image.target import Fit, Target
from backplate.core.jobs.folder_job import Model
from backplate.core.jobs.video import VideoProgress, run_video
from backplate.core.jobs.video_compare import compare_videos
from backplate.core.jobs.video_plan import VideoJob, VideoSettings
from backplate.core.media.video_decode import ReadSettings
from backplate.core.media.video_encode import SHORT_NAMES, EncodeSettings
from backplate.core.media.video_join import Carry
from backplate.core.upscaler import InputError
from clips import (
    TIME_BASE,
    Nearest,
    drawing,
    packets_of,
    pictures_of,
    tags_of,
    times_of,
    write_clip,
)

FAST = EncodeSettings(preset="ultrafast", crf=4)
DOUBLE = Target(fit=Fit.FACTOR, factor=2)
UNEVEN = [0, 512, 700, 1536, 2048, 2080, 4096, 4608, 5120, 6000, 6144, 9000]


class Stop(Exception):
    """Somebody pressed Cancel."""


class StopAfter(VideoProgress):
    def __init__(self, frames: int) -> None:
        self.left = frames

    def check(self) -> None:
        if self.left == 0:
            raise Stop
        self.left -= 1


def job(source: Path | io.BytesIO, output: Path, changed: dict | None = None, **settings: object) -> VideoJob:
    wanted = VideoSettings(**{"target": DOUBLE, "encode": FAST, "segment_frames": 7, **settings})
    return VideoJob(
        source=source,
        output=output,
        settings=wanted,
        model=Model(name="nearest", sha256="0"),
        device=torch.device("cpu"),
        **(changed or {}),
    )


def test_frames_times_and_sound_are_those_of_the_source(tmp_path: Path):
    source, output = write_clip(tmp_path / "in.mp4", audio=True), tmp_path / "out.mp4"
    report = run_video(job(source, output), Nearest())
    assert report.counts.frames == 20
    assert times_of(output) == times_of(source)
    assert packets_of(output) == packets_of(source)
    assert not (tmp_path / ".out.mp4.parts").exists()
    for before, after in zip(pictures_of(source), pictures_of(output), strict=True):
        reduced = after.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
        assert np.abs(reduced - before).mean() < 2.5


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("h264", ".mp4"), ("h264", ".mov"), ("h264", ".mkv"), ("hevc", ".mp4"), ("hevc", ".mkv"), ("vp9", ".webm"),
     ("vp9", ".mp4"), ("av1", ".mp4"), ("prores", ".mov"), ("ffv1", ".mkv")],
)  # fmt: skip
def test_uneven_frame_times_are_kept(suffix: str, codec: str, tmp_path: Path):
    known = SHORT_NAMES.get(codec, codec)
    if known not in av.codecs_available:
        pytest.skip(f"this FFmpeg was built without {known}")
    pictures = [drawing(number) for number in range(len(UNEVEN))]
    source = write_clip(tmp_path / "in.mp4", pictures=pictures, pts=UNEVEN)
    output = tmp_path / f"out{suffix}"
    encode = EncodeSettings(codec=codec, preset={"h264": "ultrafast", "hevc": "ultrafast", "av1": "12"}.get(codec, ""))
    # Frames run ahead in decoding order at the default number of B-frames.
    run_video(job(source, output, encode=encode, segment_frames=5), Nearest())
    unit = Fraction(1, 1000) if suffix in (".mkv", ".webm") else TIME_BASE
    wanted = [stamp * TIME_BASE for stamp in UNEVEN]
    assert all(abs(a - b) <= unit / 2 for a, b in zip(times_of(output), wanted, strict=True))
    dts = decoding_times(output)
    assert dts == sorted(set(dts))


def decoding_times(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        found = [packet.dts for packet in container.demux(container.streams.video[0]) if packet.size]
    return [each for each in found if each is not None]


def test_b_frames_keep_their_places_across_segments(tmp_path: Path):
    source, output = write_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    encode = EncodeSettings(preset="medium", crf=4, options=(("x264-params", "bframes=3:b-adapt=0"),))
    run_video(job(source, output, encode=encode), Nearest())
    for before, after in zip(pictures_of(source), pictures_of(output), strict=True):
        reduced = after.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
        assert np.abs(reduced - before).mean() < 2.5


@pytest.mark.parametrize(
    ("tags", "settled"),
    [
        ((1, 1, 1, 1), (1, 1, 1, 1)),
        ((2, 1, 1, 1), (2, 1, 1, 1)),
        ((1, 6, 6, 6), (1, 6, 6, 6)),
        ((1, 5, 5, 6), (1, 5, 5, 6)),
        ((1, 9, 9, 16), (1, 9, 9, 16)),
        (None, (1, 6, 6, 6)),
    ],
)
def test_colours_are_tagged_and_mean_what_the_tags_say(
    tags: tuple[int, int, int, int] | None, settled: tuple[int, int, int, int], tmp_path: Path
):
    colours = [(200, 30, 30), (20, 180, 40), (30, 40, 210), (240, 240, 240), (128, 90, 60)]
    pictures = [np.full((48, 64, 3), colour, np.uint8) for colour in colours]
    source = write_clip(tmp_path / "in.mp4", pictures=pictures, tags=tags, options={"crf": "0"})
    output = tmp_path / "out.mp4"
    run_video(job(source, output), Nearest())
    assert tags_of(output) == settled
    # FFmpeg's own reading of the tagged result, and the colours that were drawn.
    for colour, result in zip(colours, pictures_of(output), strict=True):
        assert np.abs(result[10:-10, 10:-10].astype(int) - colour).max() <= 4


def test_ten_bits_in_and_out(tmp_path: Path):
    ramp = np.linspace(8000, 56000, 64).astype(np.uint16)
    pictures = [np.broadcast_to(ramp[None, :, None], (48, 64, 3)).copy()] * 4
    source = write_clip(
        tmp_path / "in.mp4", pictures=pictures, codec="libx265", pixel_format="yuv420p10le",
        options={"x265-params": "lossless=1:log-level=none"},
    )  # fmt: skip
    output = tmp_path / "out.mkv"
    report = run_video(job(source, output, encode=EncodeSettings(codec="ffv1")), Nearest())
    assert report.encoding.pixel_format == "yuv420p10le"
    before, after = (pictures_of(path, "gray10le") for path in (source, output))
    reduced = after[0].reshape(48, 2, 64, 2).mean(axis=(1, 3))
    assert len(np.unique(before[0])) > 50
    assert np.abs(reduced - before[0])[:, 4:-4].max() <= 3


def test_wide_pixels_become_square(tmp_path: Path):
    source = write_clip(tmp_path / "in.mp4", aspect=Fraction(3, 2))
    report = run_video(job(source, tmp_path / "out.mp4"), Nearest())
    assert str(report.source.shown) == "96x48"
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (192, 96)
        assert stream.sample_aspect_ratio in (None, 0, 1)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_done_to_the_pixels(turn: int, tmp_path: Path):
    source, output = write_clip(tmp_path / "in.mp4", rotation=turn), tmp_path / "out.mp4"
    run_video(job(source, output), Nearest())
    with av.open(str(source)) as container:
        shown = next(container.decode(container.streams.video[0]))
        upright = np.rot90(shown.to_ndarray(format="rgb24"), shown.rotation // 90)
    assert shown.rotation % 360 in (turn, 360 - turn)
    result = pictures_of(output)[0]
    height, width = upright.shape[:2]
    assert result.shape == (2 * height, 2 * width, 3)
    assert np.abs(result.reshape(height, 2, width, 2, 3).mean(axis=(1, 3)) - upright).mean() < 2.5


def test_a_part_of_the_video_starts_at_zero_with_its_sound(tmp_path: Path):
    source, output = write_clip(tmp_path / "in.mp4", audio=True), tmp_path / "out.mp4"
    run_video(job(source, output, read=ReadSettings(start=0.2, seconds=0.4)), Nearest())
    assert times_of(output) == [Fraction(number, 25) for number in range(10)]
    drawn = pictures_of(source)[5]
    reduced = pictures_of(output)[0].reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced - drawn).mean() < 2.5
    sound = packets_of(output)
    contents = [content for _, content in packets_of(source)]
    assert contents.index(sound[0][1]) > 0
    assert -0.07 < sound[0][0] < 0.07
    assert sound[-1][0] < 0.4


@pytest.mark.parametrize("begins", [0, 90_000 * 5000])
def test_a_recording_of_a_broadcast_starts_where_its_clock_was(begins: int, tmp_path: Path):
    base = Fraction(1, 90_000)
    source = write_clip(tmp_path / "in.ts", pts=[begins + 3600 * number for number in range(20)], time_base=base)
    first = times_of(source)[0]
    assert first >= begins * base
    run_video(job(source, tmp_path / "out.mp4"), Nearest())
    assert times_of(tmp_path / "out.mp4") == [Fraction(number, 25) for number in range(20)]
    run_video(job(source, tmp_path / "part.mp4", read=ReadSettings(start=0.2, seconds=0.4)), Nearest())
    assert times_of(tmp_path / "part.mp4") == [Fraction(number, 25) for number in range(10)]
    drawn = pictures_of(source)[5]
    reduced = pictures_of(tmp_path / "part.mp4")[0].reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced - drawn).mean() < 2.5


def test_the_sound_of_a_recording_stays_with_its_pictures(tmp_path: Path):
    plain = write_clip(tmp_path / "plain.mp4", audio=True)
    source, output, shift = tmp_path / "in.ts", tmp_path / "out.mkv", 3000
    with av.open(str(plain)) as origin, av.open(str(source), "w") as container:
        copies = {stream.index: container.add_stream_from_template(stream) for stream in origin.streams}
        for packet in origin.demux():
            if packet.size and packet.pts is not None and packet.dts is not None:
                packet.pts += round(shift / packet.time_base)
                packet.dts += round(shift / packet.time_base)
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    run_video(job(source, output), Nearest())
    moved = times_of(source)[0] - times_of(output)[0]
    assert moved > shift - 1
    before, after = (packets_of(path) for path in (source, output))
    for (time, content), (later, framed) in zip(after, before, strict=True):
        assert framed[7:] == content  # without the frame headers of a transport stream
        assert abs(later - time - moved) <= Fraction(1, 1000)
    assert compare_videos(output, source).sound_kept


def test_a_source_in_memory(tmp_path: Path):
    source = write_clip(tmp_path / "in.mp4", audio=True)
    run_video(job(io.BytesIO(source.read_bytes()), tmp_path / "out.mp4"), Nearest())
    assert times_of(tmp_path / "out.mp4") == times_of(source)
    assert packets_of(tmp_path / "out.mp4") == packets_of(source)


def test_subtitles_chapters_and_titles_are_copied(tmp_path: Path):
    source, output = tmp_path / "in.mkv", tmp_path / "out.mkv"
    plain = write_clip(tmp_path / "plain.mp4", audio=True)
    text = tmp_path / "text.srt"
    text.write_text("1\n00:00:00,100 --> 00:00:00,500\nHello\n", encoding="utf-8")
    with av.open(str(plain)) as origin, av.open(str(text)) as words, av.open(str(source), "w") as container:
        pairs = [(stream, container.add_stream_from_template(stream)) for stream in origin.streams]
        line = container.add_stream_from_template(words.streams.subtitles[0])
        container.metadata["title"] = "A clip"
        container.set_chapters(
            [{"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}]
        )
        for stream, copy in pairs:
            origin.seek(0)
            for packet in origin.demux(stream):
                if packet.size:
                    packet.stream = copy
                    container.mux(packet)
        for packet in words.demux():
            if packet.size:
                packet.stream = line
                container.mux(packet)
    run_video(job(source, output), Nearest())
    assert packets_of(output, "subtitles") == packets_of(source, "subtitles")
    with av.open(str(output)) as container:
        assert container.metadata.get("title") == "A clip"
        assert container.chapters()[0]["metadata"]["title"] == "One"
    with pytest.raises(InputError, match=r"cannot hold .*--no-subtitles"):
        run_video(job(source, tmp_path / "out.mp4"), Nearest())
    run_video(job(source, tmp_path / "out.mp4", carry=Carry(subtitles=False)), Nearest())
    assert packets_of(tmp_path / "out.mp4") == packets_of(source)


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
    with pytest.raises(InputError, match=r"another encoding.*--no-resume"):
        run_video(job(source, output, encode=other), Nearest())
    report = run_video(job(source, output, {"resume": False}, encode=other), Nearest())
    assert report.resumed == 0
    assert times_of(output) == times_of(source)


def held_clip(tmp_path: Path) -> Path:
    """Every drawing is shown twice, without loss."""
    pictures = [drawing(number // 2) for number in range(20)]
    options = {"qp": "0"}
    return write_clip(tmp_path / "held.mp4", pictures=pictures, pixel_format="yuv444p", options=options)


def test_held_frames_are_computed_once_and_the_result_is_the_same(tmp_path: Path):
    source = held_clip(tmp_path)
    with_reuse, without = Nearest(), Nearest()
    report = run_video(job(source, tmp_path / "a.mp4", segment_frames=20), with_reuse)
    run_video(job(source, tmp_path / "b.mp4", segment_frames=20, held=HeldSettings(reuse=False)), without)
    assert (with_reuse.calls, without.calls) == (10, 20)
    assert report.counts.reused == 10
    assert packets_of(tmp_path / "a.mp4", "video") == packets_of(tmp_path / "b.mp4", "video")


@pytest.mark.parametrize("together", [1, 4])
def test_only_tiles_that_changed_are_computed(together: int, tmp_path: Path):
    still = drawing(0, 128, 96)
    pictures = []
    for number in range(6):
        picture = still.copy()
        picture[80:90, 100 + number : 110 + number] = 255
        pictures.append(picture)
    source = write_clip(
        tmp_path / "mouth.mp4", pictures=pictures, pixel_format="yuv444p", options={"qp": "0"}
    )  # fmt: skip
    with_reuse, without = Nearest(budget=40 * 40, tiles_per_pass=together), Nearest(budget=40 * 40)
    report = run_video(job(source, tmp_path / "a.mp4", segment_frames=20), with_reuse)
    run_video(job(source, tmp_path / "b.mp4", segment_frames=20, held=HeldSettings(reuse=False)), without)
    assert report.counts.tiles_run == with_reuse.tiles
    assert report.counts.tiles_reused + with_reuse.tiles == without.tiles
    assert with_reuse.tiles < without.tiles / 2
    assert packets_of(tmp_path / "a.mp4", "video") == packets_of(tmp_path / "b.mp4", "video")


def test_noise_under_the_threshold_counts_as_held(tmp_path: Path):
    generator = np.random.default_rng(5)
    pictures = [
        (drawing(number // 2).astype(int) + generator.integers(-1, 2, (48, 64, 3))).clip(0, 255).astype(np.uint8)
        for number in range(20)
    ]
    source = write_clip(tmp_path / "noisy.mp4", pictures=pictures, pixel_format="yuv444p", options={"qp": "0"})
    exact = run_video(job(source, tmp_path / "a.mp4", segment_frames=20), Nearest())
    noise = run_video(job(source, tmp_path / "b.mp4", segment_frames=20, held=HeldSettings(threshold=3.0)), Nearest())
    assert exact.counts.reused == 0
    assert noise.counts.reused == 10


def test_flicker_is_what_the_model_adds_where_nothing_moves(tmp_path: Path):
    class Flickering(Nearest):
        def __call__(self, picture: torch.Tensor) -> torch.Tensor:
            lighter = (self.calls % 2) * 10 / 255
            return (super().__call__(picture) + lighter).clamp(0, 1)

    source = write_clip(tmp_path / "in.mp4", pictures=[drawing(0)] * 8, options={"qp": "0"})
    changed = {"held": HeldSettings(reuse=False)}
    report = run_video(job(source, tmp_path / "a.mp4", **changed), Flickering())
    steady = run_video(job(source, tmp_path / "b.mp4", **changed), Nearest())
    assert report.as_dict()["flicker"] == pytest.approx(10, abs=0.5)
    assert steady.as_dict()["flicker"] == pytest.approx(0, abs=0.01)


def cut_off(tmp_path: Path) -> Path:
    """The header promises 20 frames; the file ends in the middle of them."""
    whole = write_clip(tmp_path / "whole.mp4", options={"qp": "10"}, audio=True)
    fast = tmp_path / "fast.mp4"
    with av.open(str(whole)) as origin, av.open(str(fast), "w", options={"movflags": "faststart"}) as container:
        copies = {stream.index: container.add_stream_from_template(stream) for stream in origin.streams}
        for packet in origin.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    content = fast.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(content[: len(content) * 7 // 10])
    return path


def test_a_truncated_file_is_said_and_kept_where_asked(tmp_path: Path):
    source, output = cut_off(tmp_path), tmp_path / "out.mp4"
    with pytest.raises(InputError, match=r"cut off: it can be read for .* s, \d+ frames.*--keep-partial"):
        run_video(job(source, output), Nearest())
    assert not output.exists()
    report = run_video(job(source, output, {"keep_partial": True}), Nearest())
    assert "cut off" in report.problem
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


def test_frames_that_become_interlaced_are_said(tmp_path: Path):
    fields = {"x264-params": "interlaced=1:tff=1"}
    parts = [write_clip(tmp_path / "a.ts"), write_clip(tmp_path / "b.ts", options=fields)]
    source = tmp_path / "both.ts"
    source.write_bytes(b"".join(path.read_bytes() for path in parts))
    with pytest.raises(InputError, match=r"becomes interlaced at frame 20.*--deinterlace"):
        run_video(job(source, tmp_path / "out.mp4"), Nearest())
    mended = job(source, tmp_path / "out.mp4", {"resume": False}, read=ReadSettings(deinterlace=True))
    assert run_video(mended, Nearest()).counts.frames == 40


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
    refused("end it in one of", good, "out.gif")
    refused("no video encoder 'h266x'", good, encode=EncodeSettings(codec="h266x"))
    refused("knows no presets", good, "out.mkv", encode=EncodeSettings(codec="ffv1", preset="slow"))
    refused("exclude each other", good, encode=EncodeSettings(crf=10, bitrate=100_000))
    refused(r"so width must be even.*--round-even", good, target=Target(fit=Fit.STRETCH, width=101, height=80))
    refused("does not open for", good, encode=EncodeSettings(preset="nonsense"))
    refused("A .webm file cannot hold libx264", good, "out.webm")
    assert model.calls == 0
    assert not list(tmp_path.glob(".out*"))


def test_odd_sizes_are_rounded_where_asked(tmp_path: Path):
    source = write_clip(tmp_path / "in.mp4")
    wanted = Target(fit=Fit.COVER, width=101, height=75)
    report = run_video(job(source, tmp_path / "out.mp4", target=wanted, round_even=True), Nearest())
    assert (report.size.width % 2, report.size.height % 2) == (0, 0)
    assert pictures_of(tmp_path / "out.mp4")[0].shape[:2] == report.size[::-1]


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


def test_a_bit_rate_is_about_what_comes_out(tmp_path: Path):
    generator = np.random.default_rng(2)
    pictures = [generator.integers(0, 256, (96, 128, 3), dtype=np.uint8) for _ in range(50)]
    source = write_clip(tmp_path / "in.mp4", pictures=pictures)
    wanted = EncodeSettings(preset="ultrafast", bitrate=400_000)
    run_video(job(source, tmp_path / "out.mp4", encode=wanted, segment_frames=50), Nearest())
    bits = 8 * sum(len(content) for _, content in packets_of(tmp_path / "out.mp4", "video"))
    assert 200_000 < bits / 2 < 800_000


def test_an_encoder_whose_device_is_missing_is_refused_in_a_sentence(tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("this machine has what h264_nvenc needs")
    if "h264_nvenc" not in av.codecs_available:
        pytest.skip("this FFmpeg was built without h264_nvenc")
    source = write_clip(tmp_path / "in.mp4", pictures=[drawing(0, 320, 240)] * 2)
    with pytest.raises(InputError, match="h264_nvenc does not open"):
        run_video(job(source, tmp_path / "out.mp4", encode=EncodeSettings(codec="h264_nvenc")), Nearest())
