"""One video file out of finished segments and the sound, subtitles, chapters and fonts of the source."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUnknownLambdaType=false

from __future__ import annotations

import io
import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from ..upscaler import InputError
from .video_decode import ReadSettings, part_of
from .video_encode import Encoding, sample_segment
from .video_probe import Source, VideoFacts, name_of, opened, reason_of, video_stream

KINDS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".ts": "mpegts",
    ".avi": "avi",
    ".nut": "nut",
}
CARRIED = ("audio", "subtitle")

TECHNICAL = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "creation_time"}
"""Metadata of a file that describe the file and not its content."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A finished piece of video. ``note`` is a JSON file whose ``frames`` are [time stamp, duration] in the order of
    showing, in units of the stream's time base; ``first`` and ``last`` are the outer ones. ``reorder`` is by how many
    frames decoding runs ahead of showing."""

    path: Path
    note: Path
    first: tuple[int, int]
    last: tuple[int, int]
    reorder: int

    def frames(self) -> list[tuple[int, int]]:
        """Read when needed, so that a long video's time stamps are never all in memory."""
        listed = json.loads(self.note.read_text(encoding="utf-8"))["frames"]
        return [(int(pts), int(duration)) for pts, duration in listed]


@dataclass(frozen=True, kw_only=True)
class Carry:
    """Which of the source's other streams go into the result."""

    audio: bool = True
    subtitles: bool = True


def kind_of(output: Path) -> str:
    """The container that the name asks for. Raises ``InputError`` for a suffix that is none."""
    kind = KINDS.get(output.suffix.lower())
    if kind is None:
        raise InputError(
            f"{output.name} does not say which kind of video it is to be; end it in one of {', '.join(KINDS)}."
        )
    return kind


def check_joinable(output: Path, source: Source, encoding: Encoding, carry: Carry) -> None:
    """Writes the header of the result to memory. Raises ``InputError`` if the container cannot hold the streams."""
    sample = io.BytesIO(sample_segment(encoding))
    with opened(source) as origin, av.open(sample) as template:
        try:
            with av.open(io.BytesIO(), "w", format=kind_of(output)) as container:
                _add_streams(container, template, origin, carry, encoding.time_base, encoding.rate)
                container.start_encoding()
        except (FFmpegError, ValueError) as error:
            reason = reason_of(error) if isinstance(error, FFmpegError) else str(error)
            held = [each.codec_context.name for each in _carried(origin, carry)]
            raise InputError(
                f"A {output.suffix} file cannot hold {encoding.encoder} video with {', '.join(held) or 'no sound'} "
                f"from {name_of(source)} ({reason}); choose .mkv, or leave streams out (--no-audio, --no-subtitles)."
            ) from error


