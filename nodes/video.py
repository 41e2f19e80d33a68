"""The node that upscales a video without holding it in memory."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import InputImpl, io  # pyright: ignore[reportMissingImports]

from ..core.jobs.video.frame import Finished
from ..core.jobs.video.plan import VideoJob, identity_of, pixels_of, plan_video
from ..core.jobs.video.report import VideoReport as Report
from ..core.jobs.video.run import VideoProgress, run_video
from . import comfy_host as host
from . import paths as places
from .protect import protect_inputs, still_mask
from .provenance import check_licence, commercial_input, metadata_input, text_to_embed
from .resolution import CheckedTarget, target_inputs
from .schema import CATEGORY, colours_input, dither_and_grain, fidelity_input, searchable, tile_inputs
from .upscale_model import identify, upscaler_for
from .video_inputs import encoding_inputs, file_inputs, held_inputs, settings_of
from .video_results import RESULTS, result_file, result_folder
from .video_source import part_of_video

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


class UpscaleVideo(CheckedTarget, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateUpscaleVideo",
            display_name="Upscale Video (Backplate)",
            category=CATEGORY,
            description="Brings a video of any length to the target size, frame by frame. Memory does "
            "not grow with its length; frame times, sound, subtitles and colours are "
            "kept; repeated frames are computed once.",
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="From any upscale model loader."),
                io.Video.Input("video", tooltip="Read as a stream. Only the visible part of a trimmed video is read."),
                *target_inputs(),
                *encoding_inputs(),
                *held_inputs(),
                *file_inputs(),
                *tile_inputs(),
                colours_input(),
                fidelity_input(),
                metadata_input(),
                commercial_input(),
                *dither_and_grain("in smooth gradients of sources with more bits.", ", different in every frame."),
                *protect_inputs("Every frame"),
            ],  # fmt: skip
            outputs=[
                io.Video.Output("video", tooltip="The finished file."),
                io.String.Output("report", tooltip="Frames, speed, what was reused, flicker and notes."),
                io.String.Output("report_json", tooltip="The same for scripts."),
            ],
            is_output_node=True,
            **searchable(
                "video, upscale video, anime, 1080p, 4k, 4k video, enlarge, resize video, esrgan, held frames",
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
        upscaler = upscaler_for(upscale_model, progress, wanted["tile_size"], pixels_of(source, job.settings))
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
            ui={"images": [shown], "animated": (True,), **progress.told(*short_text(report, wanted["codec"]))},
        )


def short_text(report: Report, codec: str) -> list[str]:
    """What was done and where the file is, without the times of the stages."""
    lines = [line for line in report.text().split("\n") if not line.startswith("milliseconds a frame")]
    file = f"File: {places.shown(report.output)}"
    if not plays_in_browsers(codec, report.encoding.pixel_format, report.output.suffix):
        file += " (complete, but many browsers cannot show this file type)"
    return [lines[0], "", file, *lines[1:]]


def plays_in_browsers(codec: str, pixel_format: str, suffix: str) -> bool:
    """Whether Chrome and Firefox play it anywhere. HEVC depends on the hardware; H.264 is decoded in 4:2:0 and 8 bits
    only (MDN, "Web video codec guide")."""
    kind = codec.removesuffix("_nvenc")
    plain = kind in ("av1", "vp9") or (kind == "h264" and pixel_format in ("yuv420p", "nv12"))
    return plain and suffix in (".mp4", ".webm")


NODES: list[type[io.ComfyNode]] = [UpscaleVideo]
