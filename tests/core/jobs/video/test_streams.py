"""Sound, subtitles and marks of sources that are damaged, cut or late."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from backplate.core.errors import InputError
from backplate.core.jobs.video.run import run_video
from backplate.core.media.video.decode import ReadSettings
from backplate.core.media.video.encode import SHORT_NAMES, EncodeSettings
from backplate.core.media.video.join import KINDS
from clips import Nearest, packets_of, times_of, write_clip
from small_jobs import job
from streams import damaged, remux, share_of_low_tone, two_tones, with_sound


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize("codec", ["aac", "mp2", "ac3"])
def test_lost_packets_of_the_sound_are_left_out_and_counted(codec: str, suffix: str, tmp_path: Path):
    whole = with_sound(tmp_path / "whole.ts", codec, rate=48000)
    source, output = damaged(whole, tmp_path / "in.ts", (5, 11)), tmp_path / f"out{suffix}"
    report = run_video(job(source, output), Nearest())
    assert len(times_of(output)) == 20
    assert codec == "aac" or any("damaged packet" in note for note in report.notes)
    good = {content for _, content in packets_of(whole)} | {content[7:] for _, content in packets_of(whole)}
    copied = packets_of(output)
    assert sum(content in good or content[7:] in good for _, content in copied) >= len(packets_of(whole)) // 2
    assert [time for time, _ in copied] == sorted({time for time, _ in copied})


@pytest.mark.parametrize("clocks", [(0, 0), (0, 3600), (3600, 0), (90000, 30)])
def test_sound_stays_with_its_pictures_where_the_clock_is_set_anew(clocks: tuple[int, int], tmp_path: Path):
    plain = with_sound(tmp_path / "plain.ts", "mp2", rate=48000)
    first, second = (remux(plain, tmp_path / f"{n}.ts", shift=clock) for n, clock in enumerate(clocks))
    source, output = tmp_path / "in.ts", tmp_path / "out.mkv"
    source.write_bytes(first.read_bytes() + second.read_bytes())
    run_video(job(source, output), Nearest())
    frames, sound = times_of(output), packets_of(output)
    assert len(frames) == 40
    assert np.allclose(np.diff([float(time) for time in frames]), 0.04, atol=0.0015)
    begins = [float(time - times_of(first)[0]) for time, _ in packets_of(first)]
    late = [float(time) for time, _ in sound]
    assert len(late) >= 2 * len(begins) - 2
    # The sound of the second part is as far from its first picture as in the file of its own.
    tail = late[-len(begins) + 1 :]
    assert abs((tail[-1] - float(frames[20])) - begins[-1]) < 0.05


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".ts", ".nut"])
def test_sound_that_was_cut_away_stays_away(suffix: str, tmp_path: Path):
    source, output = two_tones(tmp_path / "in.mp4"), tmp_path / f"out{suffix}"
    with av.open(str(source)) as container:
        assert sum(packet.is_discard for packet in container.demux(audio=0)) > 10
    run_video(job(source, output), Nearest())
    assert share_of_low_tone(output) < 0.1
    with av.open(str(output)) as container:
        early = sum(len(bytes(packet)) for packet in container.demux(audio=0) if packet.size and packet.is_discard)
    assert early < 2000
    frames = times_of(output)
    begins = frames[0] if suffix == ".ts" else Fraction(0)  # which begins late by itself, as every transport stream
    assert frames[0] == begins
    assert float(packets_of(output)[0][0] - frames[0]) < 0.07


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
@pytest.mark.parametrize("audio", [True, False])
def test_a_clock_that_begins_late_is_no_hour_of_nothing(suffix: str, audio: bool, tmp_path: Path):
    plain = write_clip(tmp_path / "plain.mp4", audio=audio)
    source, output = remux(plain, tmp_path / f"in{suffix}", shift=3600), tmp_path / "out.mp4"
    report = run_video(job(source, output), Nearest())
    assert report.source.seconds < 2
    times = np.array([float(time) for time in times_of(output)])
    assert times[0] < 0.07  # the sound may begin so much earlier
    assert np.allclose(times - times[0], 0.04 * np.arange(20), atol=0.0015)
    run_video(job(source, tmp_path / "part.mp4", read=ReadSettings(start=0.2, seconds=0.4)), Nearest())
    times = np.array([float(time) for time in times_of(tmp_path / "part.mp4")])
    assert len(times) == 10
    assert times[0] < 0.04


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_opus_begins_as_early_as_its_header_says(suffix: str, tmp_path: Path):
    if "libopus" not in av.codecs_available:
        pytest.skip("this FFmpeg was built without libopus")
    whole = with_sound(tmp_path / "whole.mp4", "libopus", rate=48000)
    cut = remux(whole, tmp_path / "cut.mp4", shift=-0.4)
    for source in (whole, cut):
        output = tmp_path / f"out-{source.stem}{suffix}"
        run_video(job(source, output), Nearest())
        assert times_of(output)[0] == times_of(source)[0] == 0
        assert played(output) == played(source)
    assert [content for _, content in packets_of(tmp_path / f"out-whole{suffix}")] == [
        content for _, content in packets_of(whole)
    ]


def with_lines(path: Path, lines: str) -> Path:
    """A clip with these subtitles and two chapters of 0.4 s."""
    plain, text = write_clip(path.with_name("plain.mp4")), path.with_name("text.srt")
    text.write_text(lines, encoding="utf-8")
    with av.open(str(plain)) as origin, av.open(str(text)) as words, av.open(str(path), "w") as container:
        copies = {stream.index: container.add_stream_from_template(stream) for stream in origin.streams}
        line = container.add_stream_from_template(words.streams.subtitles[0])
        unit = Fraction(1, 1000)
        container.set_chapters(
            [
                {"id": n + 1, "start": 400 * n, "end": 400 * n + 400, "time_base": unit, "metadata": {"title": name}}
                for n, name in enumerate(("One", "Two"))
            ]
        )
        for packet in [*origin.demux(), *words.demux()]:
            if packet.size:
                packet.stream = line if packet.stream.type == "subtitle" else copies[packet.stream.index]
                container.mux(packet)
    return path


def test_lines_and_chapters_are_those_of_the_part(tmp_path: Path):
    lines = "1\n00:00:00,000 --> 00:00:00,300\nearly\n\n2\n00:00:00,500 --> 00:00:00,790\nlate\n"
    source, output = with_lines(tmp_path / "in.mkv", lines), tmp_path / "out.mkv"
    run_video(job(source, output, read=ReadSettings(start=0.2, seconds=0.4)), Nearest())
    assert times_of(output)[0] == 0
    with av.open(str(output)) as container:
        shown = [
            (float(each.pts * each.time_base), float(each.duration * each.time_base), bytes(each))
            for each in container.demux(container.streams.subtitles[0])
            if each.size
        ]
        chapters = [(each["start"], each["end"], each["metadata"]["title"]) for each in container.chapters()]
        units = {Fraction(each["time_base"]) for each in container.chapters()}
    assert [(round(a, 3), round(b, 3), text) for a, b, text in shown] == [(0, 0.1, b"early"), (0.3, 0.1, b"late")]
    seconds = [(float(a * min(units)), float(b * min(units)), title) for a, b, title in chapters]
    assert seconds == [(0.0, 0.2, "One"), (0.2, 0.4, "Two")]


def test_titles_lie_where_players_look(tmp_path: Path):
    plain = write_clip(tmp_path / "plain.mp4")
    source = remux(plain, tmp_path / "in.mkv", metadata={"title": "A clip", "artist": "Somebody"})
    run_video(job(source, tmp_path / "out.mp4"), Nearest())
    content = (tmp_path / "out.mp4").read_bytes()
    assert b"\xa9nam" in content
    assert b"\xa9ART" in content
    assert b"mdta" not in content


def test_tags_that_are_not_utf_8_are_left_out_and_said(tmp_path: Path):
    plain = with_sound(tmp_path / "plain.avi", "mp3", rate=44100, video="mpeg4")
    marked = remux(plain, tmp_path / "marked.avi", metadata={"title": "TITLETITLE"})
    source = tmp_path / "in.avi"
    source.write_bytes(marked.read_bytes().replace(b"TITLETITLE", "\u30c6\u30b9\u30c8\u52d5\u753b".encode("shift-jis")))
    report = run_video(job(source, tmp_path / "out.mkv"), Nearest())
    assert any(note.startswith("Left out: tags") and "title" in note for note in report.notes)
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert "title" not in {name.lower() for name in container.metadata}


def test_what_a_container_cannot_keep_is_said(tmp_path: Path):
    plain = write_clip(tmp_path / "plain.mp4", audio=True)

    def attach(container, copies) -> None:
        container.add_attachment("font.ttf", "font/ttf", b"0123")
        next(iter(copies.values())).metadata["stereo_mode"] = "left_right"

    source = remux(plain, tmp_path / "in.mkv", prepare=attach)
    report = run_video(job(source, tmp_path / "out.mp4"), Nearest())
    assert "Left out: 1 attached file, the mark of a 3D video." in report.notes
    report = run_video(job(source, tmp_path / "out.mkv"), Nearest())
    assert not [note for note in report.notes if note.startswith("Left out")]


def played(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(each) for each in container.demux(audio=0) if each.size and not each.is_discard]


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "prores", "ffv1"])
@pytest.mark.parametrize("suffix", list(KINDS))
def test_every_kind_holds_a_codec_or_says_so_before_the_work(suffix: str, codec: str, tmp_path: Path):
    if SHORT_NAMES.get(codec, codec) not in av.codecs_available:
        pytest.skip(f"this FFmpeg was built without {codec}")
    source, output, model = with_sound(tmp_path / "in.mp4", "aac"), tmp_path / f"out{suffix}", Nearest()
    encode = EncodeSettings(codec=codec, preset={"h264": "ultrafast", "hevc": "ultrafast", "av1": "12"}.get(codec, ""))
    refusal = ""
    try:
        run_video(job(source, output, encode=encode), model)
    except InputError as error:
        refusal = str(error)
    if refusal:
        assert model.calls == 0
        assert f"A {suffix} file cannot hold" in refusal
        assert not list(tmp_path.glob(".out*"))
        return
    times = [float(time) for time in times_of(output)]
    assert np.allclose(np.array(times) - times[0], 0.04 * np.arange(20), atol=0.0015)
    assert len(played(output)) == len(played(source))


@pytest.mark.parametrize(
    ("codec", "source", "suffix", "words"),
    [
        ("pcm_mulaw", "in.mov", ".mkv", r"the sound pcm_mulaw .*; choose \.mov, or leave the sound out"),
        ("adpcm_ms", "in.avi", ".mp4", r"the sound adpcm_ms .*; choose \.nut, or leave the sound out"),
        ("adpcm_ima_wav", "in.avi", ".mkv", r"the sound adpcm_ima_wav .*; choose \.nut, or leave the sound out"),
        ("pcm_s16le", "in.mov", ".ts", r"the sound pcm_s16le .*; choose \.mp4, or leave the sound out"),
        ("flac", "in.mkv", ".mov", r"the sound flac .*; choose \.mp4, or leave the sound out"),
    ],
)
def test_the_advice_names_a_kind_that_works(codec: str, source: str, suffix: str, words: str, tmp_path: Path):
    video = "mpeg4" if source.endswith((".avi", ".wmv")) else "libx264"
    clip, model = with_sound(tmp_path / source, codec, rate=44100, video=video), Nearest()
    with pytest.raises(InputError, match=words) as refused:
        run_video(job(clip, tmp_path / f"out{suffix}"), model)
    assert model.calls == 0
    named = str(refused.value).split("choose ")[1].split(",")[0]
    run_video(job(clip, tmp_path / f"out{named}"), Nearest())
    assert {bytes(content) for _, content in packets_of(tmp_path / f"out{named}")} == {
        bytes(content) for _, content in packets_of(clip)
    }


@pytest.mark.parametrize("name", ["Movie: x2", "http://x", "pipe:1", "-x", "%d", "concat:a|b", "a#b?c", "\u6620" * 83])
def test_any_name_that_a_folder_takes_is_a_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    source = write_clip(Path("in.mp4"), audio=True)
    output = Path(f"{name}.mkv".replace("//", "_"))
    assert len(os.fsencode(output.name)) <= 255
    report = run_video(job(source, output), Nearest())
    assert report.counts.frames == 20
    assert output.is_file()
    assert not list(tmp_path.glob(".*"))


def test_a_picture_off_the_pace_is_refused_where_frames_are_counted(tmp_path: Path):
    source = write_clip(tmp_path / "in.mp4", pts=[0, 512, 700, *range(1536, 1536 + 17 * 512, 512)])
    model = Nearest()
    with pytest.raises(InputError, match=r"only one frame rate.*choose \.mkv"):
        run_video(job(source, tmp_path / "out.avi", encode=EncodeSettings(codec="ffv1")), model)
    assert model.calls == 0
