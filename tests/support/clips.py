"""Small videos, drawn and encoded here."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from backplate.core.types import SizeRule
from backplate.core.upscaler import Halo, UpscalerSpec

TIME_BASE = Fraction(1, 12800)
STEP = 512
"""25 frames a second."""

AUDIO_RATE = 16000


class Nearest:
    """The model that doubles pixels; counts how often it runs, and on how many tiles."""

    def __init__(self, scale: int = 2, budget: int = 0, batch_size: int = 1) -> None:
        self.spec = UpscalerSpec(
            name="nearest",
            scale=scale,
            input_channels=3,
            output_channels=3,
            size_rule=SizeRule(),
            halo=Halo(pixels=2, exact=True),
            max_tile_pixels=budget,
            batch_size=batch_size,
        )
        self.calls = self.tiles = 0

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.tiles += len(picture)
        scale = self.spec.scale
        return picture.float().repeat_interleave(scale, 2).repeat_interleave(scale, 3)


def drawing(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """uint8 (H, W, 3): a smooth ground with a square that moves with ``number``."""
    rows, columns = np.mgrid[0:height, 0:width]
    ground = np.stack([40 + columns, 60 + rows, 90 + (rows + columns) // 2], axis=-1).clip(0, 200)
    left = (3 * number) % (width - 12)
    ground[10:22, left : left + 12] = (220, 60, 40)
    return ground.astype(np.uint8)


def write_clip(
    path: Path,
    *,
    pictures: Sequence[np.ndarray] | None = None,
    pts: Sequence[int] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    tags: tuple[int, int, int, int] | None = (1, 1, 1, 1),
    time_base: Fraction = TIME_BASE,
    audio: bool = False,
    aspect: Fraction | None = None,
    rotation: int = 0,
) -> Path:
    """``tags`` are range, matrix, primaries and transfer. Audio is a tone from 0 to the end of the pictures."""
    pictures = [drawing(number) for number in range(20)] if pictures is None else pictures
    pts = [STEP * number for number in range(len(pictures))] if pts is None else pts
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "12", **(options or {})})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = stream.time_base = time_base
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if tags:
            context = stream.codec_context
            context.color_range, context.colorspace, context.color_primaries, context.color_trc = tags
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=AUDIO_RATE, layout="mono") if audio else None
        for number, (picture, stamp) in enumerate(zip(pictures, pts, strict=True)):
            deep = picture.dtype == np.uint16
            frame = av.VideoFrame.from_ndarray(picture, format="rgb48le" if deep else "rgb24")
            matrix, levels = (tags[1], tags[0]) if tags else (5, 1)
            frame = frame.reformat(
                format=pixel_format, src_color_range=2, dst_colorspace=5 if matrix == 6 else matrix,
                dst_color_range=levels,
            )  # fmt: skip
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
            if sound:
                container.mux(sound.encode(tone(number)))
        container.mux(stream.encode(None))
        if sound:
            container.mux(sound.encode(None))
    return path


def tone(number: int, rate: int = AUDIO_RATE, hertz: float = 440.0) -> av.AudioFrame:
    count = rate // 25
    times = (np.arange(count) + number * count) / rate
    frame = av.AudioFrame.from_ndarray((9000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)[None], "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, number * count, Fraction(1, rate)
    return frame


def times_of(path: Path) -> list[Fraction]:
    """Seconds at which the frames are shown, in order of showing."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(container.streams.video[0])]


def pictures_of(path: Path, form: str = "rgb24") -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=form) for frame in container.decode(container.streams.video[0])]


def packets_of(path: Path, kind: str = "audio") -> list[tuple[Fraction, bytes]]:
    """(seconds, content) of every packet of the first stream of that kind."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return [(each.pts * each.time_base, bytes(each)) for each in container.demux(stream) if each.size]


def tags_of(path: Path) -> tuple[int, int, int, int]:
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        found = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
        return tuple(int(each) for each in found)


def cut_off(whole: Path, path: Path, share: float) -> Path:
    """That part of its bytes. The header promises all frames; the file ends in the middle of them."""
    fast = path.with_suffix(".fast.mp4")
    with av.open(str(whole)) as origin, av.open(str(fast), "w", options={"movflags": "faststart"}) as container:
        copies = {stream.index: container.add_stream_from_template(stream) for stream in origin.streams}
        for packet in origin.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    content = fast.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
