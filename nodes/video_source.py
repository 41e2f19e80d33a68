"""Where the frames of a VIDEO are, with what trimming and cropping nodes marked in it."""

from __future__ import annotations

import io as memory
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from comfy_api.latest import Input, InputImpl  # pyright: ignore[reportMissingImports]

from ..core.media.video.decode import ReadSettings
from ..core.media.video.images import SRGB, ImageVideo
from ..core.media.video.probe import Source
from ..core.types import Box

SOUND_OF = {"webm": "libopus"}
"""What the sound of a video of images is encoded with, by container; AAC else."""

HDR_TRANSFERS = {"HDR": 18, "HDR PQ": 16}
"""How newer ComfyUI calls the colours of such a video, and their transfer curve (ITU-T H.273)."""


def part_of_video(video: Any, container: str = "") -> tuple[Source, ReadSettings]:
    """Where the frames are, and the part that trimming and cropping nodes asked for. ``container`` is the kind of file
    that the sound of a video of images has to fit."""
    crop = crop_of(video)
    if not is_stream(video) or (crop is None and getattr(video, "has_pending_frame_edits", bool)()):
        return made_of_images(video, container), ReadSettings()
    stream = video.get_stream_source()
    source = stream if isinstance(stream, memory.BytesIO) else Path(stream)
    start, seconds = getattr(video, "get_active_trim_window", lambda: (0.0, 0.0))()
    return source, ReadSettings(start=start, seconds=seconds, crop=crop)


def is_stream(video: Any) -> bool:
    """Whether the video has a file behind it. One that inherits the way to its stream would be encoded for us, already
    trimmed, and with loss."""
    if isinstance(video, InputImpl.VideoFromComponents):
        return False
    return getattr(type(video), "get_stream_source", None) is not getattr(Input.Video, "get_stream_source", object())


def crop_of(video: Any) -> Box | None:
    """What Video Crop of newer ComfyUI marked, which its stream does not show; in even steps, as ComfyUI cuts."""
    asked = getattr(video, "_VideoFromFile__crop", None)
    if asked is None:
        return None
    left, top = (max(0, int(value)) // 2 * 2 for value in asked[:2])
    return Box(left, top, *video.get_dimensions())


def made_of_images(video: Any, container: str) -> ImageVideo:
    """Its frames as they lie in memory. The sound ends with them, as ComfyUI cuts it."""
    parts = video.get_components()
    sound = parts.audio or {}
    transfer = HDR_TRANSFERS.get(getattr(video, "get_color_space", str)())
    depth = getattr(video, "get_bit_depth", lambda: 8)()
    return ImageVideo(
        images=parts.images,
        rate=Fraction(parts.frame_rate).limit_denominator(1001),
        bit_depth=max(depth, 10) if transfer else depth,
        tags=replace(SRGB, matrix=9, primaries=9, transfer=transfer) if transfer else SRGB,
        sound=sound["waveform"][0] if sound else None,
        sound_rate=int(sound["sample_rate"]) if sound else 0,
        sound_codec=SOUND_OF.get(container, "aac"),
    )
