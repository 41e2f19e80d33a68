"""What decoders hand over beside the pixels of a frame."""

# PyAV's types say that names are yielded; it yields the data.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame


def frame_data(frame: VideoFrame) -> Iterator[tuple[Type, bytes]]:
    """Kind and content, as libavutil lays it out in memory."""
    for data in cast("Any", frame.side_data):
        yield data.type, bytes(data)
