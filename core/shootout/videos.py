"""Frames of a video file as pictures, one at a time."""

# PyAV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..upscaler import InputError


def read_frames(path: Path) -> Iterator[torch.Tensor]:
    """Each frame of the first video stream as a picture (1, 3, H, W), 0 to 1, in the order of showing. The file's
    colour tags decide the way to RGB; more than 8 bits are kept.

    Raises ``InputError`` without PyAV, and for a file that cannot be decoded to its end.
    """
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise InputError(f"{path.name} is a video, which needs PyAV; install it with: pip install av") from error
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path.name} holds no video.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                yield _picture(frame)
    except FFmpegError as error:
        raise InputError(f"{path.name} cannot be read as a video: {error.strerror}.") from error


def _picture(frame: Any) -> torch.Tensor:
    deep = any(component.bits > 8 for component in frame.format.components)
    values = frame.to_ndarray(format="rgb48le" if deep else "rgb24")
    scaled = values.astype(np.float32) / (65535 if deep else 255)
    return torch.from_numpy(scaled).permute(2, 0, 1)[None]
