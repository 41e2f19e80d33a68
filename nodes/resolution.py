"""Nodes that bring images to a wanted size, with a model and without."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.image.canvas import Background, Fill
from ..core.image.fit import Anchor, Fit, Target
from ..core.image.tiling import Edge
from ..core.tiled.pipeline import FitResult, TileSettings, upscale_to
from . import comfy_host as host
from . import convert
from .schema import CATEGORY, LARGEST_SIDE, mask_input, searchable, tile_inputs, values
from .upscale_model import upscaler_for


def image_inputs() -> list[io.Input]:
    return [
        io.Image.Input(
            "image",
            tooltip="One image or a batch. An image with an alpha channel comes out with one.",
        ),
    ]


def target_inputs() -> list[io.Input]:
    """What size is wanted, and what to do where the aspects differ."""
    side = {"default": 2048, "min": 0, "max": LARGEST_SIDE, "step": 1}
    return [
        io.Int.Input("width", **side, tooltip="Wanted width in pixels. 0 takes it from height and the aspect."),
        io.Int.Input("height", **side, tooltip="Wanted height in pixels. 0 takes it from width and the aspect."),
        io.Combo.Input(
            "fit",
            options=values(Fit),
            default=Fit.COVER.value,
            tooltip="cover: fill width x height and crop the rest. contain: the largest that lies inside. "
            "pad: the same, padded to width x height. stretch: distort. longest: the longer side becomes the larger "
            "number. shortest: the shorter side becomes the smaller number. megapixels: a certain area. "
            "factor: a certain enlargement.",
        ),
        io.Combo.Input(
            "anchor",
            options=values(Anchor),
            default=Anchor.CENTER.value,
            tooltip="Which part stays when the image is cropped, or where it stands when it is padded.",
        ),
        io.Float.Input(
            "megapixels",
            default=4.0,
            min=0.01,
            max=256.0,
            step=0.1,
            tooltip="Area of the result in millions of pixels. Only for fit megapixels.",
        ),
        io.Float.Input(
            "factor",
            default=2.0,
            min=0.01,
            max=16.0,
            step=0.1,
            tooltip="Enlargement of both sides; it need not be that of the model. Only for fit factor.",
        ),
        io.Int.Input(
            "multiple_of",
            default=1,
            min=1,
            max=256,
            tooltip="Both sides become multiples of this, by a small crop or padding, never by distortion. "
            "Video and diffusion models ask for 8, 16 or 64.",
        ),
        io.Combo.Input(
            "pad_with",
            options=values(Fill),
            default=Fill.EDGE.value,
            tooltip="What fills the bars of fit pad. edge: the border pixels go on. colour: pad_colour. "
            "transparent: the image gets an alpha channel, 0 in the bars.",
        ),
        io.String.Input(
            "pad_colour",
            default="#ffffff",
            tooltip="Colour of the bars: #rrggbb, a name like white, or r,g,b from 0 to 255. Only for pad_with colour.",
        ),
    ]


def mask_beside() -> io.Input:
    return mask_input(
        "Transparency of the image, 1 where it is transparent, as Load Image gives it. It is brought to the same "
        "size, and hidden colours do not bleed into the visible edge."
    )


def fitted_outputs() -> list[io.Output]:
    return [
        io.Image.Output(
            "image",
            tooltip="The image in its new size, with an alpha channel if it came with one or got transparent bars.",
        ),
        io.Mask.Output("padded", tooltip="1 where the image was padded: the mask to outpaint."),
        io.Int.Output("width", tooltip="Width of the result in pixels."),
        io.Int.Output("height", tooltip="Height of the result in pixels."),
        io.Mask.Output("mask", tooltip="Its transparency: 1 where transparent, 0 if there is none."),
    ]


def target_of(wanted: dict[str, Any]) -> tuple[Target, Background]:
    """What the inputs of ``target_inputs`` ask for. Raises ``InputError`` for values that make no sense."""
    target = Target(
        width=wanted["width"],
        height=wanted["height"],
        fit=Fit(wanted["fit"]),
        anchor=Anchor(wanted["anchor"]),
        megapixels=wanted["megapixels"],
        factor=wanted["factor"],
        multiple_of=wanted["multiple_of"],
    )
    return target, Background(Fill(wanted["pad_with"]), wanted["pad_colour"])


def send(result: FitResult, has_channel: bool, background: Background) -> io.NodeOutput:
    """The outputs of ``fitted_outputs``. Transparent bars are worth an alpha channel of their own."""
    transparent_bars = result.plan.padded and background.fill is Fill.TRANSPARENT
    channel = result.alpha if has_channel or transparent_bars else None
    device, dtype = host.where()
    return io.NodeOutput(
        convert.to_image(result.picture, channel, device, dtype),
        convert.area_to_mask(result.padded, device, dtype),
        *result.plan.canvas,
        convert.to_mask(result.alpha, result.picture, device, dtype),
    )


class UpscaleToResolution(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateUpscaleToResolution",
            display_name="Upscale to Resolution (Backplate)",
            category=CATEGORY,
            description="Brings images to exactly the wanted size: enlarges with the model as often as that takes, "
            "scales down to the last pixel, and crops or pads. The aspect is kept unless fit is stretch.",
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="From any upscale model loader."),
                *image_inputs(),
                *target_inputs(),
                *tile_inputs(),
                mask_beside(),
            ],
            outputs=fitted_outputs(),
            **searchable("upscale to size", "4k", "delivery size", "resize with model", "super resolution"),
        )

    @classmethod
    def execute(
        cls,
        upscale_model: Any,
        image: torch.Tensor,
        tile_size: int,
        edge: str,
        mask: torch.Tensor | None = None,
        **wanted: Any,
    ) -> io.NodeOutput:
        received = convert.receive(image, mask)
        target, background = target_of(wanted)
        tiles = TileSettings(size=tile_size, edge=Edge(edge))
        progress = host.HostProgress()
        upscaler = upscaler_for(upscale_model, progress, tile_size)
        result = upscale_to(received.picture, received.alpha, upscaler, target, tiles, background, progress)
        progress.show(result.picture)
        return send(result, received.has_channel, background)


class FitToResolution(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateFitToResolution",
            display_name="Fit to Resolution (Backplate)",
            category=CATEGORY,
            description="Brings images to exactly the wanted size without a model: scales (Lanczos), and crops or "
            "pads. The aspect is kept unless fit is stretch.",
            inputs=[*image_inputs(), *target_inputs(), mask_beside()],
            outputs=fitted_outputs(),
            **searchable("resize", "scale", "crop", "pad", "outpaint padding", "downscale"),
        )

    @classmethod
    def execute(cls, image: torch.Tensor, mask: torch.Tensor | None = None, **wanted: Any) -> io.NodeOutput:
        received = convert.receive(image, mask)
        target, background = target_of(wanted)
        progress = host.HostProgress()
        result = upscale_to(received.picture, received.alpha, None, target, background=background, progress=progress)
        progress.show(result.picture)
        return send(result, received.has_channel, background)


NODES: list[type[io.ComfyNode]] = [UpscaleToResolution, FitToResolution]
