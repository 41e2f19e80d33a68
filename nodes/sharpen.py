"""The node that sharpens, or adds the detail of one picture to another."""

from __future__ import annotations

import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.image.sharpen import RANGES, SharpenSettings, sharpen_blend
from ..core.types import size_of
from . import comfy_host as host
from . import convert
from .before_after import of_same_frame
from .schema import CATEGORY, SLIDER, mask_input, searchable

FINE = ("radius", "threshold")
"""Only a small part of these wide ranges is useful: they are typed, not dragged."""


def setting(name: str, default: float, step: float, tooltip: str) -> io.Input:
    low, high = RANGES[name]
    display = None if name in FINE else SLIDER
    return io.Float.Input(name, default=default, min=low, max=high, step=step, display_mode=display, tooltip=tooltip)


class SharpenBlend(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        defaults = SharpenSettings()
        return io.Schema(
            node_id="BackplateSharpenBlend",
            display_name="Sharpen Blend (Backplate)",
            category=CATEGORY,
            description="Sharpens an image without halos, or gives it the fine detail of another version of itself.",
            inputs=[
                io.Image.Input("base", tooltip="The image to sharpen. An alpha channel is kept unchanged."),
                setting(
                    "amount",
                    defaults.amount,
                    0.05,
                    "Strength. 0 changes nothing; with a detail image, 1 replaces the fine detail of "
                    "base with that of detail.",
                ),
                setting(
                    "radius",
                    defaults.radius,
                    0.1,
                    "Size of the detail to sharpen, in pixels: small for texture, larger for edges.",
                ),
                setting(
                    "threshold",
                    defaults.threshold,
                    0.005,
                    "Detail weaker than this is left alone. 0.01 to 0.03 avoids sharpening grain and noise.",
                ),
                setting(
                    "halo_limit",
                    defaults.halo_limit,
                    0.01,
                    "How far a pixel may go beyond its surroundings: 0 allows no halo at all, 1 does not limit it.",
                ),
                io.Boolean.Input(
                    "luma_only",
                    default=defaults.luma_only,
                    tooltip="Sharpen brightness only, so that no coloured fringes appear.",
                ),
                setting(
                    "protect_lines",
                    defaults.protect_lines,
                    0.05,
                    "For line art and anime: at 1, ink lines get crisper without getting thinner or "
                    "darker, and flat colour is left alone.",
                ),
                io.Image.Input(
                    "detail",
                    optional=True,
                    tooltip="Another version of the same image, such as one from a sharper model, "
                    "whose fine detail replaces that of base. Another size is scaled to fit.",
                ),
                mask_input(
                    "Where to sharpen: 1 where painted. Without a mask, sharpens everywhere. Another "
                    "size is scaled to fit."
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The sharpened image."),
                io.Mask.Output("acted", tooltip="Where the image changed: 1 means by four or more levels of 255."),
            ],
            **searchable(
                "sharpen, sharpen without halos, unsharp mask, detail transfer, crisp, halo",
                essentials="Image Tools",
                keeps_view=True,
            ),
        )

    @classmethod
    def execute(
        cls,
        base: torch.Tensor,
        amount: float,
        radius: float,
        threshold: float,
        halo_limit: float,
        luma_only: bool,
        protect_lines: float,
        detail: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        settings = SharpenSettings(
            amount=amount,
            radius=radius,
            threshold=threshold,
            halo_limit=halo_limit,
            luma_only=luma_only,
            protect_lines=protect_lines,
        )
        received = convert.receive(base)
        progress = host.HostProgress()
        note = progress.note
        size = size_of(received.picture)
        other = None
        if detail is not None:
            other = convert.scaled_picture(convert.receive(detail).continued, size, "detail", note)
        area = convert.receive_area(convert.scaled_mask(mask, received.picture, note), received.picture)
        picture, acted = sharpen_blend(received.continued, settings, other, area, progress)
        device, dtype = host.where()
        return io.NodeOutput(
            convert.to_image(picture, received.alpha, device, dtype),
            convert.area_to_mask(acted, device, dtype),
            ui=progress.told(f"{float((acted > 0).float().mean()):.0%} of the pixels changed.")
            | of_same_frame(received.picture, picture, received.alpha, received.alpha),
        )


NODES: list[type[io.ComfyNode]] = [SharpenBlend]
