"""What the inputs of the video nodes mean to the job; the job on real videos is tested with it and in ComfyUI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from backplate.core.types import Size
from backplate.core.upscaler import InputError

if TYPE_CHECKING:
    from conftest import Host


def defaults(host: Host) -> dict[str, Any]:
    ports = host.node("video", "UpscaleVideo").define_schema().inputs
    return {port.id: port.options.get("default") for port in ports if port.id not in ("upscale_model", "video")}


def settings(host: Host, **changed: Any) -> Any:
    part = host.node("video", "ReadSettings")()
    return host.node("video", "settings_of")({**defaults(host), **changed}, part)


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

    source, part = host.node("video", "part_of_video")(Trimmed())
    assert source == tmp_path / "clip.mp4"
    assert (part.start, part.seconds, part.untagged_matrix) == (1.5, 2.0, 0)


def test_results_lie_in_the_folder_that_was_chosen(host: Host) -> None:
    wanted = defaults(host) | {"container": "mkv", "save_to": "temp", "filename_prefix": "video/x"}
    path, _ = host.node("video", "result_file")(wanted, Size(64, 48))
    assert path.is_relative_to(host.folders / "temp" / "video")
    assert path.name.startswith("x_")
    assert path.suffix == ".mkv"


def test_the_size_of_the_result_can_be_told_by_its_name(host: Host) -> None:
    wanted = defaults(host) | {"filename_prefix": "video/x_%width%x%height%"}
    path, _ = host.node("video", "result_file")(wanted, Size(64, 48))
    assert path.name.startswith("x_64x48_")


def test_a_result_that_was_moved_away_is_made_again_once(host: Host, tmp_path: Path) -> None:
    results, wanted = host.node("video", "Results")(), defaults(host)
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
    assert host.node("host", "printable")("caf\udce9.jpg").encode() == b"caf?.jpg"
