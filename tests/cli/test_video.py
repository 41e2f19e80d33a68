"""``backplate video`` with the small model on clips made here; what the job itself does is tested with it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import clips
import pytest

DEADLINE = 120.0


def write_clip(path: Path, frames: int, size: tuple[int, int] = (48, 32)) -> Path:
    """Uneven frame times and a tone."""
    pictures = [clips.drawing(number, *size) for number in range(frames)]
    pts = [512 * number + 100 * (number % 3) for number in range(frames)]
    return clips.write_clip(path, pictures=pictures, pts=pts, options={"preset": "ultrafast"}, audio=True)


def test_a_video_comes_out_with_its_report(backplate: Callable, model: Path, tmp_path: Path):
    source, output, report = write_clip(tmp_path / "in.mp4", 12), tmp_path / "out.mp4", tmp_path / "report.json"
    done = backplate(
        "video", source, "-o", output, "-m", model, "--size", "72x48", "--preset", "ultrafast", "--report", report
    )
    assert done.exit_code == 0, done.stderr
    assert "12 frames" in done.stderr
    assert clips.times_of(output) == clips.times_of(source)
    assert clips.packets_of(output, "audio") == clips.packets_of(source, "audio")
    facts = json.loads(report.read_text())
    assert (facts["size"], facts["frames"]) == ("72x48", 12)
    assert set(facts["milliseconds"]) == {"read", "upscale", "encode", "total"}
    backplate("video", source, "-o", output, "-m", model, "--size", "72x48", code=1, says="already exists; --overwrite")


def wait_for_segment(process: subprocess.Popen[str], folder: Path, number: int) -> None:
    """Until that segment is finished, or the process has ended."""
    deadline = time.monotonic() + DEADLINE
    while not (folder / f"{number:06}.json").is_file():
        assert time.monotonic() < deadline, "no segment was finished in time"
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"the run ended before it could be killed: {process.stderr and process.stderr.read()}")


def test_three_times_killed_and_resumed_gives_what_one_run_gives(
    backplate: Callable, program: Callable, model: Path, tmp_path: Path
):
    source, output, whole = write_clip(tmp_path / "in.mp4", 150, (160, 120)), tmp_path / "out.mp4", tmp_path / "w.mp4"
    options = ["-m", model, "--size", "240x180", "--preset", "ultrafast", "--segment-frames", "8", "--device", "cpu"]
    for number in (0, 3, 6):
        process = program("video", source, "-o", output, *options)
        wait_for_segment(process, tmp_path / ".out.mp4.parts", number)
        process.kill()
        process.communicate()
        assert not output.exists()
    backplate("video", source, "-o", output, *options, "--report", tmp_path / "report.json", code=0)
    facts = json.loads((tmp_path / "report.json").read_text())
    assert 7 * 8 <= facts["frames_from_earlier_run"] < 150
    assert facts["frames"] == 150
    assert backplate("video", source, "-o", whole, *options).exit_code == 0
    assert clips.times_of(output) == clips.times_of(whole) == clips.times_of(source)
    assert clips.packets_of(output, "audio") == clips.packets_of(whole, "audio") == clips.packets_of(source, "audio")
    assert clips.packets_of(output, "video") == clips.packets_of(whole, "video")
    assert not (tmp_path / ".out.mp4.parts").exists()


def test_the_budget_is_measured_first_and_live_needs_a_model_that_holds_it(
    backplate: Callable, model: Path, tmp_path: Path
):
    source = write_clip(tmp_path / "in.mp4", 6)
    (tmp_path / "none").mkdir()
    common = ["-m", model, "--size", "96x64", "--models-dir", tmp_path / "none"]
    easy = backplate("video", source, "-o", tmp_path / "a.mp4", *common, "--budget-ms", 60_000, "--live", code=0)
    assert "the budget of 60000 ms holds" in easy.stderr
    assert "flicker" not in easy.stderr
    over = backplate("video", source, "-o", tmp_path / "b.mp4", *common, "--budget-ms", 0.001, code=0)
    assert "over the budget of 0.001 ms" in over.stderr
    live = backplate("video", source, "-o", tmp_path / "c.mp4", *common, "--budget-ms", 0.001, "--live", code=1)
    assert "none is fast enough: backplate-lite-x2 in " in live.stderr
    assert not (tmp_path / "c.mp4").exists()


def test_a_damaged_model_of_the_catalogue_is_left_out_of_the_trial(backplate: Callable, model: Path, tmp_path: Path):
    source, folder = write_clip(tmp_path / "in.mp4", 2), tmp_path / "models"
    folder.mkdir()
    (folder / "RealESRGAN_x4plus.pth").write_bytes(b"PK\3\4 and no more")
    words = ["-m", model, "--size", "96x64", "--models-dir", folder, "--budget-ms", 0.001]
    done = backplate("video", source, "-o", tmp_path / "out.mp4", *words, code=0)
    assert "A model is left out of the trial: RealESRGAN_x4plus.pth is incomplete or damaged" in done.stderr
    assert "; backplate-lite-x2 in " in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--live"], "give --budget-ms"),
        (["--bitrate", "fast"], "write it as 8M"),
        (["--encoder-option", "tune"], "write it as NAME=VALUE"),
        (["--bit-depth", "9"], "choose one of 8, 10"),
        (["--background", "transparent"], "no transparency"),
        (["--size", "wide"], "write it as"),
        (["--held-threshold", "99"], "not possible; choose 0"),
    ],
)
def test_a_command_line_that_makes_no_sense(
    words: list[str], sentence: str, backplate: Callable, model: Path, tmp_path: Path
):
    backplate("video", tmp_path / "in.mp4", "-o", tmp_path / "out.mp4", "-m", model, *words, code=2, says=sentence)


def test_a_cut_off_video_is_kept_where_asked_and_still_a_failure(backplate: Callable, model: Path, tmp_path: Path):
    source = clips.cut_off(write_clip(tmp_path / "whole.mkv", 40), tmp_path / "cut.mp4", 0.75)
    backplate("video", source, "-o", tmp_path / "out.mp4", "-m", model, code=1, says="cut off")
    backplate("video", source, "-o", tmp_path / "out.mp4", "-m", model, "--keep-partial", code=1)
    assert 10 < len(clips.times_of(tmp_path / "out.mp4")) < 40


def test_a_report_that_cannot_be_written_is_said_before_the_work(backplate: Callable, model: Path, tmp_path: Path):
    source, output = write_clip(tmp_path / "in.mp4", 4), tmp_path / "out.mp4"
    (tmp_path / "file").write_text("a file")
    done = backplate("video", source, "-o", output, "-m", model, "--report", tmp_path / "file" / "report.json", code=1)
    assert "report.json cannot be written" in done.stderr
    assert not output.exists()
