"""Joins finished segments and the source's sound, subtitles, chapters and fonts into one video file."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUnknownLambdaType=false

from __future__ import annotations

import io
import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError
from av.stream import Disposition

from ...errors import InputError
from .carry import WITH_EDIT_LISTS, Carry, Packets, carried, is_cover, label
from .decode import ReadSettings, part_of
from .probe import Source, VideoFacts, opened, reason_of, video_stream

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
COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
"""Names and types of cover pictures, by codec."""

GENERATION = ("prompt", "workflow", "parameters")
"""Tags in which ComfyUI stores how a video was made."""

NEEDED = ("language", "stereo_mode", "timecode", "filename", "mimetype")
"""Tags of a stream without which it would play wrongly."""

TECHNICAL = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "creation_time"}
"""Metadata about the file itself, not its content."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A finished piece of video. ``note`` is a JSON file whose ``frames`` are [time stamp, duration] in display order,
    in units of the stream's time base; ``first`` and ``last`` are the first and last of them. ``reorder`` is the number
    of frames by which decoding runs ahead of display."""

    path: Path
    note: Path
    first: tuple[int, int]
    last: tuple[int, int]
    reorder: int

    @property
    def url(self) -> str:
        """The address for FFmpeg, safe for any file name."""
        return f"file:{self.path.resolve()}"

    def frames(self) -> list[tuple[int, int]]:
        """Read on demand, so that a long video's time stamps are never all in memory."""
        listed = json.loads(self.note.read_text(encoding="utf-8"))["frames"]
        return [(int(pts), int(duration)) for pts, duration in listed]


def kind_of(output: Path) -> str:
    """The container for the name's suffix. Raises ``InputError`` for an unknown suffix."""
    kind = KINDS.get(output.suffix.lower())
    if kind is None:
        raise InputError(f"{output.name} has no known video extension; use one of {', '.join(KINDS)}.")
    return kind


class Unfit(InputError):
    """A container does not accept a stream, which ``what`` names."""

    def __init__(self, what: str, kind: str) -> None:
        super().__init__(f"A {kind} file cannot hold {what}.")
        self.what, self.kind = what, kind


@dataclass(frozen=True, kw_only=True)
class Joined:
    """The outcome for the copied streams: numbers of damaged or rejected packets by readable stream name, and the
    source indices of the streams of which packets were written."""

    lost: dict[str, int]
    written: tuple[int, ...]


def join_segments(
    output: Path | io.IOBase,
    kind: str,
    segments: Iterable[Segment],
    source: Source,
    facts: VideoFacts,
    settings: ReadSettings,
    carry: Carry,
    *,
    until: float | None = None,
    metadata: dict[str, str] | None = None,
    fast: bool = False,
    at_most: int | None = None,
) -> Joined:
    """Writes ``output`` under exactly this name. Packets are copied; nothing is decoded. ``until`` ends sound and
    subtitles after that many seconds, for a partial result. A truncated source gives what it has. ``fast`` does not
    move the index to the front; ``at_most`` limits the number of packets copied from the other streams. ``metadata``:
    tags that are added to those of the source and take precedence.

    Raises ``Unfit`` if the container does not accept a stream, ``InputError`` if it rejects something else, and
    ``OSError`` from the disk.
    """
    segments = list(segments)
    target = f"file:{output.resolve()}" if isinstance(output, Path) else output
    name = output.name if isinstance(output, Path) else "The result"
    try:
        with opened(source) as origin, av.open(segments[0].url) as template:
            tags = _tags(kept_tags(origin) if carry.tags else {}, kind, metadata or {})
            with av.open(target, "w", format=kind, options=_options(kind, tags, fast)) as container:
                added = add_streams(container, template, origin, carry, facts)
                covers = _add_covers(container, origin, source) if carry.tags else []
                _describe(container, origin, added[0][1], video_stream(origin, source), tags, facts, settings, carry)
                container.start_encoding()
                for packet in covers:
                    container.mux(packet)
                video = _video_packets(segments, facts, added[0][1])
                others = Packets(origin, added[1:], kind, facts, settings, until, video=video_stream(origin, source))
                return _mux_all(container, video, others, added[1:], kind, at_most)
    except FFmpegError as error:
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror) from error
        raise InputError(f"{name} cannot be written ({reason_of(error)}).") from error


