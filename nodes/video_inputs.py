"""What can be set when a video is upscaled, and what the settings mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.image.frame_difference import LARGEST_THRESHOLD, FrameReuse
from ..core.jobs.video.plan import VideoSettings
from ..core.media.video.carry import Carry
from ..core.media.video.decode import ReadSettings
from ..core.media.video.encode import EncodeSettings
from .provenance import strips
from .resolution import target_of
from .schema import ADVANCED, finish_of, only_for, tiles_of

CODECS = ("h264", "hevc", "av1", "vp9", "prores", "ffv1", "h264_nvenc", "hevc_nvenc", "av1_nvenc")
CONTAINERS = ("mp4", "mkv", "mov", "webm")
AS_SOURCE = "as source"
DEPTHS = {AS_SOURCE: 0, "8": 8, "10": 10}
EXACT, NOISE, OFF = "exact", "within noise", "off"
OUTPUT, TEMP = "output", "temp"
USUAL_CRF = -1


def encoding_inputs() -> list[io.Input]:
    return [
        io.Combo.Input("codec", options=list(CODECS), default="h264", tooltip="How the result is compressed."),
        io.Int.Input(
            "crf",
            default=USUAL_CRF,
            min=USUAL_CRF,
            max=63,
            tooltip="Constant quality on the codec's own scale; lower means better quality and larger "
            "files. -1 uses the usual value (18 for h264). Not for prores and ffv1.",
        ),
        io.Combo.Input(
            "container",
            options=list(CONTAINERS),
            default="mp4",
            tooltip="File type. mp4 plays nearly everywhere; mkv holds every codec and subtitle.",
        ),
        io.Combo.Input(
            "bit_depth",
            options=list(DEPTHS),
            default=AS_SOURCE,
            extra_dict=ADVANCED,
            tooltip="Bits per channel; as source keeps 10 bits if the source has them.",
        ),
    ]


def held_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "held_frames",
            options=[EXACT, NOISE, OFF],
            default=EXACT,
            tooltip="Reuse results for unchanged frames and tiles. exact: only if bit-identical. "
            "within noise: also if the change is below held_threshold, for animation with "
            "held drawings.",
        ),
        io.Float.Input(
            "held_threshold",
            default=1.5,
            min=0.0,
            max=LARGEST_THRESHOLD,
            step=0.1,
            extra_dict=only_for(held_frames=[NOISE]),
            tooltip="Largest change of any block of 8x8 pixels, of 255, that counts as noise. Only for within noise.",
        ),
    ]


def file_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "save_to",
            options=[OUTPUT, TEMP],
            default=OUTPUT,
            tooltip="output keeps the file, and a cancelled run continues where it stopped. temp is emptied when "
            "ComfyUI starts; use it for results that feed another node.",
        ),
        io.String.Input(
            "filename_prefix",
            default="video/backplate",
            tooltip="File name in that folder. %width% and %height% are those of the result.",
        ),
        io.Boolean.Input("audio", default=True, extra_dict=ADVANCED, tooltip="Copy the sound, packet by packet."),
        io.Boolean.Input(
            "subtitles",
            default=True,
            extra_dict=ADVANCED,
            tooltip="Copy the subtitles. Subtitles from MKV files need the container mkv.",
        ),
        io.Boolean.Input(
            "round_even",
            default=True,
            extra_dict=ADVANCED,
            tooltip="Round odd sizes, which most codecs cannot hold, instead of refusing them.",
        ),
        io.Boolean.Input(
            "deinterlace",
            default=False,
            extra_dict=ADVANCED,
            tooltip="Deinterlace the input; interlaced video is refused otherwise.",
        ),
        io.Boolean.Input(
            "keep_partial",
            default=False,
            extra_dict=ADVANCED,
            tooltip="Keep what could be decoded of a damaged file instead of stopping.",
        ),
    ]


def settings_of(wanted: dict[str, Any], part: ReadSettings) -> VideoSettings:
    """What the inputs ask for. Raises ``InputError`` for values that make no sense."""
    target, background = target_of(wanted)
    held = wanted["held_frames"]
    return VideoSettings(
        target=target,
        background=background,
        tiles=tiles_of(wanted),
        held=FrameReuse(reuse=held != OFF, threshold=wanted["held_threshold"] if held == NOISE else 0.0),
        read=replace(part, deinterlace=wanted["deinterlace"]),
        encode=EncodeSettings(
            codec=wanted["codec"],
            crf=None if wanted["crf"] == USUAL_CRF else wanted["crf"],
            bit_depth=DEPTHS[wanted["bit_depth"]],
        ),
        carry=Carry(audio=wanted["audio"], subtitles=wanted["subtitles"], tags=not strips(wanted)),
        round_even=wanted["round_even"],
        **finish_of(wanted),
    )
