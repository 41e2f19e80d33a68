"""Turned, mirrored and cropped videos, held against what ffmpeg shows of them."""

from __future__ import annotations

import io
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from backplate.core.errors import InputError
from backplate.core.media.video.decode import ReadSettings, read_video
from backplate.core.media.video.probe import probe_video
from backplate.core.types import Box, Size
from clips import drawing, write_clip
from headers import clean_aperture, dolby_record, element, insert_in_sample_entry, write_matroska

ONE = 1 << 16
MATRICES = {
    "as it is": (ONE, 0, 0, ONE),
    "mirrored": (-ONE, 0, 0, ONE),
    "upside down mirrored": (ONE, 0, 0, -ONE),
    "half a turn": (-ONE, 0, 0, -ONE),
    "clockwise": (0, ONE, -ONE, 0),
    "counterclockwise": (0, -ONE, ONE, 0),
    "transposed": (0, ONE, ONE, 0),
    "transposed the other way": (0, -ONE, -ONE, 0),
}


def shown_by_ffmpeg(path: Path, size: Size) -> np.ndarray:
    """(N, H, W, 3)"""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    asked = ["-i", path, "-map", "0:v:0", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run([ffmpeg, "-v", "error", *asked], check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, size.height, size.width, 3)


def shown_by_us(path: Path) -> tuple[Size, np.ndarray]:
    facts = probe_video(path)
    return facts.shown, np.stack([frame.pixels for frame in read_video(path, facts, ReadSettings())])


def turned_clip(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    a, b, c, d = matrix
    with av.open(str(path), "w") as container:
        stream = container.add_stream("qtrle", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(drawing(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", MATRICES)
def test_all_eight_ways_to_hold_a_camera(name: str, tmp_path: Path) -> None:
    path = turned_clip(tmp_path / "clip.mov", MATRICES[name])
    size, ours = shown_by_us(path)
    theirs = shown_by_ffmpeg(path, size)
    assert size == (Size(64, 48) if MATRICES[name][0] else Size(48, 64))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["as it is", "clockwise", "mirrored", "transposed"])
def test_cropping_of_mp4_is_that_of_ffmpeg(name: str, tmp_path: Path) -> None:
    path = turned_clip(tmp_path / "clip.mov", MATRICES[name])
    insert_in_sample_entry(path, b"rle ", clean_aperture(40, 30, 4, -1))
    size, ours = shown_by_us(path)
    assert size == (Size(40, 30) if MATRICES[name][0] else Size(30, 40))
    np.testing.assert_array_equal(ours, shown_by_ffmpeg(path, size))


def test_cropping_of_matroska_is_that_of_ffmpeg(tmp_path: Path) -> None:
    crop = element(0x54CC, 6) + element(0x54BB, 2) + element(0x54DD, 8) + element(0x54AA, 10)
    path = write_matroska(tmp_path / "clip.mkv", [drawing(number) for number in range(3)], video=crop)
    size, ours = shown_by_us(path)
    assert size == Size(50, 36)
    assert np.abs(ours.astype(int) - shown_by_ffmpeg(path, size)).mean() < 2


def test_cropping_that_leaves_nothing_is_none(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4")
    insert_in_sample_entry(path, b"avc1", clean_aperture(0, 30, 0, 0))
    assert probe_video(path).shown == Size(64, 48)


def test_a_part_that_was_asked_for_is_cut_from_the_upright_frame(tmp_path: Path) -> None:
    path = turned_clip(tmp_path / "clip.mov", MATRICES["clockwise"])
    whole = shown_by_us(path)[1]
    facts = probe_video(path, Box(8, 20, 30, 100))
    assert facts.shown == Size(30, 44)
    part = next(read_video(path, facts, ReadSettings()))
    np.testing.assert_array_equal(part.pixels, whole[0][20:64, 8:38])


@pytest.mark.parametrize(("profile", "compatibility"), [(5, 0), (10, 0)])
def test_dolby_vision_without_a_base_picture_is_refused(profile: int, compatibility: int, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", codec="libx265", options={"x265-params": "log-level=none"})
    tag = probe_tag(path)
    insert_in_sample_entry(path, tag, dolby_record(profile, compatibility))
    for source in (path, io.BytesIO(path.read_bytes())):
        with pytest.raises(InputError, match=rf"Dolby Vision \(profile {profile}\).*SDR or HDR10"):
            probe_video(source)


@pytest.mark.parametrize(("profile", "compatibility"), [(8, 1), (8, 4), (7, 6), (4, 2)])
def test_dolby_vision_over_a_picture_for_everybody_is_read(profile: int, compatibility: int, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", codec="libx265", options={"x265-params": "log-level=none"})
    insert_in_sample_entry(path, probe_tag(path), dolby_record(profile, compatibility))
    assert probe_video(path).shown == Size(64, 48)


def test_dolby_vision_is_known_by_its_tag(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", codec="libx265", options={"x265-params": "log-level=none"})
    insert_in_sample_entry(path, probe_tag(path), b"", tag=b"dvh1")
    with pytest.raises(InputError, match="its tag is dvh1"):
        probe_video(path)


def test_dolby_vision_of_matroska_is_refused(tmp_path: Path) -> None:
    addition = element(0x41E7, int.from_bytes(b"dvcC", "big")) + element(0x41ED, dolby_record(5, 0)[8:])
    path = write_matroska(tmp_path / "clip.mkv", [drawing(0)], track=element(0x41E4, addition))
    with pytest.raises(InputError, match="profile 5"):
        probe_video(path)


def probe_tag(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.codec_tag.encode()


def two_videos(path: Path, sizes: tuple[tuple[int, int], ...], default: int | None) -> Path:
    with av.open(str(path), "w") as container:
        streams = []
        for place, (width, height) in enumerate(sizes):
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
            stream.disposition = av.stream.Disposition.default.value if place == default else 0
            streams.append(stream)
        for stream in streams:
            picture = np.zeros((stream.height, stream.width, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("sizes", "default", "shown"),
    [
        (((32, 16), (64, 48)), 1, Size(64, 48)),
        (((64, 48), (32, 16)), 1, Size(32, 16)),
        (((32, 16), (64, 48)), None, Size(64, 48)),
        (((64, 48), (64, 48), (32, 16)), None, Size(64, 48)),
    ],
)
def test_the_video_that_players_show_is_read(sizes, default, shown, tmp_path: Path) -> None:
    path = two_videos(tmp_path / "two.mkv", sizes, default)
    facts = probe_video(path)
    assert facts.shown == shown
    assert next(read_video(path, facts, ReadSettings())).pixels.shape[:2] == (shown.height, shown.width)


def test_tags_in_old_encodings_do_not_stop_reading(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi")
    data = path.read_bytes()
    written = b"Lavf"
    place = data.index(written)
    path.write_bytes(data[:place] + "\u30a2".encode("shift-jis") * 2 + data[place + 4 :])
    assert probe_video(path).shown == Size(64, 48)
