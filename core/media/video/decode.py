"""The frames of a video in display order, as RGB with their time stamps, a few at a time."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUnknownLambdaType=false

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...errors import InputError
from ...types import Box, Size
from .colour import WHITE_RGB, ColourConverter, Pixels
from .images import ImageVideo
from .probe import (
    JUMP_AHEAD,
    Source,
    VideoFacts,
    has_running_clock,
    opened,
    reason_of,
    stated_end,
    video_stream,
)

SEEKABLE = ("mov", "matroska")
"""Containers in which seeking to a time stamp is exact enough to continue from there."""


class BrokenVideo(InputError):
    """The file turned out to be damaged after frames had been read. ``fact`` states only that."""

    def __init__(self, fact: str) -> None:
        super().__init__(f"{fact}; ask for a partial result to keep what was decoded (--keep-partial).")
        self.fact = fact


@dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """``start`` and ``seconds`` select a part; ``seconds`` 0 is to the end. Only frames after the time stamp ``after``,
    in units of the stream's time base, are read. ``deinterlace`` deinterlaces frames (bwdif). ``crop`` is a part of the
    upright frame in stored pixels, to be passed to ``probe_video`` as well."""

    start: float = 0.0
    seconds: float = 0.0
    after: int | None = None
    deinterlace: bool = False
    crop: Box | None = None


@dataclass(frozen=True)
class Frame:
    """``pixels`` (H, W, 3) RGB as stored, in which ``white`` is 1.0; upright and cropped. ``pts`` and ``duration`` are
    in units of the stream's time base, ``pts`` from the start of the selected part."""

    pixels: Pixels
    white: int
    pts: int
    duration: int
    damaged: bool


def check_scanning(facts: VideoFacts, settings: ReadSettings) -> None:
    """Raises ``InputError`` for interlaced video without ``deinterlace``."""
    if facts.interlaced and not settings.deinterlace:
        raise InputError(
            f"{facts.name} is interlaced: each {facts.stored} frame holds two moments in alternate lines, whose "
            "combing would be enlarged; deinterlace it (--deinterlace)."
        )


def _check_frame(frame: VideoFrame, facts: VideoFacts, settings: ReadSettings, number: int) -> None:
    if Size(frame.width, frame.height) != facts.stored:
        raise InputError(
            f"{facts.name} changes from {facts.stored} to {frame.width}x{frame.height} at frame {number}; split it "
            "into parts of one size."
        )
    if frame.interlaced_frame and not settings.deinterlace:
        raise InputError(
            f"{facts.name} becomes interlaced at frame {number}; deinterlace it (--deinterlace), which leaves its "
            "other frames unchanged."
        )


def part_of(facts: VideoFacts, settings: ReadSettings) -> tuple[int, int | None]:
    """The first time stamp of the selected part and the first after it, in units of the time base."""
    first, end = (int(seconds / facts.time_base) for seconds in (settings.start, settings.start + settings.seconds))
    return facts.origin + first, facts.origin + end if settings.seconds else None


def read_video(source: Source, facts: VideoFacts, settings: ReadSettings) -> Iterator[Frame]:
    """Yields the frames. Time stamps that are missing or do not increase are repaired from the frame rate.

    Raises ``InputError`` if the size changes or frames become interlaced, and ``BrokenVideo`` if the file ends before
    the time in its header or cannot be decoded further; all frames up to that point have been yielded.
    """
    check_scanning(facts, settings)
    if isinstance(source, ImageVideo):
        yield from _read_images(source, facts, settings)
        return
    first, last = part_of(facts, settings)
    step = max(1, round(1 / (facts.rate * facts.time_base)))
    converter = ColourConverter(facts.tags, facts.codec)
    position = None if settings.after is None else settings.after + first
    with opened(source) as container:
        stream = video_stream(container, source)
        stream.thread_type = "AUTO"
        _go_to(container, stream, facts, max(position or 0, first))
        previous: int | None = None
        ahead, longest = 0, round(JUMP_AHEAD / facts.time_base) if has_running_clock(container) else 0
        for number, frame in enumerate(_decoded(container, stream, facts, settings)):
            _check_frame(frame, facts, settings, number)
            pts = _mended_pts(frame, previous, step, facts.time_base, ahead)
            if longest and previous is not None and pts - previous > longest:
                ahead, pts = ahead + pts - previous - step, previous + step
            previous = pts
            if last is not None and pts >= last:
                return
            if (settings.start and pts < first) or (position is not None and pts <= position):
                continue
            pixels, white = converter.to_rgb(frame)
            duration = _duration(frame, facts.time_base) or step
            yield Frame(_shown_part(pixels, facts), white, pts - first, duration, frame.is_corrupt)


