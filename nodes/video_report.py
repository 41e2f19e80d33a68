"""The node that inspects a result."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.jobs.video.compare import VideoComparison, compare_videos
from ..core.media.video.images import ImageVideo
from ..core.media.video.probe import probe_video
from . import comfy_host as host
from .schema import CATEGORY, searchable
from .video_source import part_of_video


class VideoReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateVideoReport",
            display_name="Video Report (Backplate)",
            category=CATEGORY,
            description="Checks a result: whether it has the frames, times and sound of its source, "
            "how much it flickers where the source stands still, and VMAF against a "
            "reference.",
            inputs=[
                io.Video.Input("result", tooltip="The video to judge, such as the one that Upscale Video made."),
                io.Video.Input(
                    "source", optional=True, tooltip="The video before upscaling; needed for times, sound and flicker."
                ),
                io.Video.Input(
                    "reference",
                    optional=True,
                    tooltip="What it should look like, with the same size and frames, for VMAF (imageio-ffmpeg).",
                ),
            ],
            outputs=[
                io.String.Output("text", tooltip="The full report as text."),
                io.Float.Output(
                    "flicker",
                    tooltip="Levels of 255 by which still parts change from frame to frame beyond the source; "
                    "-1 if not measured.",
                ),
                io.Float.Output("vmaf", tooltip="VMAF that does not reward sharpening (neg); -1 if not measured."),
                io.Boolean.Output("kept", tooltip="Whether frames, times and sound are those of the source."),
            ],
            is_output_node=True,
            **searchable("vmaf, flicker, compare video, frame times"),
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
    """The headline."""
    known = {"frame times": found.times_kept, "sound": found.sound_kept}
    lost = [name for name, kept in known.items() if kept is False]
    kept = [name for name, kept in known.items() if kept]
    if lost:
        return f"Not those of the source: {' and '.join(lost)}."
    return f"As in the source: {' and '.join(kept)}." if kept else "There was no source to compare with."


NODES: list[type[io.ComfyNode]] = [VideoReport]
