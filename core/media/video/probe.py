"""Inspects a video file before any work: display size, timing, colour, streams, and problems."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUnknownLambdaType=false

from __future__ import annotations

import io
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.format import Flags
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...errors import InputError
from ...types import Box, Size
from .colour import ColourTags, check_library, check_readable, depth_of, settled_tags
from .frame_data import frame_data
from .hdr import HdrFacts, hdr_of
from .header import TrackHeader, video_tracks
from .images import ImageVideo
from .turn import Turn, turn_of

Source: TypeAlias = "Path | io.BytesIO | ImageVideo"

AS_BYTES: dict[str, Any] = {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}
"""Options for opening containers, so that files with tags that are not UTF-8 can be read. PyAV 19 always can, and does
not have this argument."""

FRAMES_LOOKED_AT = 12
"""Frames that ``probe_video`` decodes to detect rotation and interlacing, which the header may not mention."""


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """``stored`` is the size of the coded frames, ``shown`` the size after rotation and cropping and with square
    pixels, in pixels. ``turn`` is how a player rotates and mirrors the frames, ``window`` the part of the rotated frame
    that it shows. ``time_base`` is the unit of all time stamps in seconds. ``origin`` is the time stamp of the start in
    these units: broadcast recordings start at an arbitrary value of the sender's clock. ``frames`` is the number in the
    header, 0 without one. ``rate`` is the average in frames per second; ``seconds`` is 0 if unknown.
    """

    name: str
    container: str
    codec: str
    stored: Size
    shown: Size
    turn: Turn
    window: Box
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
    hdr: HdrFacts
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
    """The source's container, at its start; for a video of images, the one with the sound. Raises ``InputError`` if
    FFmpeg cannot open it."""
    if isinstance(source, Path) and not source.is_file():
        raise InputError(f"There is no video at {source}.")
    try:
        if isinstance(source, Path):
            # Playlists must not access the network, and a file name with a colon is not a protocol.
            options = {"protocol_whitelist": "file"}
            url = f"file:{source.resolve()}"
            container = av.open(url, mode="r", container_options=options, **AS_BYTES)
        else:
            file = source.companion() if isinstance(source, ImageVideo) else source
            file.seek(0)
            container = av.open(file, mode="r", **AS_BYTES)
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
    """The video stream that a player shows: the default one, otherwise the largest, otherwise the first. Cover pictures
    do not count. Raises ``InputError`` if there is none, or none that can be decoded."""
    pictures = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    # According to PyAV's types there is always a decoder; there may be none.
    streams = [each for each in pictures if cast("Any", each).codec_context is not None]
    if streams:
        return max(streams, key=lambda each: (bool(each.disposition & Disposition.default), each.width * each.height))
    if pictures:
        raise InputError(f"{name_of(source)} holds a kind of video that this FFmpeg cannot decode.")
    sound = f"; it holds {len(container.streams.audio)} audio stream(s) only" if container.streams.audio else ""
    raise InputError(f"{name_of(source)} has no video stream{sound}.")


def probe_video(source: Source, crop: Box | None = None) -> VideoFacts:
    """Reads the header and the first frames. ``crop`` is a part of the upright frame, in stored pixels, that overrides
    the file's own cropping.

    Raises ``InputError`` for a file that cannot be opened, has no video stream or no frame that can be decoded, and for
    colours that cannot be read.
    """
    check_library()
    if isinstance(source, ImageVideo):
        return _facts_of_images(source, crop)
    with opened(source) as container:
        stream = video_stream(container, source)
        header = _header_of(container, stream, source)
        _check_dolby(header, _tag_of(stream), source)
        frames = _first_frames(container, stream, source)
        first = frames[0]
        _check_dolby_of_frame(first, source)
        stored = Size(first.width, first.height)
        turn = turn_of(first)
        window = _inside(crop, turn.size(stored)) if crop else turn.window(stored, header.margins)
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        tags = ColourTags(
            range=int(first.color_range),
            matrix=int(first.colorspace),
            primaries=int(stream.codec_context.color_primaries),
            transfer=int(stream.codec_context.color_trc),
        )
        settled = settled_tags(tags, first.format.name, stored)
        check_readable(first, settled)
        time_base = Fraction(stream.time_base or Fraction(1, 90_000))
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        return VideoFacts(
            name=name_of(source),
            container=container.format.name,
            codec=stream.codec_context.name,
            stored=stored,
            shown=_square(window.size, 1 / aspect if turn.degrees % 180 else aspect),
            turn=turn,
            window=window,
            time_base=time_base,
            origin=_origin(container, time_base),
            rate=Fraction(rate or 25),
            frames=stream.frames,
            seconds=_seconds(container, stream),
            pixel_format=first.format.name,
            bit_depth=depth_of(first.format),
            has_alpha=any(component.is_alpha for component in first.format.components),
            tags=settled,
            tags_assumed=tags.matrix in (0, 2) and settled.matrix != tags.matrix,
            hdr=hdr_of(frames),
            interlaced=any(frame.interlaced_frame for frame in frames),
            audio=tuple(each.codec_context.name for each in container.streams.audio if each.codec_context),
            subtitles=tuple(each.codec_context.name for each in container.streams.subtitles if each.codec_context),
        )


LATE = 1.0
"""Largest start time, in seconds, that still means that the pictures, or the sound, start late."""


def _facts_of_images(source: ImageVideo, crop: Box | None) -> VideoFacts:
    window = _inside(crop, source.size) if crop else Box(0, 0, *source.size)
    return VideoFacts(
        name=name_of(source),
        container="images",
        codec="rawvideo",
        stored=source.size,
        shown=window.size,
        turn=Turn(),
        window=window,
        time_base=1 / source.rate,
        origin=0,
        rate=source.rate,
        frames=source.frames,
        seconds=float(source.frames / source.rate),
        pixel_format="gbrp16le",
        bit_depth=source.bit_depth,
        has_alpha=source.images.shape[3] == 4,
        tags=source.tags,
        tags_assumed=False,
        hdr=HdrFacts(),
        interlaced=False,
        audio=() if source.sound is None else (source.sound_codec,),
        subtitles=(),
    )


def _header_of(container: InputContainer, stream: VideoStream, source: Path | io.BytesIO) -> TrackHeader:
    """What the file's header says about this track, found by its number in MP4, and by its position among the video
    tracks in Matroska."""
    tracks = video_tracks(source, container.format.name)
    place = container.streams.video.index(stream)
    by_number = [track for track in tracks if track.number == stream.id]
    if container.format.name.startswith("mov"):
        return by_number[0] if by_number else TrackHeader(number=0)
    return tracks[place] if place < len(tracks) else TrackHeader(number=0)


def _tag_of(stream: VideoStream) -> str:
    try:
        return stream.codec_context.codec_tag
    except UnicodeDecodeError:
        return ""


DOLBY_ONLY_TAGS = ("dvh1", "dvhe", "dav1")


def _check_dolby(header: TrackHeader, tag: str, source: Source) -> None:
    """Raises ``InputError`` for Dolby Vision whose base layer is not a picture on its own: profile 5, and profiles from
    10 (AV1 and others) with compatibility 0."""
    if header.dolby is not None:
        profile, compatibility = header.dolby
        lonely = profile == 5 or (profile >= 10 and compatibility == 0)
    else:
        profile, lonely = 0, tag in DOLBY_ONLY_TAGS
    if lonely:
        raise _dolby_error(source, f" (profile {profile})" if profile else f" (its tag is {tag})")


def _check_dolby_of_frame(frame: VideoFrame, source: Source) -> None:
    """The same for streams without a header, from the frame's own Dolby Vision data as decoded: the header of a
    reference processing unit of profile 5 has profile 0 and a full-range base layer."""
    for kind, content in frame_data(frame):
        if kind == Type.DOVI_METADATA:
            start = int.from_bytes(content[:8], sys.byteorder)
            profile, full_range = content[start + 4], content[start + 10]
            if profile == 0 and full_range:
                raise _dolby_error(source, " (profile 5)")


def _dolby_error(source: Source, which: str) -> InputError:
    return InputError(
        f"{name_of(source)} is Dolby Vision{which} without a picture that other players can show: read as it is "
        "stored, it would be green and purple; take a version in SDR or HDR10."
    )


def _inside(crop: Box, whole: Size) -> Box:
    left, top = max(0, min(crop.x, whole.width - 1)), max(0, min(crop.y, whole.height - 1))
    return Box(left, top, min(crop.right, whole.width) - left, min(crop.bottom, whole.height) - top)


def _origin(container: InputContainer, time_base: Fraction) -> int:
    """0, except for files whose clock continues from one file to the next, such as MPEG transport streams, and
    recordings that start in the middle."""
    start = Fraction(container.start_time or 0, av.time_base)
    return round(start / time_base) if has_running_clock(container) or start > LATE else 0


JUMP_AHEAD = 10.0
"""Seconds that a running clock may skip before it counts as reset, as in FFmpeg itself. A clock that was set back looks
the same, because its 33 bits wrap around after 26 hours."""


def has_running_clock(container: InputContainer) -> bool:
    """Whether files of this format keep the sender's clock, which may be reset at any time."""
    return bool(container.format.flags & Flags.ts_discont.value)


OF_EACH_STREAM = {"mov", "avi", "ogg", "mxf", "nut"}
"""Containers that store the length of each stream; others repeat the length of the file."""


def stated_end(container: InputContainer, stream: VideoStream) -> float:
    """When the video ends according to the header, in seconds on the file's clock; 0 if the header does not say so for
    this stream."""
    if stream.duration and stream.time_base and OF_EACH_STREAM & set(container.format.name.split(",")):
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if len(container.streams) > 1 or not container.duration:
        return 0.0
    return (container.start_time or 0) / av.time_base + _length(container)


def _length(container: InputContainer) -> float:
    """The length in seconds. Matroska measures it from 0, not from the start of its clock."""
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


def _square(size: Size, aspect: Fraction) -> Size:
    """The size with square pixels, by enlarging the axis along which pixels are longer."""
    return Size(
        round(size.width * max(aspect, Fraction(1))),
        round(size.height * max(1 / aspect, Fraction(1))),
    )


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return _length(container)
