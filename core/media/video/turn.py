"""How a player rotates and mirrors the frames of a video before it shows them."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from ...types import Box, Size
from .frame_data import frame_data
from .header import Margins


class Turn(NamedTuple):
    """Mirror horizontally first if ``mirrored``, then rotate by ``degrees`` (a multiple of 90) counterclockwise."""

    degrees: int = 0
    mirrored: bool = False

    def size(self, size: Size) -> Size:
        return Size(size.height, size.width) if self.degrees % 180 else size

    def applied(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(H, W, C) in display orientation."""
        if self.mirrored:
            pixels = pixels[:, ::-1]
        return np.rot90(pixels, self.degrees // 90)

    def window(self, stored: Size, margins: Margins) -> Box:
        """The rotated frame without the margins of the stored one."""
        left, top, right, bottom = margins
        if self.mirrored:
            left, right = right, left
        for _ in range(self.degrees // 90):
            left, top, right, bottom = top, right, bottom, left
        whole = self.size(stored)
        return Box(left, top, whole.width - left - right, whole.height - top - bottom)


def turn_of(frame: VideoFrame) -> Turn:
    """The orientation from the frame's display matrix (libavutil/display.h), to the nearest quarter turn."""
    for kind, content in frame_data(frame):
        if kind == Type.DISPLAYMATRIX:
            return _turn(np.frombuffer(content, np.int32)[:5].tolist())
    return Turn()


def _turn(matrix: list[int]) -> Turn:
    """A pixel at (x, y) is shown at (a x + c y, b x + d y)."""
    a, b, _, c, d = matrix
    if not (a or b or c or d):
        return Turn()
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    degrees = -math.degrees(math.atan2(b - c, a + d))
    return Turn(round(degrees / 90) * 90 % 360, mirrored)