def _mux_all(
    container: Any,
    video: Iterator[tuple[float, Any]],
    others: Packets,
    added: list[Any],
    kind: str,
    at_most: int | None,
) -> Joined:
    """Rejected packets of sound or subtitles are damage from signal loss; a stream of which every packet is rejected
    does not fit."""
    refused: Counter[int] = Counter()
    written: Counter[int] = Counter()
    back = {id(copy): stream for stream, copy in added}
    reasons: dict[int, str] = {}
    copied = islice(others, at_most)
    for _, packet in merge(video, copied, key=itemgetter(0)):
        stream = back.get(id(packet.stream))
        try:
            container.mux(packet)
        except FFmpegError as error:
            if stream is None or isinstance(error, OSError):
                raise
            refused[stream.index] += 1
            reasons[stream.index] = reason_of(error)
        else:
            if stream is not None:
                written[stream.index] += 1
    for stream, _ in added:
        if refused[stream.index] and not written[stream.index]:
            raise Unfit(f"{label(stream)}: {reasons[stream.index]}", kind)
    counts = {label(stream): refused[stream.index] + others.damaged[stream.index] for stream, _ in added}
    return Joined(lost={name: count for name, count in counts.items() if count}, written=tuple(written))


def _options(kind: str, tags: dict[str, str], fast: bool) -> dict[str, str]:
    if kind not in WITH_EDIT_LISTS:
        return {}
    # Players look for titles among the standard tags; Apple's own tags and workflows have to be stored elsewhere, and
    # in MOV, which has no standard tag for it, so does the software.
    own = any(name.startswith("com.") or name in GENERATION for name in tags) or (
        kind == "mov" and set(tags) == {"software"}
    )
    flags = ["use_metadata_tags"] if own else []
    flags += [] if fast else ["faststart"]
    return {"movflags": "+".join(flags)} if flags else {}


def add_streams(container: Any, template: Any, origin: Any, carry: Carry, facts: VideoFacts) -> list[Any]:
    """(source stream, stream of the result), the video first. Raises ``Unfit``."""
    kind = container.format.name
    pictures = template.streams.video[0]
    try:
        video = container.add_stream_from_template(pictures, opaque=True)
    except ValueError as error:
        raise Unfit(f"{pictures.codec_context.name} video", kind) from error
    video.time_base = 1 / facts.rate if kind == "avi" else facts.time_base  # AVI counts frames
    video.codec_context.framerate = facts.rate  # else Matroska would write one frame per unit of time
    if video.codec_context.name == "hevc" and kind in WITH_EDIT_LISTS:
        video.codec_context.codec_tag = "hvc1"  # the only tag that Apple's players accept
    added = [(pictures, video)]
    for stream in carried(origin, carry):
        try:
            copy = container.add_stream_from_template(stream)
        except ValueError as error:
            raise Unfit(label(stream), kind) from error
        copy.metadata.update(_stream_tags(stream, carry))
        copy.disposition = stream.disposition.value  # PyAV before 18 takes the number only
        added.append((stream, copy))
    if kind == "matroska":
        for stream in getattr(origin.streams, "attachments", ()):
            name = stream.name.encode("utf-8", "replace").decode()
            container.add_attachment(name, stream.mimetype, stream.data)
    return added


def _add_covers(container: Any, origin: Any, source: Source) -> list[Any]:
    """Adds the source's cover pictures if the container can hold them. Returns their packets, which are yet to be
    written."""
    covers = [stream for stream in origin.streams.video if is_cover(stream)]
    kind, packets = container.format.name, list[Any]()
    if not covers or kind not in ("matroska", *WITH_EDIT_LISTS):
        return []
    for index, content in _cover_packets(source, [stream.index for stream in covers]):
        stream = origin.streams[index]
        name = stream.codec_context.name
        if kind == "matroska":
            ending, mime = COVERS.get(name, ("bin", ""))
            if mime:
                container.add_attachment(f"cover.{ending}", mime, bytes(content))
            continue
        try:
            copy = container.add_stream_from_template(stream, opaque=True)
        except ValueError:
            continue  # reported as left out
        copy.disposition = Disposition.attached_pic.value
        content.stream = copy
        packets.append(content)
    return packets


