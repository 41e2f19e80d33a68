"""What the inputs of the video nodes mean to the job; the job on real videos is tested with it and in ComfyUI."""

from __future__ import annotations

import importlib
import io as memory
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from backplate.core.errors import InputError
from backplate.core.types import Size

if TYPE_CHECKING:
    from conftest import Host


def defaults(host: Host) -> dict[str, Any]:
    ports = host.node("video", "UpscaleVideo").define_schema().inputs
    return {port.id: port.given.get("default") for port in ports if port.id not in ("upscale_model", "video")}


def settings(host: Host, **changed: Any) -> Any:
    part = host.node("video_source", "ReadSettings")()
    return host.node("video_inputs", "settings_of")({**defaults(host), **changed}, part)


def test_the_usual_quality_and_depth_are_left_to_the_encoder(host: Host) -> None:
    encode = settings(host).encode
    assert (encode.codec, encode.crf, encode.bit_depth) == ("h264", None, 0)
    encode = settings(host, codec="hevc", crf=0, bit_depth="10").encode
    assert (encode.codec, encode.crf, encode.bit_depth) == ("hevc", 0, 10)


@pytest.mark.parametrize(
    ("choice", "reuse", "threshold"), [("exact", True, 0.0), ("within noise", True, 2.5), ("off", False, 0.0)]
)
def test_the_threshold_counts_only_within_noise(host: Host, choice: str, reuse: bool, threshold: float) -> None:
    held = settings(host, held_frames=choice, held_threshold=2.5).held
    assert (held.reuse, held.threshold) == (reuse, threshold)


def test_transparent_bars_are_refused(host: Host) -> None:
    with pytest.raises(InputError, match="no transparency"):
        settings(host, pad_with="transparent")


def test_a_trimmed_video_is_read_where_it_is_shown(host: Host, tmp_path: Path) -> None:
    class Trimmed:
        def get_stream_source(self) -> str:
            return str(tmp_path / "clip.mp4")

        def get_active_trim_window(self) -> tuple[float, float]:
            return 1.5, 2.0

    source, part = host.node("video_source", "part_of_video")(Trimmed())
    assert source == tmp_path / "clip.mp4"
    assert (part.start, part.seconds, part.crop) == (1.5, 2.0, None)


def test_a_cropped_video_is_read_where_it_is_shown(host: Host, tmp_path: Path) -> None:
    """Newer ComfyUI only marks a crop; the stream is that of the whole frame."""

    class Cropped:
        _VideoFromFile__crop = (9, 5, 41, 33)

        def get_stream_source(self) -> str:
            return str(tmp_path / "clip.mp4")

        def get_dimensions(self) -> tuple[int, int]:
            return 40, 32

        def has_pending_frame_edits(self) -> bool:
            return True

    _, part = host.node("video_source", "part_of_video")(Cropped())
    assert part.crop == (8, 4, 40, 32)


class Components:
    images = torch.rand(3, 8, 10, 3, generator=torch.Generator().manual_seed(1))
    frame_rate = Fraction(29.97)
    audio: Any = None


class Made:
    """As a node of another pack makes it: frames, and no stream of its own."""

    def get_components(self) -> Components:
        return Components()

    def save_to(self, path: str) -> None:
        raise AssertionError("frames that lie in memory were encoded")


def test_a_video_of_images_is_read_from_memory(host: Host) -> None:
    made = host.node("video_source", "InputImpl").VideoFromComponents

    class FromComponents(Made, made):
        def __init__(self) -> None:
            pass

    class Inherited(Made, host.node("video_source", "Input").Video):
        def get_active_trim_window(self) -> tuple[float, float]:
            return 1.0, 1.0

    for video in (FromComponents(), Inherited()):
        source, part = host.node("video_source", "part_of_video")(video)
        assert source.images is Components.images
        assert (source.rate, source.tags.matrix, source.sound) == (Fraction(2997, 100), 1, None)
        assert part == host.node("video_source", "ReadSettings")()


