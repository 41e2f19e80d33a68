"""Tests before the first frame everything that happens after the last: the container, every copied stream, and what the
result will lose of the source."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUnknownLambdaType=false

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideData

from ...errors import InputError
from .carry import Carry, carried, is_cover, is_empty, label
from .decode import ReadSettings, part_of
from .encode import Encoding, sample_frames
from .frame_data import frame_data
from .join import (
    KINDS,
    TECHNICAL,
    Joined,
    Segment,
    Unfit,
    join_segments,
    kept_tags,
    kind_of,
    moved_chapters,
)
from .probe import AS_BYTES, Source, VideoFacts, name_of, opened, video_stream

FRAMES = 2
"""Frames of the sample, enough to measure their distance."""
PACKETS = 200
"""Most packets of sound and subtitles in the sample that is read back."""

LARGEST_SHIFT = 0.002
"""Seconds by which the coarsest clock, Matroska's, may change the distance of two frames, with a margin."""

ONE_SOUND = {"mp1", "mp2", "mp3"}
"""Layers of MPEG audio, which some containers do not distinguish, but every decoder does."""


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """What the result will lose and numbers of damaged packets by stream, both as readable text; and the bytes of
    everything but the pictures."""

    left_out: tuple[str, ...] = ()
    lost: dict[str, int] = field(default_factory=dict[str, int])
    copied_bytes: int = 0

    def notes(self, name: str) -> list[str]:
        said = [f"Left out: {', '.join(self.left_out)}."] if self.left_out else []
        for stream, count in self.lost.items():
            packets = "1 damaged packet" if count == 1 else f"{count} damaged packets"
            said.append(f"Left out: {packets} of {stream} of {name}.")
        return said


class Nowhere(io.RawIOBase):
    """A file that discards what is written to it and only keeps its length."""

    def __init__(self) -> None:
        super().__init__()
        self._place = self._end = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        count = len(content)
        self._place += count
        self._end = max(self._end, self._place)
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._end}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    @property
    def size(self) -> int:
        return self._end


def rehearse(
    output: Path,
    source: Source,
    facts: VideoFacts,
    encoding: Encoding,
    settings: ReadSettings,
    carry: Carry,
    metadata: dict[str, str] | None = None,
) -> Rehearsed:
    """Writes a result of a few grey frames with everything else that the source has, twice: a short one, which is read
    back, and one that is discarded, with all packets, for which the source is read once.

    Raises ``InputError`` with the name of a stream that ``output`` cannot hold and of a container that can.
    """
    kind, nowhere = kind_of(output), Nowhere()
    with _sample(encoding, facts) as sample:
        try:
            short = _written(kind, sample, source, facts, settings, carry, metadata)
            joined = join_segments(
                nowhere, kind, [sample], source, facts, settings, carry, metadata=metadata, fast=True
            )  # fmt: skip
        except Unfit as error:
            others = [suffix for suffix, other in KINDS.items() if other != kind]
            held = (s for s in others if _holds(KINDS[s], sample, source, facts, settings, carry))
            raise InputError(_refusal(output, source, error, next(held, ""))) from error
    if kind == "avi":
        _check_grid(output, source, facts, settings)
    with opened(source) as origin, _read_back(short) as result:
        left_out = tuple(_left_out(origin, source, result, facts, settings, carry))
        return Rehearsed(left_out=left_out, lost=joined.lost, copied_bytes=nowhere.size)


@contextmanager
def _sample(encoding: Encoding, facts: VideoFacts) -> Generator[Segment]:
    step = max(1, round(1 / (facts.rate * facts.time_base)))
    frames = [(number * step, step) for number in range(FRAMES)]
    with tempfile.TemporaryDirectory(prefix="backplate-video-") as folder:
        path, note = Path(folder, "sample"), Path(folder, "sample.json")
        reorder = sample_frames(path, encoding, frames)
        note.write_text(json.dumps({"frames": frames}), encoding="ascii")
        yield Segment(path=path, note=note, first=frames[0], last=frames[-1], reorder=reorder)


