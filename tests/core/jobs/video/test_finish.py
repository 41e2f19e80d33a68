"""Dither and grain of video: other noise in every frame, the same when the frame is made again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from backplate.core.image.canvas import Background
from backplate.core.image.dither import Dither
from backplate.core.image.fit import Fit, Target
from backplate.core.image.frame_difference import FrameReuse
from backplate.core.image.grain import measure_grain
from backplate.core.jobs.video.frame import FrameSettings, FrameUpscaler
from backplate.core.jobs.video.run import run_video
from backplate.core.media.video.decode import Frame
from backplate.core.progress import Progress
from backplate.core.tiled.pipeline import TileSettings
from backplate.core.types import Size
from clips import Nearest, pictures_of, write_clip
from small_jobs import job

SIZE = Size(160, 120)


class Smooth(Nearest):
    """Takes the grain away, as models do."""

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        mean = torch.nn.functional.avg_pool2d(pictures, 9, 1, 4, count_include_pad=False)
        return super().__call__(mean)


def frames(strength: float, count: int = 3) -> list[Frame]:
    """Noise over a slow gradient, in 16 bits, of which 65280 is white."""
    rng = np.random.default_rng(3)
    ramp = np.linspace(0.4, 0.45, SIZE.width)[None, :, None]
    result: list[Frame] = []
    for number in range(count):
        noise = rng.standard_normal((SIZE.height, SIZE.width, 1)) * strength / 255
        pixels = np.broadcast_to((ramp + noise) * 65280, (SIZE.height, SIZE.width, 3)).round().astype(np.uint16)
        result.append(Frame(pixels=pixels, white=65280, pts=number * 512, duration=512, damaged=False))
    return result


def finisher(**changed: object) -> FrameUpscaler:
    settings = {
        "shown": SIZE, "target": Target(fit=Fit.FACTOR, factor=2), "background": Background(), "tiles": TileSettings(),
        "held": FrameReuse(), "device": torch.device("cpu"), "deep": False, "flicker": False,
    }  # fmt: skip
    return FrameUpscaler(Smooth(), FrameSettings(**(settings | changed)), Progress())


def as_picture(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 255


def test_grain_comes_back_other_in_every_frame() -> None:
    clip = frames(5)
    upscaler = finisher(grain=True)
    results = [upscaler.finish(frame, 0.0).pixels for frame in clip]
    found = measure_grain(as_picture(results[0]))
    assert found is not None
    assert abs(found.strength - 5) < 1.5
    first, second = (result[..., 0].astype(float) - result[..., 0].mean(axis=0) for result in results[:2])
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
    again = finisher(grain=True)
    assert np.array_equal(again.finish(clip[0], 0.0).pixels, results[0])
    assert np.array_equal(again.finish(clip[1], 0.0).pixels, results[1])


def test_without_grain_in_the_source_nothing_changes() -> None:
    clip = frames(0)
    plain = finisher().finish(clip[0], 0.0).pixels
    assert np.array_equal(finisher(grain=True).finish(clip[0], 0.0).pixels, plain)


def test_a_deep_gradient_is_dithered_other_in_every_frame() -> None:
    clip = frames(0)
    steps = {}
    for dither in (Dither.OFF, Dither.AUTO):
        row = finisher(dither=dither).finish(clip[0], 0.0).pixels[60, :, 0].astype(int)
        steps[dither] = np.count_nonzero(np.diff(row))
    assert steps[Dither.OFF] < 20 < 80 < steps[Dither.AUTO]
    upscaler = finisher(dither=Dither.AUTO, held=FrameReuse(reuse=False))
    first, second = (upscaler.finish(frame, 0.0).pixels for frame in clip[:2])
    assert not np.array_equal(first, second)


def test_auto_dithers_deep_sources_into_8_bits_only(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(100, 108, 64)[None, :, None], (48, 64, 3)).astype(np.uint8)
    source = write_clip(tmp_path / "8.mp4", pictures=[ramp] * 3, pixel_format="yuv444p", options={"qp": "0"})
    for name, settings in (("auto", {}), ("off", {"dither": Dither.OFF})):
        run_video(job(source, tmp_path / f"{name}.mp4", **settings), Nearest())
    auto, off = (pictures_of(tmp_path / f"{name}.mp4") for name in ("auto", "off"))
    assert all(np.array_equal(one, other) for one, other in zip(auto, off, strict=True))
