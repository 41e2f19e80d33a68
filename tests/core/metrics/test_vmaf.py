"""VMAF is what ffmpeg's libvmaf says when it is run by hand; everything that can go wrong is a sentence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.metrics import vmaf
from backplate.core.metrics.errors import MetricUnavailable, NotMeasurable
from backplate.core.metrics.vmaf import VmafModel, vmaf_model, vmaf_pictures, vmaf_videos
from PIL import Image

ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="its ffmpeg has libvmaf")


def run(*arguments: str) -> str:
    command = [ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-y", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def by_hand(result: Path, reference: Path, model: str, tmp_path: Path, prepared: str = "null") -> dict:
    log = tmp_path / "by_hand.json"
    graph = f"[0:v]{prepared}[a];[1:v]{prepared}[b];[a][b]libvmaf=model=version={model}:log_fmt=json:log_path={log}"
    run("-i", str(result), "-i", str(reference), "-lavfi", graph, "-f", "null", "-")
    return json.loads(log.read_text())


def save(picture: torch.Tensor, path: Path) -> Path:
    Image.fromarray((picture[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(path)
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> tuple[Path, Path]:
    """A moving test pattern of 12 frames, and a poor copy of it."""
    folder = tmp_path_factory.mktemp("videos")
    first, second = folder / "it's a: reference.mp4", folder / "copy, [1].mp4"
    run("-f", "lavfi", "-i", "testsrc2=s=160x120:r=24", "-frames:v", "12", "-crf", "12", str(first))
    run("-i", str(first), "-crf", "40", str(second))
    return second, first


@pytest.mark.parametrize("model", list(VmafModel))
def test_pictures_equal_ffmpeg_by_hand(drawn, spoiled, tmp_path, model):
    reference = drawn(90, 121)
    result = spoiled(reference, 0.05)
    log = by_hand(
        save(result, tmp_path / "a.png"), save(reference, tmp_path / "b.png"), model.value, tmp_path, "format=yuv444p"
    )
    assert 5 < log["pooled_metrics"]["vmaf"]["mean"] < 99
    assert vmaf_pictures(result, reference, model) == [log["pooled_metrics"]["vmaf"]["mean"]]


@pytest.mark.parametrize("model", list(VmafModel))
def test_videos_equal_ffmpeg_by_hand(videos, tmp_path, model):
    found = vmaf_videos(*videos, model)
    log = by_hand(*videos, model.value, tmp_path)
    assert found.mean == log["pooled_metrics"]["vmaf"]["mean"]
    assert found.frames == tuple(frame["metrics"]["vmaf"] for frame in log["frames"])
    assert len(found.frames) == 12


def test_a_real_clip_equals_ffmpeg_by_hand(shared, tmp_path):
    clip = shared / "video/onepiece_demo.mp4"
    copy = tmp_path / "copy.mp4"
    run("-i", str(clip), "-frames:v", "20", "-an", "-crf", "38", "-preset", "veryfast", str(copy))
    short = tmp_path / "short.mp4"
    run("-i", str(clip), "-frames:v", "20", "-an", "-qp", "0", "-preset", "ultrafast", str(short))
    expected = by_hand(copy, short, "vmaf_v0.6.1", tmp_path)["pooled_metrics"]["vmaf"]["mean"]
    assert vmaf_videos(copy, short).mean == expected


def test_time_stamps_do_not_matter(videos, tmp_path):
    """The same frames at another rate and start are the same frames."""
    late = tmp_path / "late.mkv"
    run("-itsoffset", "1.5", "-i", str(videos[0]), "-c", "copy", str(late))
    assert vmaf_videos(late, videos[1]).frames == vmaf_videos(*videos).frames


def test_each_picture_of_a_batch_is_a_video_of_its_own(drawn, spoiled):
    reference = torch.cat([drawn(40, 40, seed) for seed in range(2)])
    result = spoiled(reference)
    alone = [vmaf_pictures(result[i : i + 1], reference[i : i + 1])[0] for i in range(2)]
    assert vmaf_pictures(result, reference) == alone


def test_grey_pictures_and_a_border(drawn, spoiled):
    reference = drawn(48, 56, channels=1)
    result = spoiled(reference)
    cut = (..., slice(4, -4), slice(4, -4))
    assert vmaf_pictures(result, reference, border=4) == vmaf_pictures(result[cut], reference[cut])


def test_a_border_of_videos_is_cut_from_both(videos, tmp_path):
    log = by_hand(*videos, "vmaf_v0.6.1", tmp_path, "crop=150:110:5:5:exact=1")
    assert vmaf_videos(*videos, border=5).mean == log["pooled_metrics"]["vmaf"]["mean"]


def test_one_frame_more_is_refused(videos, tmp_path):
    short = tmp_path / "short.mp4"
    run("-i", str(videos[0]), "-frames:v", "11", str(short))
    with pytest.raises(InputError, match=re.escape("short.mp4 has 11 frames and it's a: reference.mp4 12")):
        vmaf_videos(short, videos[1])


def test_other_sizes_are_a_sentence(videos, tmp_path):
    small = tmp_path / "small.mp4"
    run("-i", str(videos[0]), "-vf", "scale=80:60", str(small))
    with pytest.raises(MetricUnavailable, match=r"^ffmpeg ended with code .*[.]$"):
        vmaf_videos(small, videos[1])


def test_what_is_no_video_is_refused(videos, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(InputError, match="text.mp4 cannot be read as a video: "):
        vmaf_videos(text, videos[1])
    with pytest.raises(InputError, match="no video at"):
        vmaf_videos(tmp_path / "absent.mp4", videos[1])


def test_a_playlist_cannot_reach_the_network(videos, tmp_path):
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match="cannot be read as a video"):
        vmaf_videos(playlist, videos[1])


def test_pictures_that_would_crash_libvmaf_are_refused(drawn):
    assert vmaf_pictures(drawn(17, 17), drawn(17, 17))[0] > 0
    for size in ((16, 17), (17, 16), (1, 1)):
        with pytest.raises(NotMeasurable, match=f"at least 17x17 .* {size[1]}x{size[0]}"):
            vmaf_pictures(drawn(*size), drawn(*size))


def test_nothing_is_left_behind(drawn, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    vmaf_pictures(drawn(32, 32), drawn(32, 32))
    assert not list(tmp_path.iterdir())
    with pytest.raises(MetricUnavailable, match="stopped after 1e-06 seconds"):
        vmaf_pictures(drawn(32, 32), drawn(32, 32), timeout=1e-6)
    assert not list(tmp_path.iterdir())


def test_an_ffmpeg_without_libvmaf_is_named(drawn, monkeypatch, tmp_path):
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho \"[AVFilterGraph @ 0x1] No such filter: 'libvmaf'\" >&2\nexit 8\n")
    fake.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(fake))
    with pytest.raises(MetricUnavailable, match="built without libvmaf; unset IMAGEIO_FFMPEG_EXE"):
        vmaf_pictures(drawn(32, 32), drawn(32, 32))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "absent"))
    with pytest.raises(MetricUnavailable, match="cannot be started"):
        vmaf_pictures(drawn(32, 32), drawn(32, 32))


def test_without_the_package_a_sentence_names_the_extra(drawn, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MetricUnavailable, match=r"python -m pip install imageio-ffmpeg"):
        vmaf_pictures(drawn(32, 32), drawn(32, 32))


def test_a_log_with_too_few_frames_is_not_trusted():
    log = {"frames": [{"metrics": {"vmaf": 90.0}}], "pooled_metrics": {"vmaf": {"mean": 90.0}}}
    assert vmaf.read_log(log, VmafModel.HD, 1).mean == 90.0
    with pytest.raises(MetricUnavailable, match="scored 1 of 2 frames"):
        vmaf.read_log(log, VmafModel.HD, 2)
    log["pooled_metrics"]["vmaf"]["mean"] = float(np.nan)
    with pytest.raises(MetricUnavailable, match="gave nan"):
        vmaf.read_log(log, VmafModel.HD, 1)


@pytest.mark.parametrize(
    ("name", "model"), [("4k", VmafModel.FOUR_K), ("NEG", VmafModel.NEG), ("vmaf_v0.6.1", VmafModel.HD)]
)
def test_models_by_name(name, model):
    assert vmaf_model(name) is model


def test_an_unknown_model_is_refused_with_the_known():
    with pytest.raises(InputError, match="no VMAF model 'phone'; use vmaf_v0.6.1, vmaf_4k_v0.6.1"):
        vmaf_model("phone")
