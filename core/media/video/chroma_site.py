"""The position of chroma samples that are stored for several pixels at once.

MPEG formats place them at the left pixel of each pair (H.264 annex E, figure E-1); JPEG, MPEG-1 and the H.263 family
between both. An error of half a pixel shows as a coloured fringe on every sharp edge.
"""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.error import FFmpegError
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

CENTRED = frozenset(
    ("mjpeg", "mjpegb", "amv", "sp5x", "mpeg1video", "theora", "vp3", "vp4", "h261", "h263", "h263i", "h263p", "flv1")
)
"""Codecs whose standard centres chroma, by FFmpeg's names. All others place it to the left unless a video says
otherwise."""

STRIPES = "lum=128:cb='60+100*mod(X,2)':cr=128"


def is_subsampled(form: VideoFormat) -> bool:
    return not form.is_rgb and (form.chroma_width(1000) < 1000 or form.chroma_height(1000) < 1000)


class ChromaSite:
    """Marks frames without a chroma position as left-sited."""

    def __init__(self, codec: str = "") -> None:
        self._centred = codec in CENTRED
        self._form = ""
        self._chain: _Chain | None = None

    def settled(self, frame: VideoFrame) -> VideoFrame:
        """The frame, with the same pixels. libswscale assumes centred chroma for frames that do not specify it."""
        if frame.format.name != self._form:
            self._form = frame.format.name
            left = is_subsampled(frame.format) and not self._is_centred(frame.format) and not _tells(frame)
            self._chain = _Chain(frame, "setparams", "chroma_location=left") if left else None
        return self._chain.through(frame) if self._chain else frame

    def _is_centred(self, form: VideoFormat) -> bool:
        return self._centred or form.name.startswith("yuvj")


def left_sited(frame: VideoFrame) -> VideoFrame:
    """The frame, marked as left-sited, which holds for what it is converted to as well."""
    return _Chain(frame, "setparams", "chroma_location=left").through(frame)


class _Chain:
    """One FFmpeg filter, for frames like the one it was created for."""

    def __init__(self, frame: VideoFrame, name: str, options: str) -> None:
        self._graph = Graph()
        self._size = (frame.width, frame.height)
        self._input: FilterContext = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
        )
        self._graph.link_nodes(self._input, self._graph.add(name, options), self._graph.add("buffersink")).configure()

    def through(self, frame: VideoFrame) -> VideoFrame:
        self._graph.push(frame)
        return self._graph.vpull()


def _tells(frame: VideoFrame) -> bool:
    """Whether the decoder specified the chroma position, which PyAV does not expose: stripes with the frame's own
    properties are converted as they are, and without a position."""
    try:
        striped = _Chain(frame, "geq", STRIPES).through(frame)
    except (FFmpegError, ValueError):
        return False  # packed formats come from decoders of raw video, which never specify it
    silent = _Chain(striped, "setparams", "chroma_location=unspecified").through(striped)
    first, second = (VideoReformatter().reformat(each, format="rgb24").to_ndarray() for each in (striped, silent))
    return not np.array_equal(first, second)
