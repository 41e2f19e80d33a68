"""The node that makes an enlarged image agree with its source."""

from __future__ import annotations

import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.image.fidelity_lock import COARSEST, Locked, LockSettings, fidelity_lock
from ..core.types import size_of
from . import comfy_host as host
from . import convert
from .schema import CATEGORY, SLIDER, searchable


class FidelityLock(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateFidelityLock",
            display_name="Fidelity Lock (Backplate)",
            category=CATEGORY,
            description="Makes an enlarged image agree with its source again, whatever enlarged it: "
            "scaled down to the source's size, it is the source. Added fine detail stays; "
            "letters, faces and colours that drifted come back.",
            inputs=[
                io.Image.Input(
                    "image", tooltip="The enlarged image, from any upscaler. An alpha channel is kept unchanged."
                ),
                io.Image.Input(
                    "source",
                    tooltip="What it was made from: the same number of images, or one for all, with "
                    "the same crop. A shift of up to two source pixels and an overall colour "
                    "change are detected and removed.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    display_mode=SLIDER,
                    tooltip="How much of the difference from the source to remove. 0 changes nothing; "
                    "at 1 the image agrees with its source to about one level of 255.",
                ),
                io.Float.Input(
                    "coarser_than",
                    default=0.0,
                    min=0.0,
                    max=COARSEST,
                    step=0.5,
                    tooltip="Remove only differences larger than this many source pixels: about 8 "
                    "locks shapes and colours and leaves textures to the upscaler. 0 locks "
                    "everything.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The locked image, in the same size."),
                io.String.Output("report", tooltip="How well it agrees with its source, before and after, in dB."),
            ],
            **searchable(
                "fidelity, consistency, back-projection, true to the source, hallucination, colour fix, "
                "color match, SUPIR, SeedVR2",
            ),
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, source: torch.Tensor, strength: float = 1.0, coarser_than: float = 0.0
    ) -> io.NodeOutput:
        received, origin = convert.receive(image), convert.receive(source)
        pictures = [received.continued, origin.continued]
        if pictures[0].shape[1] != pictures[1].shape[1]:
            pictures = [each.expand(-1, 3, -1, -1) for each in pictures]
        progress = host.HostProgress()
        settings = LockSettings(strength=strength, coarser_than=coarser_than)
        locked = fidelity_lock(pictures[0], pictures[1].to(pictures[0].device), settings, progress)
        progress.show(locked.picture, received.alpha)
        report = report_of(locked, pictures[1], pictures[0])
        device, dtype = host.where()
        channel = received.alpha if received.has_channel else None
        return io.NodeOutput(
            convert.to_image(locked.picture, channel, device, dtype), report, ui=progress.told(*report.split("\n"))
        )


def report_of(locked: Locked, source: torch.Tensor, image: torch.Tensor) -> str:
    """Sizes and figures; a line for each image of a batch of several."""
    sizes = [str(size_of(each)) for each in (image, source)]
    lines = [f"{sizes[0]}, locked to {sizes[1]}: {locked.note}."]
    several = len(locked.before) > 1
    for number, (before, after, found) in enumerate(
        zip(locked.before, locked.after, locked.found, strict=True), start=1
    ):
        parts = [f"{before:.1f} dB before, {after:.1f} dB after"] if several else []
        parts += [found.note] if found.note else []
        if parts:
            lines.append((f"Image {number}: " if several else "") + "; ".join(parts) + ".")
    return "\n".join(lines)


NODES: list[type[io.ComfyNode]] = [FidelityLock]
