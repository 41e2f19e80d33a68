"""The streams of a source that are copied to the result: which ones, and their packets on the result's clock."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUnknownLambdaType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from av.error import FFmpegError
from av.stream import Disposition

from .decode import ReadSettings, part_of
from .probe import JUMP_AHEAD, VideoFacts, has_running_clock

CARRIED = ("audio", "subtitle")
WITH_EDIT_LISTS = ("mp4", "mov")
"""Containers that can mark sound as decoded but not played."""

LEAD_IN = 0.1
"""Seconds of sound before the first played sample that a decoder may need, in containers that do not play them."""

JUMP = 0.1
"""Seconds by which a time stamp may go back before it means that the clock was set back, as in FFmpeg itself."""
STRAYS = 5
"""This many consecutive time stamps that are far ahead mean that the clock was reset; fewer are damaged."""
PENDING = 500
"""Most packets that wait for the pictures to reach the same clock jump."""


@dataclass(frozen=True, kw_only=True)
class Carry:
    """Which of the source's other streams are copied. ``tags``: also the file's metadata, stream titles and cover
    pictures."""

    audio: bool = True
    subtitles: bool = True
    tags: bool = True


def carried(origin: Any, carry: Carry) -> list[Any]:
    """The streams of an open source that can be copied."""
    wanted = [kind for kind, on in zip(CARRIED, (carry.audio, carry.subtitles), strict=True) if on]
    return [stream for stream in origin.streams if stream.type in wanted and not is_empty(stream)]


def is_empty(stream: Any) -> bool:
    """Whether the stream is announced without any parameters: broadcasts list sound that is not sent."""
    context = stream.codec_context
    return context is None or (stream.type == "audio" and not (context.sample_rate and context.channels))


def is_cover(stream: Any) -> bool:
    return bool(stream.type == "video" and stream.disposition & Disposition.attached_pic)


def label(stream: Any) -> str:
    """A readable name of a stream."""
    kind = {"audio": "sound", "subtitle": "subtitles"}.get(stream.type, stream.type)
    name = stream.codec_context.name if stream.codec_context is not None else "unknown"
    return f"the {kind} {name} (stream {stream.index})"


class Packets:
    """Packets of the visible part of the source, shifted to its start, in the order of the file, without damaged ones.
    ``damaged`` counts those by stream index."""

    def __init__(
        self,
        origin: Any,
        copies: list[tuple[Any, Any]],
        kind: str,
        facts: VideoFacts,
        settings: ReadSettings,
        until: float | None = None,
        video: Any = None,
    ) -> None:
        self._origin, self._video = origin, video
        self._tracks = {stream.index: _Track(stream, copy, kind) for stream, copy in copies}
        first, last = part_of(facts, settings)
        self._start = float(first * facts.time_base)
        ends = [float((last - first) * facts.time_base)] if last is not None else []
        self._end = min([*ends, until]) if until is not None else min(ends, default=None)
        self._clock = _Clock(running=has_running_clock(origin))
        self.damaged: Counter[int] = Counter()

    def __iter__(self) -> Iterator[tuple[float, Any]]:
        """(seconds, packet), with seconds that never decrease."""
        latest = 0.0
        for packet, shift in self._timed():
            track = self._tracks[packet.stream.index]
            if track.place(packet, shift - self._start, self._end, bool(self._start)):
                latest = max(latest, track.time)
                yield latest, packet

    def _timed(self) -> Iterator[tuple[Any, float]]:
        """Each packet with the offset, in seconds, of its clock at that point."""
        if not self._tracks:
            return
        streams = [track.stream for track in self._tracks.values()]
        waiting: list[Any] = []
        try:
            for packet in self._origin.demux([*filter(None, [self._video]), *streams]):
                if not packet.size:
                    continue
                if self._video is not None and packet.stream.index == self._video.index:
                    self._clock.see_picture(packet)
                    ready, waiting = waiting, []
                elif packet.is_corrupt:
                    self.damaged[packet.stream.index] += 1
                    continue
                else:
                    ready, waiting = [*waiting, packet], []
                for each in ready:
                    shift = self._clock.shift_of(each, patient=len(ready) < PENDING)
                    if shift is None:
                        waiting.append(each)
                    else:
                        yield each, shift
        except FFmpegError:
            pass  # the video's own reader reports where the source ends
        for each in waiting:
            yield each, self._clock.shift_of(each, patient=False) or 0.0


class _Clock:
    """Continues the time where a recording's clock is reset, as the reader of the pictures does: the next picture
    follows the last one. Sound that reaches such a point before the pictures waits for them."""

    def __init__(self, *, running: bool) -> None:
        self._running = running
        self._shifts = [0.0]
        self._jumps: Counter[int] = Counter()
        self._last: dict[int, float] = {}
        self._ends: dict[int, float] = {}
        self._strays: Counter[int] = Counter()
        self._shown = 0.0

    def see_picture(self, packet: Any) -> None:
        time, index = _time_of(packet), packet.stream.index
        if time is None:
            return
        pts = float((packet.pts if packet.pts is not None else packet.dts) * packet.time_base)
        last = self._last.get(index, time)
        if time < last - JUMP or (self._running and time > last + JUMP_AHEAD):
            self._jumps[index] += 1
            if self._jumps[index] == len(self._shifts):
                self._shifts.append(self._shown - pts)
        self._last[index] = time
        shift = self._shifts[self._jumps[index]]
        self._shown = max(self._shown, pts + shift + float((packet.duration or 0) * packet.time_base))

    def shift_of(self, packet: Any, *, patient: bool) -> float | None:
        """None if the packet has to wait for the pictures."""
        time, index = _time_of(packet), packet.stream.index
        if time is None:
            return self._shifts[min(self._jumps[index], len(self._shifts) - 1)]
        last = self._last.get(index, time)
        is_ahead = time > last + JUMP_AHEAD and packet.stream.type == "audio"
        self._strays[index] = self._strays[index] + 1 if is_ahead else 0
        followed = self._running and self._jumps[index] + 1 < len(self._shifts)
        if is_ahead and self._strays[index] < STRAYS and not followed:
            self._ends[index] = (end := self._ends[index]) + float((packet.duration or 0) * packet.time_base)
            return end - time
        jumped = time < last - JUMP or (self._running and is_ahead)
        jumps = self._jumps[index] + jumped
        if jumps == len(self._shifts):
            if patient:
                return None
            self._shifts.append(self._ends.get(index, 0.0) - time)
        self._jumps[index], self._last[index] = jumps, time
        shift = self._shifts[jumps]
        self._ends[index] = time + shift + float((packet.duration or 0) * packet.time_base)
        return shift


def _time_of(packet: Any) -> float | None:
    stamp = packet.dts if packet.dts is not None else packet.pts
    return None if stamp is None else float(stamp * packet.time_base)


class _Track:
    """One stream on its way into the result."""

    def __init__(self, stream: Any, copy: Any, kind: str) -> None:
        self.stream, self._copy = stream, copy
        self.time = 0.0
        self._dts: int | None = None
        self._next: int | None = None
        lists = kind in WITH_EDIT_LISTS
        self._first = -_pre_skip(stream)  # players skip this in every container
        self._lead_in = LEAD_IN if lists else -self._first
        self._keeps_early = lists
        self._is_text = stream.type == "subtitle"

    def place(self, packet: Any, shift: float, end: float | None, cut: bool) -> bool:
        """Shifts the packet to its time in the result. False if it is not played there."""
        unit = packet.time_base
        if packet.pts is None:
            if self._next is None:
                return False
            packet.pts = packet.dts = self._next
        else:
            moved = round(shift / unit)
            packet.pts += moved
            packet.dts = packet.pts if packet.dts is None else packet.dts + moved
        self._next = packet.pts + (packet.duration or 0)
        time, length = float(packet.pts * unit), float((packet.duration or 0) * unit)
        if (cut and time + length <= 0) or (end is not None and time >= end):
            return False
        if packet.is_discard and (time >= 0 or time < -self._lead_in - 0.001):
            return False
        if time < self._first and (self._is_text or not self._keeps_early):
            self._begin_in_time(packet)
        if end is not None and self._is_text and time + length > end:
            packet.duration = max(1, int(end / unit) - packet.pts)
        self.time = max(self.time, time)
        self._grow(packet)
        packet.stream = self._copy
        return True

    def _begin_in_time(self, packet: Any) -> None:
        """Otherwise everything else, even the pictures, would be delayed by the same time."""
        if self._is_text and packet.duration:
            packet.duration += packet.pts
        packet.pts = packet.dts = round(self._first / packet.time_base)

    def _grow(self, packet: Any) -> None:
        """Makes decoding times increase in the units of the result, even for damaged sources."""
        ratio, unit = packet.time_base / self._copy.time_base, self._copy.time_base
        packet.pts, packet.dts = round(packet.pts * ratio), round(packet.dts * ratio)
        packet.duration, packet.time_base = round((packet.duration or 0) * ratio), unit
        if self._dts is not None and packet.dts <= self._dts and not self._is_text:
            packet.dts = self._dts + 1
        packet.pts = max(packet.pts, packet.dts)
        self._dts = packet.dts


def _pre_skip(stream: Any) -> float:
    """Seconds by which an Opus stream starts early, according to its own header (RFC 7845, section 5.1)."""
    header = stream.codec_context.extradata or b""
    return int.from_bytes(header[10:12], "little") / 48_000 if header[:8] == b"OpusHead" else 0.0
