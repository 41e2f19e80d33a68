"""The nodes that upscale a video without holding it in memory, and that look a result over."""

from __future__ import annotations

import hashlib
import io as memory
import json
import time
import uuid
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths  # pyright: ignore[reportMissingImports]
import torch
from comfy_api.latest import Input, InputImpl, io  # pyright: ignore[reportMissingImports]

from ..core.image.dither import Dither
from ..core.image.frame_difference import LARGEST_THRESHOLD, FrameReuse
from ..core.image.tiling import Edge
from ..core.jobs.video.compare import VideoComparison, compare_videos
from ..core.jobs.video.frame import Finished
from ..core.jobs.video.plan import VideoJob, VideoSettings, identity_of, pixels_of, plan_video
from ..core.jobs.video.report import VideoReport as Report
from ..core.jobs.video.run import VideoProgress, run_video
from ..core.media.video.carry import Carry
from ..core.media.video.decode import ReadSettings
from ..core.media.video.encode import EncodeSettings
from ..core.media.video.images import SRGB, ImageVideo
from ..core.media.video.probe import Source, probe_video
from ..core.tiled.pipeline import TileSettings
from ..core.types import Box, Size
from . import comfy_host as host
from . import paths as places
from .protect import protect_inputs, still_mask
from .provenance import check_licence, commercial_input, metadata_input, strips, text_to_embed
from .resolution import CheckedTarget, target_inputs, target_of
from .schema import ADVANCED, CATEGORY, colours_input, fidelity_input, only_for, searchable, tile_inputs
from .upscale_model import identify, upscaler_for

CODECS = ("h264", "hevc", "av1", "vp9", "prores", "ffv1", "h264_nvenc", "hevc_nvenc", "av1_nvenc")
CONTAINERS = ("mp4", "mkv", "mov", "webm")
AS_SOURCE = "as source"
DEPTHS = {AS_SOURCE: 0, "8": 8, "10": 10}
EXACT, NOISE, OFF = "exact", "within noise", "off"
OUTPUT, TEMP = "output", "temp"
USUAL_CRF = -1

SOUND_OF = {"webm": "libopus"}
"""What the sound of a video of images is encoded with, by container; AAC else."""

HDR_TRANSFERS = {"HDR": 18, "HDR PQ": 16}
"""How newer ComfyUI calls the colours of such a video, and their transfer curve (ITU-T H.273)."""

SECONDS_BETWEEN_PREVIEWS = 1.0


