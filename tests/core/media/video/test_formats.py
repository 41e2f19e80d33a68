"""Every pixel format of FFmpeg, and where its colour lies."""

from __future__ import annotations

import io
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.format import VideoFormat, names
from av.video.reformatter import ColorRange, VideoReformatter
from backplate.core.errors import InputError
from backplate.core.media.video.colour import SCALING, ColourConverter, ColourTags, check_readable
from backplate.core.media.video.decode import ReadSettings, read_video
from backplate.core.media.video.probe import probe_video
from clips import write_clip

LEVELS = (0, 48, 128, 208, 255)
STUDIO = ColourTags(range=1, matrix=1, primaries=1, transfer=1)
UNREADABLE = ("yaf16", "yaf32")


def steps() -> np.ndarray:
    """Five flat greys beside each other, 32 pixels each."""
    return np.repeat(np.array(LEVELS, np.uint8), 32)[None, :, None].repeat(32, 0).repeat(3, 2)


def coarseness(form: VideoFormat) -> float:
    """Distance between the levels of the coarsest channel; black and white are dithered."""
    return 1 / ((1 << min(part.bits for part in form.components[: 3 if form.is_rgb else 1])) - 1)


def in_form(name: str) -> av.VideoFrame | None:
    """The greys in the format, by libswscale; None for the few that it only reads."""
    # White of deep RGB is 65280 for libswscale when it makes anything but RGB of it.
    deep = steps().astype(np.uint16) * (257 if VideoFormat(name).is_rgb else 256)
    frame = av.VideoFrame.from_ndarray(deep, format="rgb48le")
    levels = ColorRange.JPEG if name.startswith("yuvj") else ColorRange.MPEG
    try:
        return VideoReformatter().reformat(
            frame, format=name, src_color_range=ColorRange.JPEG, dst_colorspace=1, dst_color_range=levels,
            interpolation=SCALING,
        )  # fmt: skip
    except (OSError, ValueError):
        return None


def sws_reads(frame: av.VideoFrame) -> bool:
    try:
        return VideoReformatter().reformat(frame, format="rgb24") is not None
    except OSError:
        return False


def tags_of(name: str) -> ColourTags:
    return ColourTags(range=2 if name.startswith("yuvj") else 1, matrix=1, primaries=1, transfer=1)


@pytest.mark.parametrize("name", sorted(names))
def test_every_format_gives_the_right_picture_or_a_sentence(name: str) -> None:
    frame = in_form(name)
    if frame is None or name.startswith("grayf"):
        pytest.skip("nothing here can make a right frame of it")
    if name.startswith(UNREADABLE) or not sws_reads(frame):
        with pytest.raises(InputError, match=name):
            check_readable(frame, tags_of(name))
        return
    pixels, white = ColourConverter(tags_of(name)).to_rgb(frame)
    seen = pixels[16, 16::32, 1] / white
    limit = max(0.003, coarseness(VideoFormat(name)) * 1.01)
    if name.startswith("mono"):
        np.testing.assert_array_equal(seen[[0, 4]], [0, 1])
    else:
        np.testing.assert_allclose(seen, np.array(LEVELS) / 255, atol=limit)


@pytest.mark.parametrize("name", ["grayf32le", "grayf16be", "gbrpf32le", "gbrpf32be", "gbrapf16le", "rgbf32le"])
def test_floats_are_read_as_what_they_are(name: str) -> None:
    kind = (">" if name.endswith("be") else "<") + ("f2" if "f16" in name else "f4")
    for value in (-0.5, 0.0, 0.25, 0.5, 1.0, 2.0):
        frame = av.VideoFrame(32, 16, name)
        for plane in frame.planes:
            array = np.frombuffer(plane, kind)
            array.flags.writeable or pytest.fail("the plane cannot be filled")
            array[:] = value
        pixels, white = ColourConverter(STUDIO).to_rgb(frame)
        np.testing.assert_allclose(pixels / white, np.clip(value, 0, 1), atol=1e-4)


@pytest.mark.parametrize("name", UNREADABLE)
def test_formats_that_would_end_the_process_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}le cannot be converted"):
        check_readable(av.VideoFrame(32, 16, f"{name}le"), STUDIO)


