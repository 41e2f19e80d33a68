"""Converts between a video's frames and RGB, with the tags that define its colours.

Code points as in ITU-T H.273 (FFmpeg uses the same numbers). Players read the tags: a result that is converted with
one matrix and shown with another is off by up to 40 levels, so everything here is explicit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from ...errors import InputError
from ...types import Size
from .chroma_site import ChromaSite, is_subsampled, left_sited

Pixels = npt.NDArray[Any]
"""(H, W, 3), uint8 or uint16."""

UNSPECIFIED = 2
STUDIO, FULL = 1, 2
LARGEST_SD_HEIGHT = 576
"""Untagged video with at most this many lines counts as standard definition (BT.601), as in players."""

MATRIX_NAMES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}

EXACT_FLAGS = ("ACCURATE_RND", "FULL_CHR_H_INT", "FULL_CHR_H_INP")
"""Flags of libswscale, which PyAV can pass since 18. Without them conversions are off by up to 33 levels."""


FLOAT_NAME = re.compile(r"f(16|32)(le|be)$")
MISREAD_NAME = re.compile(r"(rgb|bgr)(444|555|565)be")
"""Formats that libswscale (9.5) reads with swapped bytes, although it swaps them correctly in a separate step."""


def _scaling() -> Interpolation:
    flags = [Interpolation[name] for name in EXACT_FLAGS if name in Interpolation.__members__]
    scaling = Interpolation.BICUBIC
    for flag in flags:
        scaling |= flag
    return scaling


SCALING = _scaling()

WHITE_8, WHITE_16 = 255, 255 << 8
"""The value of 1.0. For libswscale, deep RGB is 8-bit RGB with more bits below, so white is 65280 and not 65535;
reading it as 65535 costs up to four levels of 1023."""

WHITE_RGB_4 = 0xF0
"""For RGB with 4 bits per channel, which libswscale only shifts."""

WHITE_RGB = 65535
"""For video that is stored as RGB, including floats, after expansion to 16 bits."""


@dataclass(frozen=True, kw_only=True)
class ColourTags:
    """``range`` is 1 for studio levels, 2 for full ones; ``matrix``, ``primaries`` and ``transfer`` as in H.273."""

    range: int
    matrix: int
    primaries: int
    transfer: int

    def text(self) -> str:
        levels = "full" if self.range == FULL else "studio"
        matrix = MATRIX_NAMES.get(self.matrix, str(self.matrix))
        return f"{matrix}, {levels} range, primaries {self.primaries}, transfer {self.transfer}"


def settled_tags(tags: ColourTags, pixel_format: str, size: Size) -> ColourTags:
    """The source's tags with defaults for missing ones: by convention BT.601 up to 576 lines, otherwise BT.709, each
    with its own primaries and transfer; RGB sources become BT.709.

    Raises ``InputError`` for a matrix that cannot be converted (constant-luminance BT.2020, ICtCp and the like).
    """
    matrix = tags.matrix
    if matrix in (0, UNSPECIFIED):
        matrix = 1 if matrix == 0 or size.height > LARGEST_SD_HEIGHT else 5 if size.height == LARGEST_SD_HEIGHT else 6
    if matrix not in SWSCALE_MATRIX:
        known = ", ".join(sorted(set(MATRIX_NAMES.values())))
        raise InputError(f"The video's colour matrix has the number {matrix}; the readable ones are {known}.")
    usual = {1: (1, 1), 4: (4, 4), 5: (5, 6), 6: (6, 6), 7: (7, 7), 9: (9, 14)}[matrix]
    levels = FULL if tags.range == FULL or pixel_format.startswith("yuvj") else STUDIO
    return ColourTags(
        range=levels,
        matrix=matrix,
        primaries=usual[0] if tags.primaries in (0, UNSPECIFIED) else tags.primaries,
        transfer=usual[1] if tags.transfer in (0, UNSPECIFIED) else tags.transfer,
    )


def check_library() -> None:
    """Raises ``InputError`` for a PyAV version that converts colours wrongly."""
    if not all(name in Interpolation.__members__ for name in EXACT_FLAGS):
        raise InputError(
            f"PyAV {av.__version__} converts colours wrongly; install 18.1 or newer with: pip install -U 'av>=18.1' "
            "(Python 3.11 or newer)."
        )


def check_readable(frame: VideoFrame, tags: ColourTags) -> None:
    """Raises ``InputError`` for a pixel format that libswscale cannot read, or reads wrongly."""
    # Float grey with alpha crashes libswscale (8.1), or is read as studio range.
    readable = not frame.format.name.startswith("yaf")
    try:
        readable = readable and ColourConverter(tags).to_rgb(frame)[0].size > 0
    except (FFmpegError, OSError, ValueError):
        readable = False
    if not readable:
        raise InputError(
            f"The video's pixel format {frame.format.name} cannot be converted here; convert it first, for example "
            "with: ffmpeg -i VIDEO -c:v ffv1 -pix_fmt gbrp16le -c:a copy OTHER.mkv"
        )


class ColourConverter:
    """Converts the frames of one video in both directions, keeping libswscale's tables between frames. ``codec`` is
    that of the frames to read."""

    def __init__(self, tags: ColourTags, codec: str = "") -> None:
        self._tags = tags
        self._reader, self._writer = VideoReformatter(), VideoReformatter()
        self._site = ChromaSite(codec)

    def to_rgb(self, frame: VideoFrame) -> tuple[Pixels, int]:
        """(H, W, 3) RGB with the frame's own transfer curve, uint8 or, for more than 8 bits, uint16; and the value of
        1.0. The format must have passed ``check_readable``."""
        form = frame.format
        if form.name.startswith("grayf"):
            return _from_grey_floats(frame), WHITE_RGB
        wanted = "rgb48le" if depth_of(form) > 8 else "rgb24"
        if form.is_rgb:
            if MISREAD_NAME.fullmatch(form.name):
                frame = frame.reformat(format=f"{form.name[:-2]}le")
            whole = self._reader.reformat(frame, format=wanted, interpolation=SCALING)
            return whole.to_ndarray(), _white(form, FULL)
        converted = self._reader.reformat(
            self._site.settled(frame),
            format=wanted,
            src_colorspace=SWSCALE_MATRIX[self._tags.matrix],
            src_color_range=self._tags.range,
            dst_color_range=ColorRange.JPEG,
            interpolation=SCALING,
        )
        return converted.to_ndarray(), _white(form, self._tags.range)

    def to_frame(self, pixels: Pixels, pixel_format: str) -> VideoFrame:
        """The frame in ``pixel_format`` with the tags of the video, from (H, W, 3) RGB in which 255 (uint8) or 65280
        (uint16) is 1.0. Subsampled chroma is left-sited, as players assume."""
        deep = pixels.dtype == np.uint16
        frame = VideoFrame.from_ndarray(pixels, format="rgb48le" if deep else "rgb24")
        if is_subsampled(VideoFormat(pixel_format)) and not pixel_format.startswith("yuvj"):
            frame = left_sited(frame)
        converted = self._writer.reformat(
            frame,
            format=pixel_format,
            src_color_range=ColorRange.JPEG,
            dst_colorspace=SWSCALE_MATRIX[self._tags.matrix],
            dst_color_range=self._tags.range,
            interpolation=SCALING,
        )
        converted.colorspace = self._tags.matrix
        converted.color_range = self._tags.range
        return converted


def depth_of(form: VideoFormat) -> int:
    """Bits of the deepest channel; floats count as 16, because they are read as 16 bits."""
    return 16 if _is_float(form) else min(16, max(component.bits for component in form.components))


def _is_float(form: VideoFormat) -> bool:
    return FLOAT_NAME.search(form.name) is not None


def _from_grey_floats(frame: VideoFrame) -> Pixels:
    """libswscale would expand float grey as studio range, whatever the arguments."""
    order = ">" if frame.format.name.endswith("be") else "<"
    kind = f"{order}f{2 if 'f16' in frame.format.name else 4}"
    plane = frame.planes[0]
    stored: Pixels = np.frombuffer(memoryview(cast("Any", plane)), kind)
    values = np.reshape(stored, (plane.height, -1))[:, : frame.width].astype(np.float32)
    scaled = np.nan_to_num(values).clip(0, 1) * WHITE_RGB + 0.5
    return np.repeat(scaled.astype(np.uint16)[..., None], 3, axis=2)


def _white(form: VideoFormat, levels: int) -> int:
    """The value of 1.0. RGB is expanded to all 16 bits, other full-range values are shifted up, and studio values are
    mapped to 0 to 65280. libswscale treats grey as full range, whatever the arguments."""
    bits = depth_of(form)
    if bits <= 8:
        return WHITE_RGB_4 if form.is_rgb and bits == 4 else WHITE_8
    if form.is_rgb and "msb" not in form.name:
        return WHITE_RGB
    full = form.is_rgb or levels == FULL or form.name.startswith(("gray", "ya1"))
    return ((1 << bits) - 1) << (16 - bits) if full else WHITE_16