class CountingFrames(host.HostProgress, VideoProgress):
    """ComfyUI's bar counts frames; the last one is shown on the node now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.reused, self.started, self.shown = 0, time.monotonic(), 0.0

    def finish_frame(self, frame: Finished) -> None:
        self.reused += frame.reused
        now = time.monotonic()
        if now - self.shown < SECONDS_BETWEEN_PREVIEWS:
            return
        self.shown = now
        pixels = torch.from_numpy(frame.pixels.astype("float32"))
        pixels /= 65280 if frame.pixels.dtype.itemsize > 1 else 255
        host.show_live(pixels.permute(2, 0, 1)[None])
        rate = (self.done + 1) / max(now - self.started, 1e-6)
        host.say(f"{self.done + 1} of {self.total} frames, {rate:.1f} fps, {self.reused} reused")


def encoding_inputs() -> list[io.Input]:
    return [
        io.Combo.Input("codec", options=list(CODECS), default="h264", tooltip="How the result is compressed."),
        io.Int.Input(
            "crf",
            default=USUAL_CRF,
            min=USUAL_CRF,
            max=63,
            tooltip="Constant quality on the codec's own scale; lower is better and larger. -1 takes the usual value "
            "(18 for h264). Not for prores and ffv1.",
        ),
        io.Combo.Input(
            "container",
            options=list(CONTAINERS),
            default="mp4",
            tooltip="Kind of file. mp4 plays nearly everywhere; mkv takes every codec and subtitle.",
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
            tooltip="Reuse results for unchanged frames and tiles. exact: only if bit-identical. within noise: also if "
            "the change is below held_threshold, for anime with held drawings.",
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
            tooltip="Name of the file, in that folder. %width% and %height% are those of the result.",
        ),
        io.Boolean.Input("audio", default=True, extra_dict=ADVANCED, tooltip="Copy the sound, packet by packet."),
        io.Boolean.Input(
            "subtitles",
            default=True,
            extra_dict=ADVANCED,
            tooltip="Copy the subtitles. Subtitles of MKV files need mkv as container.",
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


def settings_of(wanted: dict[str, Any], part: ReadSettings) -> VideoSettings:
    """What the inputs ask for. Raises ``InputError`` for values that make no sense."""
    target, background = target_of(wanted)
    held = wanted["held_frames"]
    return VideoSettings(
        target=target,
        background=background,
        tiles=TileSettings(
            size=wanted["tile_size"], edge=Edge(wanted["edge"]), keep_colours=wanted.get("keep_colours", True)
        ),
        held=FrameReuse(reuse=held != OFF, threshold=wanted["held_threshold"] if held == NOISE else 0.0),
        read=replace(part, deinterlace=wanted["deinterlace"]),
        encode=EncodeSettings(
            codec=wanted["codec"],
            crf=None if wanted["crf"] == USUAL_CRF else wanted["crf"],
            bit_depth=DEPTHS[wanted["bit_depth"]],
        ),
        carry=Carry(audio=wanted["audio"], subtitles=wanted["subtitles"], tags=not strips(wanted)),
        round_even=wanted["round_even"],
        fidelity=wanted.get("fidelity", 0.0),
        dither=Dither(wanted.get("dither") or Dither.AUTO),
        grain=wanted.get("grain") == "keep",
    )


def result_folder(wanted: dict[str, Any]) -> str:
    return folder_paths.get_temp_directory() if wanted["save_to"] == TEMP else folder_paths.get_output_directory()


def result_file(wanted: dict[str, Any], size: Size) -> tuple[Path, str]:
    """A new name in the folder that was chosen, and its sub-folder; ``size`` is what %width% and %height% stand for.
    Raises ``InputError``; see ``numbered_name``."""
    prefix, base = wanted["filename_prefix"], result_folder(wanted)
    folder, name, subfolder = places.numbered_name(prefix, base, size.width, size.height)
    return folder / f"{name}.{wanted['container']}", subfolder


class Results:
    """The last result of each combination of settings, and how many times one was found to be gone."""

    def __init__(self) -> None:
        self._last: dict[str, Path] = {}
        self._losses: Counter[str] = Counter()

    def remember(self, wanted: dict[str, Any], output: Path) -> None:
        self._last[self._key(wanted)] = output

    def losses(self, wanted: dict[str, Any]) -> int:
        """Grows by one when a result was moved away, and stays there when it has been made again."""
        key = self._key(wanted)
        if key in self._last and not self._last[key].is_file():
            del self._last[key]
            self._losses[key] += 1
        return self._losses[key]

    @staticmethod
    def _key(wanted: dict[str, Any]) -> str:
        plain = {name: value for name, value in wanted.items() if isinstance(value, (str, int, float, bool))}
        return json.dumps(plain, sort_keys=True)


RESULTS = Results()


class UpscaleVideo(CheckedTarget, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateUpscaleVideo",
            display_name="Upscale Video (Backplate)",
            category=CATEGORY,
            description="Brings a video of any length to the wanted size, frame by frame: memory does not grow with "
            "its length, frame times, sound, subtitles and colours are kept, held frames are computed once.",
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="From any upscale model loader."),
                io.Video.Input("video", tooltip="Read as a stream. Of a trimmed video only the visible part is read."),
                *target_inputs(),
                *encoding_inputs(),
                *held_inputs(),
                *file_inputs(),
                *tile_inputs(),
                colours_input(),
                fidelity_input(),
                metadata_input(),
                commercial_input(),
                io.Combo.Input(
                    "dither",
                    options=[each.value for each in Dither],
                    default=Dither.AUTO.value,
                    optional=True,
                    extra_dict=ADVANCED,
                    tooltip="Noise of one level instead of banding in 8-bit results. auto: in smooth gradients of "
                    "sources with more bits.",
                ),
                io.Combo.Input(
                    "grain",
                    options=["off", "keep"],
                    default="off",
                    optional=True,
                    extra_dict=ADVANCED,
                    tooltip="keep: measures the source's grain and restores what the model removed, different in every "
                    "frame.",
                ),
                *protect_inputs("Every frame"),
            ],  # fmt: skip
            outputs=[
                io.Video.Output("video", tooltip="The file that was written."),
                io.String.Output("report", tooltip="Frames, speed, what was reused, flicker, and what was noticed."),
                io.String.Output("report_json", tooltip="The same for scripts."),
            ],
            is_output_node=True,
            **searchable(
                "video",
                "upscale video",
                "anime",
                "1080p",
                "4k",
                "4k video",
                "enlarge",
                "resize video",
                "esrgan",
                "held frames",
                essentials="Video Tools",
            ),
        )

    @classmethod
    def fingerprint_inputs(cls, upscale_model: Any = None, video: Any = None, **wanted: Any) -> int:
        return RESULTS.losses(wanted)

    @classmethod
    def execute(cls, upscale_model: Any, video: Any, **wanted: Any) -> io.NodeOutput:
        source, part = part_of_video(video, wanted["container"])
        known = identify(upscale_model)
        check_licence(upscale_model, known, wanted)
        job = VideoJob(
            source=source,
            # Its name may tell its size, which is known with the plan.
            output=Path(result_folder(wanted), f".backplate-{uuid.uuid4().hex[:8]}.{wanted['container']}"),
            settings=settings_of(wanted, part),
            model=known,
            device=host.model_device(),
            keep_partial=wanted["keep_partial"],
            software=known.software_tag(),
            embedded=text_to_embed(cls, wanted),
            mask=still_mask(wanted.get("protect"), wanted.get("protect_mode", "resample"), "frames"),
        )
        progress = CountingFrames()
        upscaler = upscaler_for(upscale_model, progress, wanted["tile_size"], pixels_of(source, job.settings.read))
        plan = plan_video(job, upscaler)
        identity = json.dumps(identity_of(job, plan), sort_keys=True)
        name = f".backplate-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.parts"
        output, subfolder = result_file(wanted, plan.size)
        job = replace(job, output=output, parts=output.parent / name)
        report = run_video(job, upscaler, progress, plan)
        RESULTS.remember(wanted, output)
        text = host.printable(report.text())
        shown = {"filename": output.name, "subfolder": subfolder, "type": wanted["save_to"]}
        return io.NodeOutput(
            InputImpl.VideoFromFile(str(output)),
            text,
            json.dumps(report.as_dict(), indent=1),
            ui={"images": [shown], "animated": (True,), **progress.told(*short_text(report))},
        )


def short_text(report: Report) -> list[str]:
    """What became of the video and where it lies, without the times of its stages."""
    lines = [line for line in report.text().split("\n") if not line.startswith("milliseconds a frame")]
    return [lines[0], "", f"File: {places.shown(report.output)}", *lines[1:]]


class VideoReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateVideoReport",
            display_name="Video Report (Backplate)",
            category=CATEGORY,
            description="Looks a result over: whether it has the frames, times and sound of its source, how much it "
            "flickers where the source stands still, and VMAF against a reference.",
            inputs=[
                io.Video.Input("result", tooltip="The video to judge, such as the one that Upscale Video made."),
                io.Video.Input(
                    "source", optional=True, tooltip="The video before upscaling; needed for times, sound and flicker."
                ),
                io.Video.Input(
                    "reference",
                    optional=True,
                    tooltip="What it should look like, of the same size and frames, for VMAF (imageio-ffmpeg).",
                ),
            ],
            outputs=[
                io.String.Output("text", tooltip="The whole report as text."),
                io.Float.Output(
                    "flicker",
                    tooltip="Levels of 255 by which still parts change from frame to frame beyond the source; "
                    "-1 if not measured.",
                ),
                io.Float.Output("vmaf", tooltip="VMAF that gives nothing for sharpening (neg); -1 if not measured."),
                io.Boolean.Output("kept", tooltip="Whether frames, times and sound are those of the source."),
            ],
            is_output_node=True,
            **searchable("vmaf", "flicker", "compare video", "frame times"),
        )

    @classmethod
    def execute(cls, result: Any, source: Any = None, reference: Any = None) -> io.NodeOutput:
        ours, shown = part_of_video(result)
        container = "webm" if not isinstance(ours, ImageVideo) and probe_video(ours).audio == ("opus",) else ""
        origin, part = (None, None) if source is None else part_of_video(source, container)
        wanted, wanted_part = (None, None) if reference is None else part_of_video(reference)
        found = compare_videos(
            ours,
            origin,
            wanted,
            part,
            host.HostProgress(),
            result_part=shown,
            reference_part=wanted_part,
        )
        text = host.printable(found.text())
        levels = found.flicker.levels
        vmaf = next((score for name, score in found.vmaf.items() if name.endswith("neg")), -1.0)
        kept = found.times_kept is not False and found.sound_kept is not False
        told = host.printable(f"{verdict(found)}\n\n{text}")
        return io.NodeOutput(text, -1.0 if levels is None else levels, vmaf, kept, ui={"text": (told,)})


def verdict(found: VideoComparison) -> str:
    """What is to be known first."""
    known = {"frame times": found.times_kept, "sound": found.sound_kept}
    lost = [name for name, kept in known.items() if kept is False]
    kept = [name for name, kept in known.items() if kept]
    if lost:
        return f"Not those of the source: {' and '.join(lost)}."
    return f"As in the source: {' and '.join(kept)}." if kept else "There was no source to compare with."


NODES: list[type[io.ComfyNode]] = [UpscaleVideo, VideoReport]