def test_a_video_of_floats_is_upscaled(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 32, dtype=np.float32)[None].repeat(16, 0)
    path = tmp_path / "float.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5, options={"strict": "experimental"})
        stream.width, stream.height, stream.pix_fmt = 32, 16, "gbrpf32le"
        frame = av.VideoFrame(32, 16, "gbrpf32le")
        for plane in frame.planes:
            np.frombuffer(plane, np.float32).reshape(16, -1)[:, :32] = values
        frame.pts, frame.time_base = 0, Fraction(1, 5)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    facts = probe_video(path)
    (read,) = read_video(path, facts, ReadSettings())
    np.testing.assert_allclose(read.pixels[..., 0] / read.white, values, atol=1e-4)
    assert facts.bit_depth == 16


# A slope of blueness: what is stored for two pixels is its value where the sample lies.
SLOPE = np.arange(64) + 94


def sloped(form: str) -> np.ndarray:
    """RGB of constant luma (BT.709) whose Cb is SLOPE."""
    blueness = (SLOPE - 128) / 224
    luma = 0.5
    blue = luma + 1.8556 * blueness
    green = luma - 1.8556 * 0.0722 / 0.7152 * blueness
    picture = np.stack([np.full(64, luma), green, blue], -1)[None].repeat(16, 0)
    return (
        np.round(picture * 65280).astype(np.uint16) if form.endswith("10le") else np.round(picture * 255).astype("u1")
    )


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv420p10le", "yuv422p10le"])
def test_colour_is_written_where_players_expect_it(name: str) -> None:
    frame = ColourConverter(STUDIO).to_frame(sloped(name), name)
    unit = 4 if name.endswith("10le") else 1
    plane = frame.planes[1]
    stored = np.frombuffer(plane, np.uint16 if unit == 4 else np.uint8).reshape(plane.height, -1)[4, : 64 // 2]
    left, middle = SLOPE[::2], (SLOPE[::2] + SLOPE[1::2]) / 2
    inner = slice(3, -3)
    assert np.abs(stored[inner] / unit - left[inner]).max() < 0.75
    assert np.abs(stored[inner] / unit - middle[inner]).mean() > 0.3


def stored_slope(path: Path, codec: str, form: str = "yuv420p") -> Path:
    """Frames whose colour planes hold SLOPE where it lies to the left."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "0", "g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 16, form
        frame = av.VideoFrame(64, 16, form)
        for place, plane in enumerate(frame.planes):
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            rows[:, : plane.width] = SLOPE[::2] if place == 1 else 128
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        frame.colorspace = 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("codec", "suffix", "shift"),
    [
        ("libx264", ".mp4", 0.0),
        ("ffv1", ".mkv", 0.0),
        ("libvpx-vp9", ".webm", 0.0),
        ("mpeg2video", ".mkv", 0.0),
        ("rawvideo", ".nut", 0.0),
        ("mjpeg", ".mkv", 0.5),
        ("mpeg1video", ".mpg", 0.5),
    ],
)
def test_colour_is_read_where_the_codec_puts_it(codec: str, suffix: str, shift: float, tmp_path: Path) -> None:
    path = stored_slope(tmp_path / f"slope{suffix}", codec, "yuvj420p" if codec == "mjpeg" else "yuv420p")
    facts = probe_video(path)
    frame = next(read_video(path, facts, ReadSettings()))
    row = frame.pixels[8].astype(float) / frame.white
    blueness = row[:, 2] - row[:, 0]
    # The middle of the slope, where red, green and blue are equal, is at pixel 34; of a centred one half further.
    inner = slice(8, -8)
    at = np.interp(0.0, blueness[inner], np.arange(64)[inner])
    assert at == pytest.approx(34 + shift, abs=0.2)


def test_subsampled_results_are_those_of_ffmpeg(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    rng = np.random.default_rng(3)
    picture = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    scale = "scale=out_color_matrix=bt709:out_range=tv:out_chroma_loc=left:flags=bicubic+accurate_rnd+full_chroma_inp"
    asked = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x48", "-i", "-", "-vf", f"{scale},format=yuv420p"]
    raw = subprocess.run(
        [ffmpeg, "-v", "error", *asked, "-f", "rawvideo", "-"], input=picture.tobytes(), check=True, capture_output=True
    ).stdout
    theirs = np.frombuffer(raw, np.uint8)
    frame = ColourConverter(STUDIO).to_frame(picture, "yuv420p")
    ours = frame.to_ndarray(format="yuv420p").reshape(-1)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_sources_in_memory_read_the_same(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4")
    held = io.BytesIO(path.read_bytes())
    first, second = (next(read_video(each, probe_video(each), ReadSettings())) for each in (path, held))
    np.testing.assert_array_equal(first.pixels, second.pixels)
