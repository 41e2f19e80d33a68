"""One video file out of finished segments and the sound, subtitles, chapters and fonts of the source."""

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
"""Tags in which ComfyUI's savers keep what a video was made with."""

NEEDED = ("language", "stereo_mode", "timecode", "filename", "mimetype")
"""Tags of a stream without which it is shown or heard wrongly."""

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

    @property
    def url(self) -> str:
        """What FFmpeg opens, whatever the name looks like."""
        return f"file:{self.path.resolve()}"

    def frames(self) -> list[tuple[int, int]]:
        """Read when needed, so that a long video's time stamps are never all in memory."""
        listed = json.loads(self.note.read_text(encoding="utf-8"))["frames"]
        return [(int(pts), int(duration)) for pts, duration in listed]


def kind_of(output: Path) -> str:
    """The container that the name asks for. Raises ``InputError`` for a suffix that is none."""
    kind = KINDS.get(output.suffix.lower())
    if kind is None:
        raise InputError(f"{output.name} has no known video extension; use one of {', '.join(KINDS)}.")
    return kind


class Unfit(InputError):
    """A container does not take a stream, named by ``what``."""

    def __init__(self, what: str, kind: str) -> None:
        super().__init__(f"A {kind} file cannot hold {what}.")
        self.what, self.kind = what, kind


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What became of the streams that were copied: packets that are damaged or refused, by the stream in words, and
    the streams of which packets were written, by index in the source."""

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
    """Writes ``output``, which is not renamed here. Packets are copied; nothing is decoded. ``until`` ends sound and
    subtitles at so many seconds, for a partial result. A source that breaks off gives what there is. ``fast`` does
    without bringing the index to the front; ``at_most`` so many packets of the other streams are copied. ``metadata``:
    tags beside those of the source, and in their place.

    Raises ``Unfit`` if the container does not take a stream, ``InputError`` if it refuses something else, ``OSError``
    for the disk.
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
    """A packet of sound or subtitles that is refused is one that a lost signal left; a stream of which none is taken
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
    # Players look for titles where only the tags that are known to them are; Apple's own go elsewhere, and so do
    # workflows, and what made the file in MOV, which has no place for it among the others.
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
        video.codec_context.codec_tag = "hvc1"  # the only one that Apple's players open
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
    """Cover pictures of the source, where the container can hold them; their packets, which are still to be written."""
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
            continue  # said as left out
        copy.disposition = Disposition.attached_pic.value
        content.stream = copy
        packets.append(content)
    return packets


def _cover_packets(source: Source, indices: list[int]) -> list[tuple[int, Any]]:
    """Read apart, because they come first or not at all."""
    found: dict[int, Any] = {}
    with opened(source) as container:
        for packet in container.demux([container.streams[index] for index in indices]):
            if packet.size:
                found.setdefault(packet.stream.index, packet)
            if len(found) == len(indices):
                break
    return sorted(found.items())


def readable(metadata: Mapping[str, str]) -> dict[str, str]:
    """Those tags that are UTF-8, which is what containers hold."""
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
    """Matroska writes the names of tags in capitals."""
    names = {name.lower() for name in ours}
    kept = {name.lower() if name.lower() in GENERATION else name: text for name, text in kept.items()}
    tags = {name: text for name, text in kept.items() if name.lower() not in names} | ours
    if kind == "mp4" and "software" in tags:
        tags["encoding_tool"] = tags["software"]  # what it is called there
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
    """The chapters of the part that is shown, from its start."""
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
    """All packets in decoding order with their exact time stamps. Decoding times are those of the frames, as many
    frames earlier as decoding runs ahead, so that they grow across the borders of segments."""
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
    """(seconds, content) of every packet of the streams that ``carry`` names, in the order of the file."""
    with opened(source) as container:
        streams = carried(container, carry)
        for packet in container.demux(streams) if streams else ():
            if packet.size and packet.pts is not None and not (packet.is_corrupt or packet.is_discard):
                yield float(packet.pts * packet.time_base), bytes(packet)