def _cover_packets(source: Source, indices: list[int]) -> list[tuple[int, Any]]:
    """Read separately, because they must be written first."""
    found: dict[int, Any] = {}
    with opened(source) as container:
        for packet in container.demux([container.streams[index] for index in indices]):
            if packet.size:
                found.setdefault(packet.stream.index, packet)
            if len(found) == len(indices):
                break
    return sorted(found.items())


def readable(metadata: Mapping[str, str]) -> dict[str, str]:
    """The tags that are valid UTF-8, which containers require."""
    return {name: text for name, text in metadata.items() if _is_readable(name) and _is_readable(text)}


def _is_readable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def kept_tags(origin: Any) -> dict[str, str]:
    """The tags of an open file that describe its content."""
    return {name: text for name, text in readable(origin.metadata).items() if name.lower() not in TECHNICAL}


def _stream_tags(stream: Any, carry: Carry) -> dict[str, str]:
    tags = readable(stream.metadata)
    return tags if carry.tags else {name: text for name, text in tags.items() if name in NEEDED}


def _tags(kept: dict[str, str], kind: str, ours: dict[str, str]) -> dict[str, str]:
    """The source's tags and ours. Matroska writes the names of tags in capitals."""
    names = {name.lower() for name in ours}
    kept = {name.lower() if name.lower() in GENERATION else name: text for name, text in kept.items()}
    tags = {name: text for name, text in kept.items() if name.lower() not in names} | ours
    if kind == "mp4" and "software" in tags:
        tags["encoding_tool"] = tags["software"]  # its name in MP4
    return tags


def _describe(
    container: Any,
    origin: Any,
    video: Any,
    source_video: Any,
    tags: dict[str, str],
    facts: VideoFacts,
    settings: ReadSettings,
    carry: Carry,
) -> None:
    container.metadata.update(tags)
    names = ("language", "title", "stereo_mode", *(() if settings.start else ("timecode",)))
    video.metadata.update({n: t for n, t in _stream_tags(source_video, carry).items() if n in names})
    if chapters := moved_chapters(origin.chapters(), facts, settings):
        container.set_chapters(chapters)


def moved_chapters(chapters: list[Any], facts: VideoFacts, settings: ReadSettings) -> list[Any]:
    """The chapters of the selected part, relative to its start."""
    first, last = part_of(facts, settings)
    start = first * facts.time_base
    end = None if last is None else (last - first) * facts.time_base
    moved: list[Any] = []
    for chapter in chapters:
        unit = Fraction(chapter["time_base"])
        begins, ends = chapter["start"] * unit - start, chapter["end"] * unit - start
        if ends <= 0 or (end is not None and begins >= end):
            continue
        begins, ends = max(begins, Fraction(0)), ends if end is None else min(ends, end)
        times = {"start": round(begins / unit), "end": round(ends / unit)}
        moved.append({**chapter, **times, "metadata": readable(chapter["metadata"])})
    return moved


def _video_packets(segments: list[Segment], facts: VideoFacts, stream: Any) -> Iterator[tuple[float, Any]]:
    """All packets in decoding order with their exact time stamps. Decoding times are the frames' own times, shifted by
    the number of frames by which decoding runs ahead, so that they increase across segment borders."""
    reorder = max(segment.reorder for segment in segments)
    step = max(1, round(1 / (facts.rate * facts.time_base)))
    start = segments[0].first[0]
    decoding = deque(start - step * (reorder - place) for place in range(reorder))
    for segment in segments:
        with av.open(segment.url) as container:
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


def packets_of(source: Source, carry: Carry) -> Iterator[tuple[float, bytes]]:
    """(seconds, content) of every packet of the streams that ``carry`` selects, in the order of the file."""
    with opened(source) as container:
        streams = carried(container, carry)
        for packet in container.demux(streams) if streams else ():
            if packet.size and packet.pts is not None and not (packet.is_corrupt or packet.is_discard):
                yield float(packet.pts * packet.time_base), bytes(packet)