def test_sound_and_colours_of_a_video_of_images(host: Host) -> None:
    class Wide(Components):
        audio = {"waveform": torch.zeros(1, 2, 100), "sample_rate": 8000}

    class Video(host.node("video_source", "Input").Video):
        def get_components(self) -> Components:
            return Wide()

        def get_color_space(self) -> str:
            return "HDR PQ"

        def get_bit_depth(self) -> int:
            return 8

    source, _ = host.node("video_source", "part_of_video")(Video(), "webm")
    assert (source.sound.shape, source.sound_rate, source.sound_codec) == ((2, 100), 8000, "libopus")
    assert (source.bit_depth, source.tags.matrix, source.tags.primaries, source.tags.transfer) == (10, 9, 9, 16)


def test_the_report_looks_at_the_parts_that_are_shown(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def compare(*videos: Any, **parts: Any) -> Any:
        asked.update(videos=videos, **parts)
        raise InputError("enough")

    class Trimmed:
        def __init__(self, start: float) -> None:
            self.start = start

        def get_stream_source(self) -> Any:
            return memory.BytesIO()

        def get_active_trim_window(self) -> tuple[float, float]:
            return self.start, 1.0

    module = importlib.import_module("backplate.nodes.video_report")
    monkeypatch.setattr(module, "compare_videos", compare)
    monkeypatch.setattr(module, "probe_video", lambda source: SimpleNamespace(audio=("aac",)))
    with pytest.raises(InputError, match="enough"):
        host.node("video_report", "VideoReport").execute(Trimmed(1.0), Trimmed(2.0), Trimmed(3.0))
    starts = (asked["result_part"].start, asked["videos"][3].start, asked["reference_part"].start)
    assert starts == (1.0, 2.0, 3.0)


def test_results_lie_in_the_folder_that_was_chosen(host: Host) -> None:
    wanted = defaults(host) | {"container": "mkv", "save_to": "temp", "filename_prefix": "video/x"}
    path, _ = host.node("video_results", "result_file")(wanted, Size(64, 48))
    assert path.is_relative_to(host.folders / "temp" / "video")
    assert path.name.startswith("x_")
    assert path.suffix == ".mkv"


def test_the_size_of_the_result_can_be_told_by_its_name(host: Host) -> None:
    wanted = defaults(host) | {"filename_prefix": "video/x_%width%x%height%"}
    path, _ = host.node("video_results", "result_file")(wanted, Size(64, 48))
    assert path.name.startswith("x_64x48_")


def test_a_result_that_was_moved_away_is_made_again_once(host: Host, tmp_path: Path) -> None:
    results, wanted = host.node("video_results", "Results")(), defaults(host)
    result = tmp_path / "x_00001_.mp4"
    result.touch()
    assert results.losses(wanted) == 0
    results.remember(wanted, result)
    assert results.losses(wanted) == 0
    result.unlink()
    lost = results.losses(wanted)
    assert lost != 0
    assert results.losses(wanted) == lost
    result.touch()
    results.remember(wanted, result)
    assert results.losses(wanted) == lost


def test_names_that_are_no_unicode_can_be_shown(host: Host) -> None:
    assert host.node("comfy_host", "printable")("caf\udce9.jpg").encode() == b"caf?.jpg"


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix", "plays"),
    [
        ("h264", "yuv420p", ".mp4", True),
        ("h264_nvenc", "nv12", ".mp4", True),
        ("av1", "yuv420p10le", ".mp4", True),
        ("vp9", "yuv420p", ".webm", True),
        ("h264", "yuv420p10le", ".mp4", False),
        ("h264", "yuv444p", ".mp4", False),
        ("h264", "yuv420p", ".mkv", False),
        ("hevc", "yuv420p", ".mp4", False),
        ("prores", "yuv422p10le", ".mov", False),
        ("ffv1", "yuv420p", ".mkv", False),
    ],
)
def test_what_browsers_play(host: Host, codec: str, pixel_format: str, suffix: str, plays: bool) -> None:
    assert host.node("video", "plays_in_browsers")(codec, pixel_format, suffix) == plays
