"""What has to be kept is kept, whatever the container: times, pictures, colours, sound, subtitles."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from backplate.core.errors import InputError
from backplate.core.jobs.video.compare import compare_videos
from backplate.core.jobs.video.run import run_video
from backplate.core.media.video.carry import Carry
from backplate.core.media.video.decode import ReadSettings
from backplate.core.media.video.encode import SHORT_NAMES, EncodeSettings
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
from small_jobs import job

UNEVEN = [0, 512, 700, 1536, 2048, 2080, 4096, 4608, 5120, 6000, 6144, 9000]


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
