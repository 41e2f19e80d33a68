"""What does not change is not computed again, and flicker is what the model adds to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.image.frame_difference import FrameReuse
from backplate.core.jobs.video.run import run_video
from backplate.core.tiled.row_blocks import TileSettings
from clips import (
    Nearest,
    drawing,
    packets_of,
    write_clip,
)
from small_jobs import job


def held_clip(tmp_path: Path) -> Path:
    """Every drawing is shown twice, without loss."""
    pictures = [drawing(number // 2) for number in range(20)]
    options = {"qp": "0"}
    return write_clip(tmp_path / "held.mp4", pictures=pictures, pixel_format="yuv444p", options=options)


def test_held_frames_are_computed_once_and_the_result_is_the_same(tmp_path: Path):
    source = held_clip(tmp_path)
    with_reuse, without = Nearest(), Nearest()
    report = run_video(job(source, tmp_path / "a.mp4", segment_frames=20), with_reuse)
    run_video(job(source, tmp_path / "b.mp4", segment_frames=20, held=FrameReuse(reuse=False)), without)
    assert (with_reuse.calls, without.calls) == (10, 20)
    assert report.counts.reused == 10
    assert packets_of(tmp_path / "a.mp4", "video") == packets_of(tmp_path / "b.mp4", "video")


@pytest.mark.parametrize("together", [1, 4])
def test_only_tiles_that_changed_are_computed(together: int, tmp_path: Path):
    still = drawing(0, 128, 96)
    pictures = []
    for number in range(6):
        picture = still.copy()
        picture[80:90, 100 + number : 110 + number] = 255
        pictures.append(picture)
    source = write_clip(
        tmp_path / "mouth.mp4", pictures=pictures, pixel_format="yuv444p", options={"qp": "0"}
    )  # fmt: skip
    with_reuse, without = Nearest(budget=40 * 40, batch_size=together), Nearest(budget=40 * 40)
    report = run_video(job(source, tmp_path / "a.mp4", segment_frames=20), with_reuse)
    run_video(job(source, tmp_path / "b.mp4", segment_frames=20, held=FrameReuse(reuse=False)), without)
    assert report.counts.tiles_run == with_reuse.tiles
    assert report.counts.tiles_reused + with_reuse.tiles == without.tiles
    assert with_reuse.tiles < without.tiles / 2
    assert packets_of(tmp_path / "a.mp4", "video") == packets_of(tmp_path / "b.mp4", "video")


def test_noise_under_the_threshold_counts_as_held(tmp_path: Path):
    generator = np.random.default_rng(5)
    pictures = [
        (drawing(number // 2).astype(int) + generator.integers(-1, 2, (48, 64, 3))).clip(0, 255).astype(np.uint8)
        for number in range(20)
    ]
    source = write_clip(tmp_path / "noisy.mp4", pictures=pictures, pixel_format="yuv444p", options={"qp": "0"})
    exact = run_video(job(source, tmp_path / "a.mp4", segment_frames=20), Nearest())
    noise = run_video(job(source, tmp_path / "b.mp4", segment_frames=20, held=FrameReuse(threshold=3.0)), Nearest())
    assert exact.counts.reused == 0
    assert noise.counts.reused == 10


def test_flicker_is_what_the_model_adds_where_nothing_moves(tmp_path: Path):
    class Flickering(Nearest):
        def __call__(self, picture: torch.Tensor) -> torch.Tensor:
            lighter = (self.calls % 2) * 10 / 255
            return (super().__call__(picture) + lighter).clamp(0, 1)

    source = write_clip(tmp_path / "in.mp4", pictures=[drawing(0)] * 8, options={"qp": "0"})
    changed = {"held": FrameReuse(reuse=False)}
    colours = TileSettings(keep_colours=True)
    report = run_video(job(source, tmp_path / "a.mp4", **changed), Flickering())
    kept = run_video(job(source, tmp_path / "c.mp4", tiles=colours, **changed), Flickering())
    steady = run_video(job(source, tmp_path / "b.mp4", **changed), Nearest())
    assert report.as_dict()["flicker"] == pytest.approx(10, abs=0.5)
    assert kept.as_dict()["flicker"] < 0.5, "the colours are those of the source in every frame"
    assert steady.as_dict()["flicker"] == pytest.approx(0, abs=0.01)
