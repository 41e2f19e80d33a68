"""Files whose streams are put together packet by packet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from clips import AUDIO_RATE, STEP, TIME_BASE, drawing, tone


def remux(
    source: Path,
    path: Path,
    *,
    shift: float = 0.0,
    change: Callable[[Any], bool] | None = None,
    metadata: dict[str, str] | None = None,
    prepare: Callable[[Any, dict[int, Any]], None] | None = None,
) -> Path:
    """A copy of all packets, later by ``shift`` seconds; ``change`` says of each whether it is kept."""
    with av.open(str(source)) as origin, av.open(str(path), "w") as container:
        copies = {stream.index: container.add_stream_from_template(stream) for stream in origin.streams}
        container.metadata.update(metadata or {})
        if prepare:
            prepare(container, copies)
        for packet in origin.demux():
            if not packet.size or (change and not change(packet)):
                continue
            moved = round(shift / packet.time_base)
            packet.pts += moved
            packet.dts = packet.pts if packet.dts is None else packet.dts + moved
            packet.stream = copies[packet.stream.index]
            container.mux(packet)
    return path


def with_sound(path: Path, codec: str, *, rate: int = AUDIO_RATE, video: str = "libx264") -> Path:
    """Pictures at 25 a second, and a tone in this codec."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if video == "libx264":
            stream.codec_context.time_base = stream.time_base = TIME_BASE
        sound = container.add_stream(codec, rate=rate, layout="mono")
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(drawing(number), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number * STEP, TIME_BASE
            container.mux(stream.encode(frame))
            container.mux(sound.encode(tone(number, rate)))
        for each in (stream, sound):
            container.mux(each.encode(None))
    return path


def damaged(source: Path, path: Path, places: Sequence[int], pid: int = 257) -> Path:
    """A transport stream without the packets of that stream that have these numbers, as a bad signal leaves it."""
    content = source.read_bytes()
    packets = [content[start : start + 188] for start in range(0, len(content), 188)]
    kept, seen = [], 0
    for packet in packets:
        own = ((packet[1] & 0x1F) << 8 | packet[2]) == pid
        if not (own and seen in places):
            kept.append(packet)
        seen += own
    path.write_bytes(b"".join(kept))
    return path


def two_tones(path: Path) -> Path:
    """A second of 200 Hz that an edit list cuts away, then a second of 3000 Hz with the pictures."""
    plain = path.with_name(f"plain-{path.name}")
    with av.open(str(plain), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=AUDIO_RATE, layout="mono")
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(drawing(number), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
            container.mux(sound.encode(tone(number, AUDIO_RATE, 200.0 if number < 25 else 3000.0)))
        for each in (stream, sound):
            container.mux(each.encode(None))
    return remux(
        plain,
        path,
        shift=-1.0,
        change=lambda packet: packet.stream.type == "audio" or packet.pts * packet.time_base >= 1,
    )


def share_of_low_tone(path: Path) -> float:
    """Seconds of sound in which 200 Hz is the louder tone, discarded packets not played."""
    low = 0.0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray()[0]
            spectrum = np.abs(np.fft.rfft(samples))
            bins = np.fft.rfftfreq(len(samples), 1 / frame.sample_rate)
            if spectrum.max() > 1 and bins[spectrum.argmax()] < 1000:
                low += len(samples) / frame.sample_rate
    return low
