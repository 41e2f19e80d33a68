"""Videos whose frames lie in memory: nothing between them and the model."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.jobs.video.compare import compare_videos
from backplate.core.jobs.video.frame import to_picture
from backplate.core.jobs.video.plan import fingerprint
from backplate.core.jobs.video.run import run_video
from backplate.core.media.video.decode import ReadSettings, read_video
from backplate.core.media.video.encode import EncodeSettings
from backplate.core.media.video.images import ImageVideo
from backplate.core.media.video.probe import opened, probe_video
from backplate.core.types import Box, Size
from clips import Nearest, drawing, pictures_of, times_of, write_clip
from small_jobs import job

RATE = Fraction(24)


def images(count: int = 9) -> torch.Tensor:
    """Sharp colour on every pixel, which no 4:2:0 keeps."""
    return torch.rand(count, 48, 64, 3, generator=torch.Generator().manual_seed(5))


def tone(seconds: float, rate: int = 44100) -> torch.Tensor:
    times = torch.arange(int(seconds * rate)) / rate
    return torch.stack([0.3 * torch.sin(2 * torch.pi * 440 * times), 0.2 * torch.sin(2 * torch.pi * 660 * times)])


def test_the_model_sees_the_pixels_that_were_made() -> None:
    video = ImageVideo(images=images(), rate=RATE)
    read = list(read_video(video, probe_video(video), ReadSettings()))
    assert [frame.pts for frame in read] == list(range(9))
    for frame, image in zip(read, video.images, strict=True):
        seen = to_picture(frame, torch.device("cpu"))[0].movedim(0, 2)
        assert float((seen - image).abs().max()) <= 0.5 / 65535 + 1e-7


def test_a_result_has_their_times_and_their_sound(tmp_path: Path) -> None:
    video = ImageVideo(images=images(), rate=RATE, sound=tone(5), sound_rate=44100)
    output = tmp_path / "out.mp4"
    report = run_video(job(video, output), Nearest())
    assert report.counts.frames == 9
    assert times_of(output) == [number / RATE for number in range(9)]
    with av.open(str(output)) as container:
        heard = np.concatenate([each.to_ndarray() for each in container.decode(audio=0)], axis=1)
    # Sound ends with the pictures, to one packet of AAC.
    assert abs(heard.shape[1] / 44100 - 9 / 24) < 0.05
    strength = np.abs(np.fft.rfft(heard[0]))
    assert np.argmax(strength) * 44100 / heard.shape[1] == pytest.approx(440, abs=5)
    found = compare_videos(output, video)
    assert (found.times_kept, found.sound_kept, found.frames) == (True, True, 9)


def test_lossless_results_are_the_images(tmp_path: Path) -> None:
    values = (images(3) * 255).round() / 255
    video = ImageVideo(images=values, rate=RATE)
    settings = EncodeSettings(codec="ffv1", pixel_format="yuv444p10le")
    output = tmp_path / "out.mkv"
    run_video(job(video, output, encode=settings), Nearest())
    for made, image in zip(pictures_of(output), values, strict=True):
        wanted = (image.numpy() * 255).round().repeat(2, 0).repeat(2, 1)
        assert np.abs(made - wanted).max() <= 1


def test_webm_holds_their_sound(tmp_path: Path) -> None:
    video = ImageVideo(images=images(), rate=RATE, sound=tone(1, 22050), sound_rate=22050, sound_codec="libopus")
    with opened(video) as container:
        assert container.streams.audio[0].codec_context.name == "opus"
        assert container.streams.audio[0].rate == 48000
    output = tmp_path / "out.webm"
    run_video(job(video, output, encode=EncodeSettings(codec="vp9", crf=30)), Nearest())
    with av.open(str(output)) as container:
        assert container.streams.audio[0].codec_context.name == "opus"


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    video = ImageVideo(images=images(), rate=RATE)
    facts = probe_video(video)
    after = [frame.pts for frame in read_video(video, facts, ReadSettings(after=4))]
    assert after == [5, 6, 7, 8]
    part = [frame.pts for frame in read_video(video, facts, ReadSettings(start=0.125, seconds=0.125))]
    assert part == [0, 1, 2]


def test_the_fingerprint_is_that_of_the_content() -> None:
    video = ImageVideo(images=images(), rate=RATE, sound=tone(1), sound_rate=44100)
    again = ImageVideo(images=images(), rate=RATE, sound=tone(1), sound_rate=44100)
    other = images()
    other[8, 47, 63, 2] += 0.01
    assert fingerprint(video) == fingerprint(again)
    changed = [replace(video, images=other), replace(video, rate=Fraction(25)), replace(video, sound=None)]
    assert len({fingerprint(each) for each in [video, *changed]}) == 4


def test_grey_transparent_and_odd_frames() -> None:
    grey = ImageVideo(images=images()[..., :1], rate=RATE)
    assert next(read_video(grey, probe_video(grey), ReadSettings())).pixels.shape == (48, 64, 3)
    clear = ImageVideo(images=torch.cat([images(), images()[..., :1]], 3), rate=RATE)
    assert probe_video(clear).has_alpha
    odd = ImageVideo(images=images()[:, :47, :63], rate=Fraction(30000, 1001), bit_depth=10)
    facts = probe_video(odd, Box(3, 5, 20, 10))
    assert (facts.stored, facts.shown, facts.bit_depth) == (Size(63, 47), Size(20, 10), 10)


def test_broken_frames_are_named() -> None:
    broken = images()
    broken[3, 0, 0, 0] = float("nan")
    video = ImageVideo(images=broken, rate=RATE)
    with pytest.raises(InputError, match="Frame 3 of the video"):
        list(read_video(video, probe_video(video), ReadSettings()))
    with pytest.raises(InputError, match="no frames"):
        ImageVideo(images=images()[:0], rate=RATE)
    with pytest.raises(InputError, match="mix it down"):
        ImageVideo(images=images(), rate=RATE, sound=torch.zeros(7, 10), sound_rate=8000)


def test_parts_of_both_videos_are_compared(tmp_path: Path) -> None:
    """The result was trimmed afterwards, and so was the reference: only what is left counts."""
    pytest.importorskip("imageio_ffmpeg")
    pictures = [drawing(number, 128, 96) for number in range(20)]
    source = write_clip(tmp_path / "a.mp4", pictures=pictures, options={"crf": "4"}, audio=True)
    spoilt = [*pictures[:10], *([np.zeros_like(pictures[0])] * 10)]
    other = write_clip(tmp_path / "b.mp4", pictures=spoilt, options={"crf": "4"}, audio=True)
    part = ReadSettings(seconds=0.4)
    whole = compare_videos(other, source, source)
    cut = compare_videos(other, source, source, part, result_part=part, reference_part=part)
    assert (whole.frames, cut.frames, cut.source_frames) == (20, 10, 10)
    assert cut.times_kept
    assert cut.sound_kept
    assert cut.vmaf["vmaf_v0.6.1"] > 90 > whole.vmaf["vmaf_v0.6.1"]
    cropped = compare_videos(other, result_part=ReadSettings(crop=Box(0, 0, 64, 96)))
    assert cropped.result.shown == Size(64, 96)
