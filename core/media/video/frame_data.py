"""The side data that decoders provide with the pixels of a frame."""

# PyAV's types do not say what side data yields.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame


def frame_data(frame: VideoFrame) -> Iterator[tuple[Type, bytes]]:
    """Kind and content, in libavutil's memory layout."""
    found = cast("Any", frame.side_data)
    for each in found:
        # PyAV 18 yields the data, 19 its kind.
        kind, data = (each, found[each]) if isinstance(each, Type) else (each.type, each)
        yield kind, bytes(data)