def _read_images(source: ImageVideo, facts: VideoFacts, settings: ReadSettings) -> Iterator[Frame]:
    first, last = part_of(facts, settings)
    start = first if settings.after is None else first + settings.after + 1
    for number in range(start, source.frames if last is None else min(last, source.frames)):
        yield Frame(_shown_part(source.frame(number), facts), WHITE_RGB, number - first, 1, False)


def _go_to(container: InputContainer, stream: VideoStream, facts: VideoFacts, pts: int) -> None:
    if pts > 0 and facts.container.split(",")[0] in SEEKABLE:
        container.seek(pts, stream=stream, backward=True)


def _mended_pts(frame: VideoFrame, previous: int | None, step: int, time_base: Fraction, ahead: int) -> int:
    pts = frame.pts
    if pts is not None and frame.time_base and frame.time_base != time_base:
        pts = round(pts * frame.time_base / time_base)
    pts = None if pts is None else pts - ahead
    if previous is not None and (pts is None or pts <= previous):
        return previous + step
    return pts or 0


def _duration(frame: VideoFrame, time_base: Fraction) -> int:
    if not frame.time_base:
        return 0
    return round((frame.duration or 0) * frame.time_base / time_base)


def _shown_part(pixels: Pixels, facts: VideoFacts) -> Pixels:
    box = facts.window
    return np.ascontiguousarray(facts.turn.applied(pixels)[box.y : box.bottom, box.x : box.right])


def _decoded(
    container: InputContainer, stream: VideoStream, facts: VideoFacts, settings: ReadSettings
) -> Iterator[VideoFrame]:
    chain = _Deinterlacer(stream) if settings.deinterlace else None
    count, reached = 0, 0.0
    try:
        for packet in container.demux(stream):
            if packet.pts is not None:
                reached = max(reached, float((packet.pts + (packet.duration or 0)) * facts.time_base))
            for frame in packet.decode():
                for result in chain.push(frame) if chain else (frame,):
                    count += 1
                    yield result
        for result in chain.flush() if chain else ():
            count += 1
            yield result
    except FFmpegError as error:
        raise BrokenVideo(_break(facts, count, reached, reason_of(error))) from error
    end = stated_end(container, stream)
    if end - reached > max(0.1, 2 / float(facts.rate)):
        raise BrokenVideo(_break(facts, count, reached, f"it promises {end:.2f} s"))


def _break(facts: VideoFacts, count: int, reached: float, reason: str) -> str:
    return (
        f"{facts.name} is damaged or cut off: it can be read for {reached:.2f} s, {count} frames from where reading "
        f"began ({reason})"
    )


class _Deinterlacer:
    """FFmpeg's bwdif, one frame out for one frame in; progressive frames pass unchanged."""

    def __init__(self, stream: VideoStream) -> None:
        self._graph = Graph()
        self._input: FilterContext = self._graph.add_buffer(template=stream)
        filtering = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        sink = self._graph.add("buffersink")
        self._graph.link_nodes(self._input, filtering, sink).configure()

    def push(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        self._graph.push(frame)
        while True:
            try:
                yield self._graph.vpull()
            except (BlockingIOError, EOFError):
                return

    def flush(self) -> Iterator[VideoFrame]:
        yield from self.push(None)