def _written(
    kind: str,
    sample: Segment,
    source: Source,
    facts: VideoFacts,
    settings: ReadSettings,
    carry: Carry,
    metadata: dict[str, str] | None = None,
) -> io.BytesIO:
    """The short result, read back. Raises ``Unfit``."""
    file = io.BytesIO()
    try:
        joined = join_segments(
            file, kind, [sample], source, facts, settings, carry, metadata=metadata, fast=True, at_most=PACKETS
        )  # fmt: skip
    except Unfit:
        raise
    except InputError as error:
        raise Unfit(_culprit(kind, sample, source, facts, settings, carry), kind) from error
    _check_same(file, kind, sample, source, facts, carry, joined)
    return file


def _culprit(
    kind: str, sample: Segment, source: Source, facts: VideoFacts, settings: ReadSettings, carry: Carry
) -> str:
    """The readable name of the stream without which the header can be written."""
    with av.open(sample.url) as template, opened(source) as origin:
        for wanted, less in (("audio", replace(carry, audio=False)), ("subtitle", replace(carry, subtitles=False))):
            streams = [stream for stream in carried(origin, carry) if stream.type == wanted]
            if streams and _holds(kind, sample, source, facts, settings, less):
                return label(streams[0])
        return f"{template.streams.video[0].codec_context.name} video"


def _check_same(
    file: io.BytesIO, kind: str, sample: Segment, source: Source, facts: VideoFacts, carry: Carry, joined: Joined
) -> None:
    """Reads the sample back, because some containers accept what no reader recognises."""
    with av.open(sample.url) as template, _read_back(file) as result, opened(source) as origin:
        wanted = template.streams.video[0]
        found = [stream for stream in result.streams if not is_cover(stream)]
        video = next((stream for stream in found if stream.type == "video"), None)
        if video is None or video.codec_context.name != wanted.codec_context.name:
            raise Unfit(f"{wanted.codec_context.name} video", kind)
        copies = [stream for stream in found if stream.type in ("audio", "subtitle", "data")]
        streams = [stream for stream in carried(origin, carry) if stream.index in joined.written]
        present = [each for each in copies if each.type != "data"]
        for place, stream in enumerate(streams):
            if place >= len(present) or not _is_same(stream, present[place]):
                raise Unfit(label(stream), kind)
        times = [packet.pts for packet in result.demux(video) if packet.size]
        unit = float(video.time_base)
    step = float((sample.last[0] - sample.first[0]) * facts.time_base)
    stamps = sorted(time for time in times if time is not None)
    off = abs((stamps[-1] - stamps[0]) * unit - step) if len(stamps) == FRAMES else 0.0
    if len(times) != FRAMES or off > LARGEST_SHIFT:
        raise Unfit(f"{wanted.codec_context.name} video with its times", kind)


def _is_same(stream: Any, copy: Any) -> bool:
    if copy.type != stream.type or copy.codec_context is None:
        return False
    names = {_plain(each.codec_context.name) for each in (stream, copy)}
    return len(names) == 1 or names <= ONE_SOUND


def _plain(codec: str) -> str:
    return codec.removesuffix("float").removesuffix("_fixed")


@contextmanager
def _read_back(file: io.BytesIO) -> Generator[Any]:
    file.seek(0)
    with av.open(file, **AS_BYTES) as container:
        yield container


def _holds(kind: str, sample: Segment, source: Source, facts: VideoFacts, settings: ReadSettings, carry: Carry) -> bool:
    try:
        _written(kind, sample, source, facts, settings, carry)
    except (Unfit, InputError, FFmpegError, ValueError):
        return False
    return True


def _refusal(output: Path, source: Source, error: Unfit, other: str) -> str:
    without = {
        "the sound": " or leave the sound out (--no-audio)",
        "the subtitles": " or leave the subtitles out (--no-subtitles)",
    }
    ways = [f" choose {other}"] if other else []
    ways += [way for what, way in without.items() if error.what.startswith(what)] or [" or another codec (--codec)"]
    of = f" of {name_of(source)}" if error.what.startswith("the ") else ""
    return f"A {output.suffix} file cannot hold {error.what}{of};{','.join(ways).removeprefix(' or')}."


