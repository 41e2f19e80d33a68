"""Encoding: chooses and tests encoder, pixel format and quality before the work, and writes one segment at a time."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUnknownLambdaType=false

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.codec import Codec, UnknownCodecError
from av.error import FFmpegError
from av.video.format import VideoFormat
from av.video.stream import VideoStream

from ...errors import InputError
from ...types import Size
from .colour import WHITE_8, WHITE_16, ColourConverter, ColourTags, Pixels
from .hdr import HdrFacts
from .probe import reason_of

SHORT_NAMES = {
    "h264": "libx264",
    "h265": "libx265",
    "hevc": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
    "prores": "prores_ks",
}
"""The common name of each format, and its software encoder."""

USUAL_QUALITY = {"libx264": 18, "libx265": 20, "libsvtav1": 28, "libvpx-vp9": 28}
"""On each encoder's own scale, good enough to keep the texture that the model made."""

FORMATS = {
    8: ("yuv420p", "nv12", "yuv422p", "yuv444p"),
    10: ("yuv420p10le", "p010le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "yuv422p12le", "yuv444p12le"),
}
SEGMENT_KINDS = ("mp4", "mov", "matroska")


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """``codec`` is a format (h264, hevc, av1, vp9, prores, ffv1) or the name of any FFmpeg video encoder, such as
    h264_nvenc. ``crf`` is the constant quality on that encoder's scale, ``bitrate`` in bits per second; None for both
    is the default quality. An empty ``pixel_format`` is 4:2:0 with ``bit_depth`` bits; 0 is the source's depth, at most
    10. ``options`` are passed to the encoder unchanged."""

    codec: str = "h264"
    crf: float | None = None
    bitrate: int | None = None
    preset: str = ""
    pixel_format: str = ""
    bit_depth: int = 0
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """All parameters for opening an encoder. ``segment_kind`` is the container of the segments."""

    encoder: str
    pixel_format: str
    size: Size
    time_base: Fraction
    rate: Fraction
    tags: ColourTags
    bitrate: int
    options: tuple[tuple[str, str], ...]
    segment_kind: str

    @property
    def deep(self) -> bool:
        return max(component.bits for component in VideoFormat(self.pixel_format).components) > 8


def plan_encoding(
    settings: EncodeSettings,
    size: Size,
    source_depth: int,
    time_base: Fraction,
    rate: Fraction,
    tags: ColourTags,
    hdr: HdrFacts | None = None,
) -> Encoding:
    """What the settings mean for this video, tested on one frame. ``hdr`` is passed to encoders that can write it.

    Raises ``InputError`` for an encoder that is missing or does not open, a pixel format that it does not accept, a
    size that chroma subsampling does not allow, and settings that the encoder does not have.
    """
    encoder = SHORT_NAMES.get(settings.codec.lower(), settings.codec.lower())
    codec = _find_encoder(encoder)
    pixel_format = _pixel_format(settings, codec, encoder, source_depth)
    check_even(size, pixel_format)
    encoding = Encoding(
        encoder=encoder,
        pixel_format=pixel_format,
        size=size,
        time_base=time_base,
        rate=rate.limit_denominator(1_001_000),
        tags=tags,
        bitrate=settings.bitrate or 0,
        options=_joined(
            (*_quality(settings, encoder), *settings.options), (hdr or HdrFacts()).encoder_options(encoder)
        ),
        segment_kind=_segment_kind(codec, encoder),
    )
    _try_out(encoding)
    return encoding


def check_even(size: Size, pixel_format: str) -> None:
    """Raises ``InputError`` if the format subsamples chroma along a side that is odd."""
    form = VideoFormat(pixel_format)
    across, down = form.chroma_width(1000) < 1000, form.chroma_height(1000) < 1000
    sides = (("width", size.width, across), ("height", size.height, down))
    odd = [name for name, side, paired in sides if paired and side % 2]
    if odd:
        raise InputError(
            f"The result would be {size} and {pixel_format} stores colour for pairs of pixels, so {' and '.join(odd)} "
            "must be even; ask for an even size or let it be rounded (--round-even)."
        )


def _find_encoder(encoder: str) -> Codec:
    try:
        codec = Codec(encoder, "w")
    except UnknownCodecError:
        codec = None
    if codec is None or codec.type != "video":
        known = ", ".join([*SHORT_NAMES, "ffv1"])
        raise InputError(
            f"This FFmpeg has no video encoder {encoder!r}; choose {known}, or a hardware encoder such as h264_nvenc "
            "where the build has it."
        )
    return codec


def _pixel_format(settings: EncodeSettings, codec: Codec, encoder: str, source_depth: int) -> str:
    taken = [form.name for form in codec.video_formats or []]
    if settings.pixel_format:
        if settings.pixel_format not in taken:
            raise InputError(f"{encoder} does not take {settings.pixel_format}; it takes {', '.join(taken)}.")
        return settings.pixel_format
    depth = settings.bit_depth or (10 if source_depth > 8 else 8)
    order = [FORMATS[depth]]
    if not settings.bit_depth and depth == 8:
        order.append(FORMATS[10])  # an encoder for 10 bits only, such as ProRes, loses nothing
    for form in (name for names in order for name in names):
        if form in taken:
            return form
    if not any(VideoFormat(form).components for form in taken):
        raise InputError(
            f"{encoder} takes only pictures that are already on its device ({', '.join(taken)}), which PyAV cannot put "
            "there; choose an encoder with _nvenc, _qsv or _amf where the device has one, or h264."
        )
    raise InputError(
        f"{encoder} takes no {depth}-bit format ({', '.join(taken)}); choose another codec, such as hevc, or another "
        "bit depth (--bit-depth 8)."
    )


def _quality(settings: EncodeSettings, encoder: str) -> list[tuple[str, str]]:
    if settings.crf is not None and settings.bitrate:
        raise InputError(f"crf {settings.crf:g} and a bitrate of {settings.bitrate} exclude each other; give only one.")
    options: list[tuple[str, str]] = []
    if settings.preset:
        if not encoder.startswith(("libx264", "libx265", "libsvtav1")) and not encoder.endswith(("_nvenc", "_qsv")):
            raise InputError(f"{encoder} knows no presets; leave out preset {settings.preset}.")
        options.append(("preset", settings.preset))
    crf = USUAL_QUALITY.get(encoder) if settings.crf is None else settings.crf
    if settings.bitrate or crf is None:
        return options
    if encoder in USUAL_QUALITY or encoder == "libaom-av1":
        return [*options, ("crf", f"{crf:g}")]
    if encoder.endswith("_nvenc"):
        return [*options, ("rc", "vbr"), ("cq", f"{crf:g}")]
    if encoder.endswith("_qsv"):
        return [*options, ("global_quality", f"{crf:g}")]
    if encoder.endswith("_amf"):
        return [*options, ("rc", "cqp"), ("qp_i", f"{crf:g}"), ("qp_p", f"{crf:g}")]
    raise InputError(f"{encoder} has no constant quality setting; leave out crf {crf:g} or give a bitrate.")


def _joined(options: tuple[tuple[str, str], ...], more: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The encoder's parameter lists joined; the caller's own parameters come last and win."""
    asked = dict(options)
    joined = {name: f"{value}:{asked[name]}" if name in asked else value for name, value in more.items()}
    return (*((name, value) for name, value in options if name not in more), *joined.items())


def _segment_kind(codec: Codec, encoder: str) -> str:
    for kind in SEGMENT_KINDS:
        with av.open(io.BytesIO(), "w", format=kind) as container:
            if codec.canonical_name in container.supported_codecs:
                return kind
    raise InputError(f"{encoder} makes video that neither MP4, MOV nor Matroska can hold; choose another codec.")


def _try_out(encoding: Encoding) -> None:
    """Only opening a hardware encoder shows whether this machine has what it needs."""
    try:
        sample_frames(io.BytesIO(), encoding, [(0, 1)])
    except (FFmpegError, OSError) as error:
        reason = reason_of(error) if isinstance(error, FFmpegError) else str(error)
        options = ", ".join(f"{name}={value}" for name, value in encoding.options) or "no options"
        raise InputError(
            f"The encoder {encoding.encoder} does not open for {encoding.size} {encoding.pixel_format} with {options} "
            f"({reason}); a hardware encoder needs its device and driver: choose another such as h264."
        ) from error


def sample_frames(file: Path | io.BytesIO, encoding: Encoding, frames: Sequence[tuple[int, int]]) -> int:
    """Writes a segment of grey frames with these time stamps and durations. Returns its ``reorder``."""
    dtype = np.uint16 if encoding.deep else np.uint8
    grey = np.full((encoding.size.height, encoding.size.width, 3), white_of(encoding) // 2, dtype)
    with SegmentEncoder(file, encoding) as segment:
        for pts, duration in frames:
            segment.write(grey, pts, duration)
    return segment.reorder


class SegmentEncoder:
    """Writes one segment, as a context manager. Leaving it without an error finishes the file.

    Afterwards, ``reorder`` is the number of frames by which decoding runs ahead of display.
    """

    def __init__(self, file: Path | io.BytesIO, encoding: Encoding) -> None:
        self._encoding = encoding
        self._converter = ColourConverter(encoding.tags)
        target = f"file:{file.resolve()}" if isinstance(file, Path) else file
        self._container = av.open(target, "w", format=encoding.segment_kind)
        try:
            self._stream = _new_stream(self._container, encoding)
        except BaseException:
            self._container.close()
            raise
        self.frames: list[tuple[int, int]] = []
        self._coded: list[int] = []

    def __enter__(self) -> SegmentEncoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._container.close()

    def write(self, pixels: Pixels, pts: int, duration: int) -> None:
        """Writes (H, W, 3) RGB, uint8 or, for deep formats, uint16 in which 65280 is 1.0."""
        frame = self._converter.to_frame(pixels, self._encoding.pixel_format)
        frame.pts, frame.time_base, frame.duration = pts, self._encoding.time_base, duration
        self.frames.append((pts, duration))
        self._mux(self._stream.encode(frame))

    def _finish(self) -> None:
        packets = self._stream.encode(None)
        if not self._coded:
            # x265 gives arbitrary decoding times to a video that is shorter than its delay.
            self._coded = [packet.pts or 0 for packet in packets]
            first, step = self.frames[0]
            early = [first - step * (self.reorder - place) for place in range(self.reorder)]
            for packet, dts in zip(packets, [*early, *(pts for pts, _ in self.frames)], strict=False):
                packet.dts = dts
            self._coded = []
        self._mux(packets)

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            self._coded.append(packet.pts or 0)
            self._container.mux(packet)

    @property
    def reorder(self) -> int:
        ranks = {pts: rank for rank, (pts, _) in enumerate(self.frames)}
        late = (place - ranks.get(pts, place) for place, pts in enumerate(self._coded))
        return max(late, default=0)


def _new_stream(container: Any, encoding: Encoding) -> VideoStream:
    stream = container.add_stream(encoding.encoder, rate=encoding.rate, options=dict(encoding.options))
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = *encoding.size, encoding.pixel_format
    stream.time_base = context.time_base = encoding.time_base
    if encoding.bitrate:
        context.bit_rate = encoding.bitrate
    elif any(name == "crf" for name, _ in encoding.options):
        context.bit_rate = 0  # otherwise PyAV's default would limit the quality of VP9
    context.color_range, context.colorspace = encoding.tags.range, encoding.tags.matrix
    context.color_primaries, context.color_trc = encoding.tags.primaries, encoding.tags.transfer
    return stream


def white_of(encoding: Encoding) -> int:
    """The value of 1.0 in the input of ``SegmentEncoder.write``."""
    return WHITE_16 if encoding.deep else WHITE_8
