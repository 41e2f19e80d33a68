"""Clips for ``video.py``: drawn clips with known changes from frame to frame, and other clips with each frame held
longer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw

RATE = 25
CUT_EVERY = 75
CELL = 4
FAST = {"preset": "veryfast", "crf": "16"}
LOSSLESS = {"preset": "veryfast", "qp": "0"}

Draw = Callable[[int, int, int], np.ndarray]


@lru_cache(maxsize=1)
def moving(width: int, height: int, number: int) -> np.ndarray:
    """Texture that drifts by 4 pixels a frame, a running line of text, a new scene every three seconds: no part of a
    frame repeats the frame before."""
    scene, step = divmod(number, CUT_EVERY)
    generator = np.random.default_rng(scene)
    cells = generator.integers(0, 90, (height // CELL + 2, width // CELL + CUT_EVERY + 2), dtype=np.uint8)
    shown = cells[:, step : step + width // CELL + 1]
    grown = np.kron(shown, np.ones((CELL, CELL), np.uint8))[:height, :width]
    colour = generator.integers(40, 160, 3)
    image = Image.fromarray((colour + grown[..., None]).clip(0, 255).astype(np.uint8))
    text = "Backplate 720p 0123456789 " * 4
    ImageDraw.Draw(image).text((-3 * step, height // 2), text, fill=(255, 255, 255), font_size=max(10, height // 24))
    return np.asarray(image)


def on_twos(width: int, height: int, number: int) -> np.ndarray:
    """``moving``, each drawing for two frames."""
    return moving(width, height, number // 2)


def small_part(width: int, height: int, number: int) -> np.ndarray:
    """One picture, in which a patch of an eighth of the width changes in every frame, like a mouth."""
    picture = moving(width, height, 0).copy()
    side, left, top = width // 8, width // 8, height // 8
    picture[top : top + side, left : left + side] = moving(side, side, number)
    return picture


KINDS: dict[str, Draw] = {"every frame new": moving, "drawn on twos": on_twos, "a small part moves": small_part}


def make_clip(path: Path, kind: str, size: tuple[int, int], frames: int) -> Path:
    pictures = (KINDS[kind](*size, number) for number in range(frames))
    _encode(path, (av.VideoFrame.from_ndarray(each, format="rgb24") for each in pictures), size, Fraction(RATE))
    return path


def held_version(source: Path, path: Path) -> Path:
    """As long as the source; of each two frames the first is shown twice. Encoded losslessly, so that the held frames
    are known."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        size, rate = (stream.width, stream.height), stream.average_rate or Fraction(RATE)
        _encode(path, _every_second_twice(container.decode(stream)), size, Fraction(rate), LOSSLESS)
    return path


def _every_second_twice(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    kept: Any = None
    for number, frame in enumerate(frames):
        kept = frame.to_ndarray(format="rgb24") if number % 2 == 0 else kept
        yield av.VideoFrame.from_ndarray(kept, format="rgb24")


def _encode(
    path: Path,
    frames: Iterable[av.VideoFrame],
    size: tuple[int, int],
    rate: Fraction,
    options: dict[str, str] = FAST,
) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1
        for number, frame in enumerate(frames):
            converted = frame.reformat(format="yuv420p", src_color_range=2, dst_colorspace=1, dst_color_range=1)
            converted.pts, converted.time_base = number, 1 / rate
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
