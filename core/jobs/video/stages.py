"""The outer stages of the video job, each on its own thread: reading frames, and writing segments."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from ...media.video.decode import Frame, ReadSettings, read_video
from ...media.video.encode import Encoding, SegmentEncoder
from ...media.video.probe import Source, VideoFacts
from .channel import Channel, Closed
from .frame import Finished
from .latency import Latency
from .report import STAGES
from .segments import Counts, SegmentStore


class Reader(threading.Thread):
    """Decodes ahead by as many frames as the channel holds. ``error`` is why it stopped early."""

    def __init__(self, source: Source, facts: VideoFacts, settings: ReadSettings, room: int) -> None:
        super().__init__(name="backplate read", daemon=True)
        self._frames = read_video(source, facts, settings)
        self.channel: Channel[tuple[Frame, float]] = Channel(room)
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for frame, seconds in self._timed():
                self.channel.put((frame, seconds))
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001  given to the thread that runs the job
            self.error = error
        finally:
            self.channel.end()

    def _timed(self) -> Iterator[tuple[Frame, float]]:
        started = time.perf_counter()
        for frame in self._frames:
            yield frame, time.perf_counter() - started
            started = time.perf_counter()


class Writer(threading.Thread):
    """Encodes finished frames and closes a segment every ``segment_frames``, and one for the rest at the end. ``error``
    is why it stopped early; segments that were already closed stay."""

    def __init__(self, store: SegmentStore, encoding: Encoding, segment_frames: int, room: int) -> None:
        super().__init__(name="backplate write", daemon=True)
        self._store, self._encoding, self._segment_frames = store, encoding, segment_frames
        self.channel: Channel[Finished] = Channel(room)
        self.latency = {name: Latency() for name in STAGES}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            frames = iter(self.channel)
            while (first := next(frames, None)) is not None:
                self._write_segment(first, frames)
        except BaseException as error:  # noqa: BLE001  given to the thread that runs the job
            self.error = error
        finally:
            self.channel.cut()

    def _write_segment(self, first: Finished, rest: Iterator[Finished]) -> None:
        counts = Counts()
        with SegmentEncoder(self._store.next_file(), self._encoding) as segment:
            frame: Finished | None = first
            while frame is not None:
                started = time.perf_counter()
                segment.write(frame.pixels, frame.pts, frame.duration)
                self._time(frame, time.perf_counter() - started)
                counts += frame.counts
                frame = next(rest, None) if counts.frames < self._segment_frames else None
        self._store.close(segment.frames, segment.reorder, counts)

    def _time(self, frame: Finished, seconds: float) -> None:
        steps = (*frame.seconds, seconds)
        for name, value in zip(STAGES, (*steps, sum(steps)), strict=True):
            self.latency[name].add(value)
