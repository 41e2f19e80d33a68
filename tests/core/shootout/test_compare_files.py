"""Files, folders and videos: the right figures, and a sentence for each pair that cannot be compared."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
from backplate.core.metrics.pair import Align
from backplate.core.metrics.registry import CompareSettings
from backplate.core.progress import Cancelled
from backplate.core.shootout.compare import compare_paths, frames_of
from PIL import Image
from recorder import Recorder

SETTINGS = CompareSettings(metrics=("psnr", "ssim"))


def expected_psnr(first: Path, second: Path) -> float:
    pair = [np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255 for path in (first, second)]
    return -10 * math.log10(np.square(pair[0] - pair[1]).mean())


def save_video(path: Path, frames: list[np.ndarray], options: dict[str, str], codec: str = "libx264") -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for values in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def frames() -> list[np.ndarray]:
    """A bright disc that moves over a gradient."""
    y, x = np.mgrid[0:48, 0:64]
    found = []
    for index in range(6):
        values = np.stack([60 + x, 80 + y, 100 + (x + y) // 2], axis=-1)
        values[np.hypot(x - 20 - 3 * index, y - 24) < 10] += 70
        found.append(values.clip(0, 255).astype(np.uint8))
    return found


def test_two_files(write):
    first, second = write("a.png", seed=1), write("b.png", seed=2)
    report = compare_paths(first, second, SETTINGS)
    assert [row.name for row in report.rows] == ["a.png"]
    assert report.mean("psnr") == pytest.approx(expected_psnr(first, second), abs=1e-4)
    assert not report.all_problems


def test_folders_have_the_mean_of_their_pairs(write, tmp_path):
    pairs = [(write(f"a/{i}.png", seed=i), write(f"b/{i}.png", seed=i + 1)) for i in range(11)]
    report = compare_paths(tmp_path / "a", tmp_path / "b", SETTINGS)
    assert [row.name for row in report.rows] == [f"{i}.png" for i in range(11)]
    assert report.mean("psnr") == pytest.approx(np.mean([expected_psnr(*pair) for pair in pairs]), abs=1e-4)
    assert "mean" in report.text()


def test_every_bad_pair_is_a_sentence_and_the_rest_goes_on(write, tmp_path):
    for name in ("good.png", "size.png", "broken.png", "alpha.png", "tiny.png"):
        write(f"a/{name}", (1, 1) if name == "tiny.png" else (40, 40), seed=1)
        write(f"b/{name}", {"size.png": (40, 44), "tiny.png": (1, 1)}.get(name, (40, 40)), seed=2)
    (tmp_path / "a/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    image = Image.open(tmp_path / "a/alpha.png").convert("RGBA")
    image.putalpha(128)
    image.save(tmp_path / "a/alpha.png")
    Image.fromarray(np.full((40, 40, 3), 128, np.uint8)).save(tmp_path / "a/constant.png")
    Image.fromarray(np.full((40, 40, 3), 129, np.uint8)).save(tmp_path / "b/constant.png")
    report = compare_paths(tmp_path / "a", tmp_path / "b", SETTINGS)
    problems = {row.name: " ".join(row.problems) for row in report.rows}
    assert "transparent in places" in problems["alpha.png"]
    assert "broken.png" in problems["broken.png"]
    assert "The result is 40x40 and the reference 44x40; align 'crop'" in problems["size.png"]
    assert "SSIM needs at least 11x11" in problems["tiny.png"]
    assert problems["good.png"] == problems["constant.png"] == ""
    values = {row.name: row.values for row in report.rows}
    assert set(values["good.png"]) == {"psnr", "ssim"}
    assert set(values["tiny.png"]) == {"psnr"}
    assert values["constant.png"]["psnr"] == pytest.approx(20 * math.log10(255), abs=1e-3)
    assert not values["size.png"]
    json.dumps(report.as_dict(), allow_nan=False)


def test_align_option_compares_what_differs_in_size(write):
    first, second = write("a.png", (40, 41)), write("b.png", (42, 40))
    report = compare_paths(first, second, CompareSettings(metrics=("psnr",), align=Align.CROP))
    assert report.mean("psnr") is not None


def test_video_has_the_mean_over_its_frames(frames, tmp_path):
    good = save_video(tmp_path / "good.mp4", frames, {"qp": "0"})
    poor = save_video(tmp_path / "poor.mp4", frames, {"crf": "45"})
    report = compare_paths(poor, good, SETTINGS)
    assert report.rows[0].frames == 6
    assert 15 < report.mean("psnr") < 45
    assert compare_paths(good, good, SETTINGS).mean("psnr") == math.inf


def test_frames_are_those_that_ffmpeg_decodes(frames, tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    video = save_video(tmp_path / "v.mp4", frames, {"crf": "20"})
    exact = ["-vf", "scale=in_chroma_loc=left:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"]
    asked = [ffmpeg.get_ffmpeg_exe(), "-i", video, *exact, tmp_path / "%d.png"]
    subprocess.run(asked, check=True, capture_output=True)
    decoded = list(frames_of(video))
    assert len(decoded) == 6
    for index, frame in enumerate(decoded, 1):
        by_hand = np.asarray(Image.open(tmp_path / f"{index}.png"), dtype=np.float32) / 255
        # Two builds of the same scaler may round differently.
        assert np.abs(frame[0].permute(1, 2, 0).numpy() - by_hand).max() <= 3 / 255


def test_ten_bits_are_as_bright_as_eight(tmp_path):
    """A slope up to white, stored without loss in 8 and in 10 bits: the same picture but for their rounding."""
    av = pytest.importorskip("av")
    slope = np.linspace(0, 1, 64)[None, :, None].repeat(48, 0).repeat(3, 2)
    for name, form, dtype, white in (("8.mkv", "yuv444p", np.uint8, 255), ("10.mkv", "yuv444p10le", np.uint16, 65280)):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("ffv1", rate=24)
            stream.width, stream.height, stream.pix_fmt = 64, 48, form
            pixels = np.round(slope * white).astype(dtype)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24" if white == 255 else "rgb48le")
            container.mux(stream.encode(frame.reformat(format=form, dst_colorspace=1, dst_color_range=1)))
            container.mux(stream.encode())
    (eight,), (ten,) = (list(frames_of(tmp_path / name)) for name in ("8.mkv", "10.mkv"))
    assert np.abs(ten[0, 1, 0].numpy() - slope[0, :, 1]).max() < 2 / 1023
    report = compare_paths(tmp_path / "8.mkv", tmp_path / "10.mkv", CompareSettings(metrics=("psnr",)))
    assert report.mean("psnr") > 50
    assert float(eight.max()) == pytest.approx(1, abs=1 / 255)


def test_a_video_that_is_cut_off_has_no_figures(frames, tmp_path):
    whole = save_video(tmp_path / "whole.mkv", frames * 10, {"qp": "0", "g": "10"})
    data = whole.read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data[: len(data) * 2 // 3])
    report = compare_paths(broken, whole, SETTINGS)
    assert not report.means
    assert "damaged or cut off" in report.all_problems[0]
    assert "--keep-partial" not in report.all_problems[0]


def test_one_frame_more_is_a_sentence(frames, tmp_path):
    long = save_video(tmp_path / "long.mp4", frames, {})
    short = save_video(tmp_path / "short.mp4", frames[:-1], {})
    for metrics in (("psnr",), ("vmaf",)):
        if metrics == ("vmaf",):
            pytest.importorskip("imageio_ffmpeg")
        report = compare_paths(long, short, CompareSettings(metrics=metrics))
        assert report.all_problems == ("long.mp4: long.mp4 has 6 frames and short.mp4 5; cut both to the same frames.",)
        assert not report.means


def test_videos_of_other_sizes_are_a_sentence(frames, tmp_path):
    first = save_video(tmp_path / "a.mp4", frames, {})
    second = save_video(tmp_path / "b.mp4", [frame[:32] for frame in frames], {})
    report = compare_paths(first, second, SETTINGS)
    assert "The result is 64x48 and the reference 64x32" in report.all_problems[0]


def test_a_picture_beside_a_video_is_a_sentence(write, frames, tmp_path):
    video = save_video(tmp_path / "a.mp4", frames, {})
    report = compare_paths(write("a.png"), video, SETTINGS)
    assert "are not both videos" in report.all_problems[0]


def test_what_only_pretends_to_be_a_video_is_a_sentence(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text("no video")
    report = compare_paths(tmp_path / "a.mp4", tmp_path / "b.mp4", SETTINGS)
    assert "a.mp4 cannot be opened as a video" in report.all_problems[0]


def test_vmaf_of_a_real_clip_is_that_of_ffmpeg(shared, tmp_path):
    """The whole way from files: the clip against a re-encoded copy, by us and by ffmpeg's libvmaf by hand."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    clip, copy, log = shared / "video/onepiece_demo.mp4", tmp_path / "copy.mp4", tmp_path / "log.json"
    subprocess.run(
        [ffmpeg, "-i", clip, "-an", "-crf", "38", "-preset", "ultrafast", copy], check=True, capture_output=True
    )
    graph = f"[0:v][1:v]libvmaf=model=version=vmaf_v0.6.1:log_fmt=json:log_path={log}:n_threads=2"
    by_hand = [ffmpeg, "-i", copy, "-i", clip, "-lavfi", graph, "-f", "null", "-"]
    subprocess.run(by_hand, check=True, capture_output=True)
    report = compare_paths(copy, clip, CompareSettings(metrics=("vmaf",)))
    assert report.rows[0].frames == 181
    assert report.mean("vmaf") == json.loads(log.read_text())["pooled_metrics"]["vmaf"]["mean"]


def test_the_run_can_be_stopped(write, tmp_path):
    with pytest.raises(Cancelled):
        compare_paths(write("a.png"), write("b.png"), SETTINGS, Recorder(0))