def join_segments(
    output: Path,
    kind: str,
    segments: Iterable[Segment],
    source: Source,
    facts: VideoFacts,
    settings: ReadSettings,
    carry: Carry,
    *,
    until: float | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes ``output``, which is not renamed here. Packets are copied; nothing is decoded. ``until`` ends sound and
    subtitles at so many seconds, for a partial result. A source that breaks off gives what there is.

    Raises ``InputError`` if the container refuses, ``OSError`` for the disk.
    """
    segments = list(segments)
    options = {"movflags": "use_metadata_tags+faststart"} if kind in ("mp4", "mov") else {}
    try:
        with (
            opened(source) as origin,
            av.open(str(segments[0].path)) as template,
            av.open(f"file:{output.resolve()}", "w", format=kind, options=options) as container,
        ):
            added = _add_streams(container, template, origin, carry, facts.time_base, facts.rate)
            _describe(container, origin, added[0][1], video_stream(origin, source), metadata or {}, settings)
            video = _video_packets(segments, facts, added[0][1])
            others = _other_packets(origin, added[1:], facts, settings, until)
            for _, packet in merge(video, others, key=itemgetter(0)):
                container.mux(packet)
    except FFmpegError as error:
        raise InputError(f"{output.name} cannot be written ({reason_of(error)}).") from error


def _carried(origin: Any, carry: Carry) -> list[Any]:
    wanted = [kind for kind, on in zip(CARRIED, (carry.audio, carry.subtitles), strict=True) if on]
    return [stream for stream in origin.streams if stream.type in wanted and stream.codec_context is not None]


def _add_streams(
    container: Any, template: Any, origin: Any, carry: Carry, time_base: Fraction, rate: Fraction
) -> list[Any]:
    """(source stream, stream of the result), the video first."""
    video = container.add_stream_from_template(template.streams.video[0], opaque=True)
    video.time_base = time_base
    video.codec_context.framerate = rate  # else Matroska would write one frame per unit of time
    if video.codec_context.name == "hevc" and container.format.name in ("mp4", "mov"):
        video.codec_context.codec_tag = "hvc1"  # the only one that Apple's players open
    added = [(template.streams.video[0], video)]
    for stream in _carried(origin, carry):
        copy = container.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition.value  # PyAV before 18 takes the number only
        added.append((stream, copy))
    if container.format.name == "matroska":
        for stream in getattr(origin.streams, "attachments", ()):
            container.add_attachment(stream.name, stream.mimetype, stream.data)
    return added


def _describe(
    container: Any, origin: Any, video: Any, source_video: Any, metadata: dict[str, str], settings: ReadSettings
) -> None:
    kept = {name: text for name, text in origin.metadata.items() if name.lower() not in TECHNICAL}
    container.metadata.update(kept | metadata)
    video.metadata.update({n: t for n, t in source_video.metadata.items() if n in ("language", "title")})
    whole = not settings.start and not settings.seconds
    if whole and origin.chapters():
        container.set_chapters(origin.chapters())


def _video_packets(segments: list[Segment], facts: VideoFacts, stream: Any) -> Iterator[tuple[float, Any]]:
    """All packets in decoding order with their exact time stamps. Decoding times are those of the frames, as many
    frames earlier as decoding runs ahead, so that they grow across the borders of segments."""
    reorder = max(segment.reorder for segment in segments)
    step = max(1, round(1 / (facts.rate * facts.time_base)))
    start = segments[0].first[0]
    decoding = deque(start - step * (reorder - place) for place in range(reorder))
    for segment in segments:
        with av.open(str(segment.path)) as container:
            packets = [packet for packet in container.demux(container.streams.video[0]) if packet.size]
        frames = segment.frames()
        if len(packets) != len(frames):
            raise InputError(
                f"The segment {segment.path.name} holds {len(packets)} frames instead of {len(frames)}; "
                "remove its folder and start again."
            )
        order = sorted(range(len(packets)), key=lambda place: packets[place].pts or 0)
        shown = {place: frames[rank] for rank, place in enumerate(order)}
        decoding.extend(pts for pts, _ in frames)
        for place, packet in enumerate(packets):
            packet.time_base = facts.time_base
            packet.pts, packet.duration = shown[place]
            packet.dts = decoding.popleft()
            packet.stream = stream
            yield float(packet.dts * facts.time_base), packet


def _other_packets(
    origin: Any, added: list[Any], facts: VideoFacts, settings: ReadSettings, until: float | None
) -> Iterator[tuple[float, Any]]:
    """Packets of the part of the source that is shown, moved to its start."""
    if not added:
        return
    copies = {stream.index: copy for stream, copy in added}
    first, last = part_of(facts, settings)
    start = float(first * facts.time_base)
    ends = [float((last - first) * facts.time_base)] if last is not None else []
    end = min([*ends, until]) if until is not None else min(ends, default=None)
    latest = 0.0
    try:
        for packet in origin.demux([stream for stream, _ in added]):
            if not packet.size or packet.pts is None:
                continue
            time = float(packet.pts * packet.time_base) - start
            length = float((packet.duration or 0) * packet.time_base)
            if (start and time + length <= 0) or (end is not None and time >= end):
                continue
            if first:
                shift = round(first * facts.time_base / packet.time_base)
                packet.pts -= shift
                packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = copies[packet.stream.index]
            latest = max(latest, time)
            yield latest, packet
    except FFmpegError:
        return  # the video's own reader has said where the source breaks off


def packets_of(source: Source, carry: Carry) -> Iterator[tuple[float, bytes]]:
    """(seconds, content) of every packet of the streams that ``carry`` names, in the order of the file."""
    with opened(source) as container:
        streams = _carried(container, carry)
        for packet in container.demux(streams) if streams else ():
            if packet.size and packet.pts is not None:
                yield float(packet.pts * packet.time_base), bytes(packet)
