"""Between a video's frames and RGB, with the tags that say what its numbers mean.

Code points as in ITU-T H.273 (FFmpeg uses the same numbers). Players read the tags; a result that is converted with
one matrix and shown with another is up to 40 levels off, so everything here is explicit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from ..types import Size
from ..upscaler import InputError

Pixels = npt.NDArray[Any]
"""(H, W, 3), uint8 or uint16."""

UNSPECIFIED = 2
STUDIO, FULL = 1, 2
LARGEST_SD_HEIGHT = 576
"""Untagged video of up to so many lines is taken for standard definition (BT.601), as players do."""

MATRIX_NAMES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020"}
SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}

EXACT_FLAGS = ("ACCURATE_RND", "FULL_CHR_H_INT", "FULL_CHR_H_INP")
"""Of libswscale, which PyAV can pass since 18. Before that its conversions are off by up to 33 levels."""


def _scaling() -> Interpolation:
    flags = [Interpolation[name] for name in EXACT_FLAGS if name in Interpolation.__members__]
    scaling = Interpolation.BICUBIC
    for flag in flags:
        scaling |= flag
    return scaling


SCALING = _scaling()

WHITE_8, WHITE_16 = 255, 255 << 8
"""The number that stands for 1.0. For libswscale, deep RGB is 8-bit RGB with further bits below it, so white is 65280
and not 65535; reading it otherwise costs up to four levels of 1023."""


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


def settled_tags(tags: ColourTags, pixel_format: str, size: Size, untagged_matrix: int = 0) -> ColourTags:
    """The source's tags with what is missing filled in: by convention BT.601 up to 576 lines, else BT.709, each with
    its own primaries and transfer; RGB sources are stored as BT.709 afterwards. ``untagged_matrix`` is for sources
    whose maker is known to have used that one, on RGB with the primaries of sRGB, without saying so.

    Raises ``InputError`` for a matrix that cannot be converted (constant-luminance BT.2020, ICtCp and the like).
    """
    matrix = tags.matrix
    made_of_srgb = bool(untagged_matrix) and matrix == UNSPECIFIED
    if made_of_srgb:
        matrix = untagged_matrix
    if matrix in (0, UNSPECIFIED):
        matrix = 1 if matrix == 0 or size.height > LARGEST_SD_HEIGHT else 5 if size.height == LARGEST_SD_HEIGHT else 6
    if matrix not in SWSCALE_MATRIX:
        known = ", ".join(sorted(set(MATRIX_NAMES.values())))
        raise InputError(f"The video's colour matrix has the number {matrix}; those that can be read are {known}.")
    usual = {1: (1, 1), 4: (4, 4), 5: (5, 6), 6: (6, 6), 7: (7, 7), 9: (9, 14)}[1 if made_of_srgb else matrix]
    levels = FULL if tags.range == FULL or pixel_format.startswith("yuvj") else STUDIO
    return ColourTags(
        range=levels,
        matrix=matrix,
        primaries=usual[0] if tags.primaries in (0, UNSPECIFIED) else tags.primaries,
        transfer=usual[1] if tags.transfer in (0, UNSPECIFIED) else tags.transfer,
    )


def check_library() -> None:
    """Raises ``InputError`` for a PyAV whose colours would be wrong."""
    if not all(name in Interpolation.__members__ for name in EXACT_FLAGS):
        raise InputError(
            f"PyAV {av.__version__} converts colours wrongly; install 18 or later with: pip install -U 'av>=18'."
        )


class ColourConverter:
    """Converts frames of one video both ways; it remembers libswscale's tables between frames."""

    def __init__(self, tags: ColourTags) -> None:
        self._tags = tags
        self._reader, self._writer = VideoReformatter(), VideoReformatter()

    def to_rgb(self, frame: VideoFrame) -> tuple[Pixels, int]:
        """(H, W, 3) RGB with the frame's own transfer curve, uint8 or, for more than 8 bits, uint16; and the number
        that stands for 1.0."""
        bits = max(component.bits for component in frame.format.components)
        wanted = "rgb48le" if bits > 8 else "rgb24"
        if frame.format.is_rgb:
            whole = self._reader.reformat(frame, format=wanted, interpolation=SCALING)
            return whole.to_ndarray(), _white(bits, FULL)
        converted = self._reader.reformat(
            frame,
            format=wanted,
            src_colorspace=SWSCALE_MATRIX[self._tags.matrix],
            src_color_range=self._tags.range,
            dst_color_range=ColorRange.JPEG,
            interpolation=SCALING,
        )
        return converted.to_ndarray(), _white(bits, self._tags.range)

    def to_frame(self, pixels: Pixels, pixel_format: str) -> VideoFrame:
        """The frame in ``pixel_format`` with the tags of the video, from (H, W, 3) RGB of which 255 (uint8) or 65280
        (uint16) stands for 1.0."""
        deep = pixels.dtype == np.uint16
        frame = VideoFrame.from_ndarray(pixels, format="rgb48le" if deep else "rgb24")
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


def _white(bits: int, levels: int) -> int:
    """What 1.0 became. Full-range values are shifted up to 16 bits, studio values mapped to 0 to 65280."""
    if bits <= 8:
        return WHITE_8
    return WHITE_16 if levels == STUDIO else ((1 << bits) - 1) << (16 - bits)
