"""What a video file is, found out before any work: size as shown, timing, colour, streams, and what is wrong."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUnknownLambdaType=false

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.format import Flags
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..types import Size
from ..upscaler import InputError
from .video_colour import ColourTags, check_library, settled_tags

Source: TypeAlias = "Path | io.BytesIO"

UNREADABLE = "surrogateescape"
"""Tags that are not UTF-8 do not keep a file from being read."""

FRAMES_LOOKED_AT = 12
"""Decoded by ``probe_video`` to see rotation and interlacing, which the header may not tell."""


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """``stored`` is the size of the coded frames, ``shown`` that after rotation and with square pixels, in pixels.
    ``rotation`` is how far a player turns the frames, in degrees counterclockwise. ``time_base`` is the unit of all
    time stamps in seconds. ``origin`` is the time stamp that counts as the start, in these units: recordings of
    broadcasts begin wherever the sender's clock was. ``frames`` is what the file says, 0 if it does not. ``rate`` is
    in frames per second on average; ``seconds`` is 0 if not known.
    """

    name: str
    container: str
    codec: str
    stored: Size
    shown: Size
    rotation: int
    time_base: Fraction
    origin: int
    rate: Fraction
    frames: int
    seconds: float
    pixel_format: str
    bit_depth: int
    has_alpha: bool
    tags: ColourTags
    tags_assumed: bool
    interlaced: bool
    audio: tuple[str, ...]
    subtitles: tuple[str, ...]

    @property
    def expected_frames(self) -> int:
        """About how many frames there are, at least 1."""
        return max(1, self.frames or round(self.seconds * self.rate))


def name_of(source: Source) -> str:
    return source.name if isinstance(source, Path) else "the video"


@contextmanager
def opened(source: Source) -> Generator[InputContainer]:
    """The source's container, from its beginning. Raises ``InputError`` if FFmpeg cannot make anything of it."""
    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"There is no video at {source}.")
    try:
        if isinstance(source, Path):
            # No playlist may fetch from the network, and a name with a colon is no protocol.
            options = {"protocol_whitelist": "file"}
            url = f"file:{source.resolve()}"
            container = av.open(url, mode="r", container_options=options, metadata_errors=UNREADABLE)
        else:
            source.seek(0)
            container = av.open(source, mode="r", metadata_errors=UNREADABLE)
    except FFmpegError as error:
        raise InputError(
            f"{name_of(source)} cannot be opened as a video ({reason_of(error)}); it may be cut off, empty or of "
            "another kind."
        ) from error
    with container:
        yield container


def reason_of(error: FFmpegError) -> str:
    return str(error.strerror or error).rstrip(".")


def video_stream(container: InputContainer, source: Source) -> VideoStream:
    """The first stream of moving pictures; a cover picture is none. Raises ``InputError`` if there is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    sound = f"; it holds {len(container.streams.audio)} audio stream(s) only" if container.streams.audio else ""
    raise InputError(f"{name_of(source)} has no video stream{sound}.")


def probe_video(source: Source, untagged_matrix: int = 0) -> VideoFacts:
    """Reads the header and the first frames. ``untagged_matrix`` as for ``settled_tags``.

    Raises ``InputError`` for a file that cannot be opened, has no video stream, or from which not one frame can be
    decoded.
    """
    check_library()
    with opened(source) as container:
        stream = video_stream(container, source)
        frames = _first_frames(container, stream, source)
        first = frames[0]
        stored = Size(first.width, first.height)
        rotation = round(first.rotation / 90) * 90 % 360
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        tags = ColourTags(
            range=int(first.color_range),
            matrix=int(first.colorspace),
            primaries=int(stream.codec_context.color_primaries),
            transfer=int(stream.codec_context.color_trc),
        )
        components = first.format.components
        settled = settled_tags(tags, first.format.name, stored, untagged_matrix)
        time_base = Fraction(stream.time_base or Fraction(1, 90_000))
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        return VideoFacts(
            name=name_of(source),
            container=container.format.name,
            codec=stream.codec_context.name,
            stored=stored,
            shown=_shown(stored, rotation, aspect),
            rotation=rotation,
            time_base=time_base,
            origin=_origin(container, time_base),
            rate=Fraction(rate or 25),
            frames=stream.frames,
            seconds=_seconds(container, stream),
            pixel_format=first.format.name,
            bit_depth=max(component.bits for component in components),
            has_alpha=any(component.is_alpha for component in components),
            tags=settled,
            tags_assumed=tags.matrix in (0, 2) and settled.matrix != tags.matrix,
            interlaced=any(frame.interlaced_frame for frame in frames),
            audio=tuple(each.codec_context.name for each in container.streams.audio if each.codec_context),
            subtitles=tuple(each.codec_context.name for each in container.streams.subtitles if each.codec_context),
        )


LATE = 1.0
"""Seconds at which a clock may begin and still mean that the pictures, or the sound, begin late."""


def _origin(container: InputContainer, time_base: Fraction) -> int:
    """0 but for files whose clock runs on from one file to the next, such as MPEG transport streams and recordings
    that begin in the middle."""
    start = Fraction(container.start_time or 0, av.time_base)
    return round(start / time_base) if has_running_clock(container) or start > LATE else 0


JUMP_AHEAD = 10.0
"""Seconds that a running clock may leave out before it was set anew, as in FFmpeg's own program. A clock that was set
back looks like this too, because its 33 bits begin again after 26 hours."""


def has_running_clock(container: InputContainer) -> bool:
    """Whether files of this kind keep the clock of a sender, which may be set anew on the way."""
    return bool(container.format.flags & Flags.ts_discont.value)


OF_EACH_STREAM = {"mov", "avi", "ogg", "mxf", "nut"}
"""Kinds of file that store how long each stream is; others repeat the length of the file."""


def stated_end(container: InputContainer, stream: VideoStream) -> float:
    """When the video ends according to the file's header, on the file's clock in seconds; 0 if it does not say so
    for this stream."""
    if stream.duration and stream.time_base and OF_EACH_STREAM & set(container.format.name.split(",")):
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if len(container.streams) > 1 or not container.duration:
        return 0.0
    return (container.start_time or 0) / av.time_base + _length(container)


def _length(container: InputContainer) -> float:
    """Seconds. Matroska counts its length from 0 and not from where its clock begins."""
    start, duration = container.start_time or 0, container.duration or 0
    counted = "matroska" in container.format.name and duration > start > 0
    return (duration - start if counted else duration) / av.time_base


def _first_frames(container: InputContainer, stream: VideoStream, source: Source) -> list[VideoFrame]:
    frames: list[VideoFrame] = []
    reason = "it ends before the first one"
    try:
        for frame in container.decode(stream):
            frames.append(frame)
            if len(frames) == FRAMES_LOOKED_AT:
                break
    except FFmpegError as error:
        reason = reason_of(error)
    if not frames:
        raise InputError(f"No frame can be decoded from {name_of(source)} ({reason}); nothing was written.")
    return frames


def _shown(stored: Size, rotation: int, aspect: Fraction) -> Size:
    """Size with square pixels, by enlarging the axis whose pixels are wide, then turned."""
    square = Size(
        round(stored.width * max(aspect, Fraction(1))),
        round(stored.height * max(1 / aspect, Fraction(1))),
    )
    return Size(square.height, square.width) if rotation % 180 else square


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return _length(container)