def _check_grid(output: Path, source: Source, facts: VideoFacts, settings: ReadSettings) -> None:
    """AVI has no time stamps: raises ``InputError`` for frames at unequal distances."""
    first, _ = part_of(facts, settings)
    with opened(source) as origin:
        for packet in origin.demux(video_stream(origin, source)):
            if packet.pts is None or not packet.size:
                continue
            frames = (packet.pts - first) * facts.time_base * facts.rate
            if abs(frames - round(frames)) > Fraction(1, 4):
                raise InputError(
                    f"A {output.suffix} file holds only one frame rate, and {facts.name} shows a frame at "
                    f"{float(packet.pts * facts.time_base):.3f} s, off the pace of {float(facts.rate):g} a second; "
                    "choose .mkv."
                )


def _left_out(
    origin: Any, source: Source, result: Any, facts: VideoFacts, settings: ReadSettings, carry: Carry
) -> Iterator[str]:
    """What the source has, but the result, read back, does not."""
    video = video_stream(origin, source)
    others = [each for each in origin.streams.video if each.index != video.index and not is_cover(each)]
    if others:
        yield f"{len(others)} other video stream{'s' * (len(others) > 1)}"
    wanted = [kind for kind, on in (("audio", carry.audio), ("subtitle", carry.subtitles)) if on]
    for stream in origin.streams:
        if stream.type in wanted and is_empty(stream):
            yield f"{label(stream)}, which is empty"
    covers, kept = (sum(map(is_cover, each.streams.video)) for each in (origin, result))
    if kept < covers and carry.tags:
        yield f"{covers - kept} cover picture{'s' * (covers - kept > 1)}"
    yield from _other_streams(origin, result)
    yield from _marks(origin, video, result, facts)
    lost = sorted(set(_lost_tags(origin, result))) if carry.tags else []
    if lost:
        yield f"tags ({', '.join(lost)})"
    if not result.chapters() and moved_chapters(origin.chapters(), facts, settings):
        yield "chapters"


def _other_streams(origin: Any, result: Any) -> Iterator[str]:
    fonts, kept = (len(getattr(each.streams, "attachments", ())) for each in (origin, result))
    if kept < fonts:
        yield f"{fonts - kept} attached file{'s' * (fonts - kept > 1)}"
    known = ("video", "audio", "subtitle", "attachment")
    data = [s for s in origin.streams if s.type not in known and not _timecode(s)]
    if data:
        yield f"{len(data)} data track{'s' * (len(data) > 1)}"


def _marks(origin: Any, video: Any, result: Any, facts: VideoFacts) -> Iterator[str]:
    code = next(filter(None, map(_timecode, (*origin.streams, origin))), "")
    if code and not any(map(_timecode, (*result.streams, result))):
        yield f"the timecode {code}"
    if not facts.has_alpha and any(n.lower() == "alpha_mode" and t == "1" for n, t in video.metadata.items()):
        yield "the transparency"
    found = _kinds_of_side_data(origin, video)
    if SideData.SPHERICAL in found:
        yield "the mark of a 360-degree video"
    mode = video.metadata.get("stereo_mode", "")
    depth = SideData.STEREO3D in found or mode not in ("", "mono")
    if depth and not any(each.metadata.get("stereo_mode") for each in result.streams.video):
        yield "the mark of a 3D video"


def _kinds_of_side_data(origin: Any, video: Any) -> set[SideData]:
    try:
        return {kind for kind, _ in frame_data(next(origin.decode(video)))}
    except (FFmpegError, StopIteration):
        return set()


def _timecode(thing: Any) -> str:
    return next((text for name, text in thing.metadata.items() if name.lower() == "timecode"), "")


def _lost_tags(origin: Any, result: Any) -> list[str]:
    kept = {text for _, text in result.metadata.items()}
    names = set(origin.metadata) - {"timecode", "software"}  # one is reported separately, the other is ours
    readable = kept_tags(origin)
    lost = [name for name, text in readable.items() if name in names and text not in kept]
    unreadable = [name for name in names if name not in readable and name.lower() not in TECHNICAL]
    return [name.encode("ascii", "replace").decode() for name in (*lost, *unreadable)]
