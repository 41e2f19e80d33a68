"""Nodes that bring images to a target size, with and without a model."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.errors import InputError
from ..core.image.canvas import Background, Fill, parse_colour
from ..core.image.fit import Anchor, Fit, Target, pixels_for_model, plan_fit
from ..core.image.keep_colours import ColourChange
from ..core.image.tiling import Edge
from ..core.tiled.pipeline import FitResult, TileSettings, upscale_to
from ..core.types import Size, size_of
from . import comfy_host as host
from . import convert
from .before_after import of_resolution
from .limits import refuse_beyond_limits
from .protect import protect_inputs, protection_of
from .schema import (
    ADVANCED,
    CATEGORY,
    LARGEST_SIDE,
    choice_input,
    colours_input,
    mask_input,
    only_for,
    searchable,
    tile_inputs,
)
from .upscale_model import upscaler_for

BY_SIDES = tuple(fit.value for fit in Fit if fit not in (Fit.MEGAPIXELS, Fit.FACTOR))
"""Fits that need a width or a height."""


def image_inputs() -> list[io.Input]:
    return [
        io.Image.Input(
            "image",
            tooltip="One image or a batch. An alpha channel is kept.",
        ),
    ]


def target_inputs() -> list[io.Input]:
    """The target size, and what to do if the aspects differ."""
    side = {"default": 2048, "min": 0, "max": LARGEST_SIDE, "step": 1}
    return [
        io.Int.Input("width", **side, tooltip="Target width in pixels. 0 follows from the height and the proportions."),
        io.Int.Input(
            "height", **side, tooltip="Target height in pixels. 0 follows from the width and the proportions."
        ),
        choice_input(
            "fit",
            Fit.CONTAIN,
            tooltip="contain: the largest size inside width x height; nothing is cropped. cover: fill "
            "width x height and crop the rest. pad: contain, padded to width x height. "
            "stretch: distort. longest: the longer side becomes the larger number. shortest: "
            "the shorter side becomes the smaller number. megapixels: a given area. factor: a "
            "given enlargement.",
        ),
        choice_input(
            "anchor",
            Anchor.CENTER,
            extra_dict=only_for(fit=[Fit.COVER.value, Fit.PAD.value]),
            tooltip="Which part to keep when cropping, or where to place the image when padding.",
        ),
        io.Float.Input(
            "megapixels",
            default=4.0,
            min=0.01,
            max=256.0,
            step=0.1,
            extra_dict=only_for(fit=[Fit.MEGAPIXELS.value]),
            tooltip="Area of the result in millions of pixels. Only for fit megapixels.",
        ),
        io.Float.Input(
            "factor",
            default=2.0,
            min=0.01,
            max=16.0,
            step=0.1,
            extra_dict=only_for(fit=[Fit.FACTOR.value]),
            tooltip="Enlargement of both sides; any value works with any model. Only for fit factor.",
        ),
        io.Int.Input(
            "multiple_of",
            default=1,
            min=1,
            max=256,
            extra_dict=ADVANCED,
            tooltip="Makes both sides multiples of this, by a small crop or padding, never by "
            "distortion. Video and diffusion models need 8, 16 or 64.",
        ),
        choice_input(
            "pad_with",
            Fill.EDGE,
            extra_dict=only_for(fit=[Fit.PAD.value]),
            tooltip="What fills the bars of fit pad. edge: the border pixels, repeated. colour: "
            "pad_colour. transparent: an alpha channel that is 0 in the bars.",
        ),
        io.String.Input(
            "pad_colour",
            default="#ffffff",
            extra_dict=only_for(pad_with=[Fill.COLOUR.value]),
            tooltip="Colour of the bars: #rrggbb, a name like white, or r,g,b from 0 to 255. Only for pad_with colour.",
        ),
    ]


def mask_beside() -> io.Input:
    return mask_input(
        "Transparency of the image, 1 where transparent, from Load Image. It is scaled to the same "
        "size, and hidden colours do not bleed into the visible edge."
    )


def fitted_outputs() -> list[io.Output]:
    return [
        io.Image.Output(
            "image",
            tooltip="The image in its new size, with an alpha channel if it had one or has transparent bars.",
        ),
        io.Mask.Output("padded", tooltip="1 where the image was padded: a mask for outpainting."),
        io.Int.Output("width", tooltip="Width of the result in pixels."),
        io.Int.Output("height", tooltip="Height of the result in pixels."),
        io.Mask.Output("mask", tooltip="The transparency: 1 where transparent, 0 if there is none."),
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


def known_target(inputs: list[io.Input], **given: Any) -> bool | str:
    """Before the run: True, or why no picture can be brought to that. A value that is None comes over a link."""
    what = ""
    try:
        refuse_beyond_limits(inputs, given)
        if given["pad_colour"] is not None and given["pad_with"] in (None, Fill.COLOUR.value):
            what = "pad_colour: "  # ComfyUI shows the sentence beside every input that is checked here
            parse_colour(given["pad_colour"])
            what = ""
        sides, fit = (given["width"], given["height"]), given["fit"]
        if None not in sides and fit in BY_SIDES and not any(sides):
            plan_fit(Size(1, 1), Target(fit=Fit(fit)))
    except InputError as error:
        return f"{what}{error}"
    return True


class CheckedTarget:
    """Rejects invalid values of ``target_inputs`` before the run, where they are known."""

    @classmethod
    def validate_inputs(
        cls,
        width: int | None = None,
        height: int | None = None,
        fit: str | None = None,
        pad_with: str | None = None,
        pad_colour: str | None = None,
    ) -> bool | str:
        return known_target(
            target_inputs(), width=width, height=height, fit=fit, pad_with=pad_with, pad_colour=pad_colour
        )


def send(
    result: FitResult,
    received: convert.Received,
    background: Background,
    progress: host.HostProgress,
    *lines: str,
    views: dict[str, Any] | None = None,
) -> io.NodeOutput:
    """The outputs of ``fitted_outputs``; ``lines`` stand under the node as well. Transparent bars are worth an alpha
    channel of their own."""
    transparent_bars = result.plan.padded and background.fill is Fill.TRANSPARENT
    channel = result.alpha if received.has_channel or transparent_bars else None
    device, dtype = host.where()
    return io.NodeOutput(
        convert.to_image(result.picture, channel, device, dtype),
        convert.area_to_mask(result.padded, device, dtype),
        *result.plan.canvas,
        convert.to_mask(result.alpha, result.picture, device, dtype),
        ui=progress.told(*filter(None, [what_was_done(result, received), *lines])) | (views or {}),
    )


def what_was_done(result: FitResult, received: convert.Received) -> str:
    """Sizes, and what became of the rest of the picture, in a sentence."""
    source, plan = size_of(received.picture), result.plan
    if plan.padded:
        rest = f", of which {plan.canvas.pixels - plan.placed.size.pixels:,} pixels are padding"
    else:
        lost = 1 - plan.source_box.width * plan.source_box.height / source.pixels
        rest = f", {lost:.0%} of the picture was cropped" if lost >= 0.005 else ""
    passes = (
        "" if not result.passes else f" in {result.passes} {'pass' if result.passes == 1 else 'passes'} of the model"
    )
    return f"{source} to {plan.canvas}{passes}{rest}."


class UpscaleToResolution(CheckedTarget, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateUpscaleToResolution",
            display_name="Upscale to Resolution (Backplate)",
            category=CATEGORY,
            description="Brings images to an exact size: enlarges with the model as often as "
            "necessary, scales down to the exact size, and crops or pads. Proportions are "
            "kept unless fit is stretch.",
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="From any upscale model loader."),
                *image_inputs(),
                *target_inputs(),
                *tile_inputs(),
                mask_beside(),
                colours_input(),
                *protect_inputs(),
            ],
            outputs=fitted_outputs(),
            **searchable(
                "upscale, upscale to size, 4k, 8k, enlarge, resize, resize with model, delivery size, "
                "super resolution, esrgan, 360, panorama, seamless texture",
                essentials="Image Tools",
                keeps_view=True,
            ),
        )

    @classmethod
    def execute(
        cls,
        upscale_model: Any,
        image: torch.Tensor,
        tile_size: int,
        edge: str,
        mask: torch.Tensor | None = None,
        keep_colours: bool = True,
        protect: torch.Tensor | None = None,
        protect_mode: str = "resample",
        **wanted: Any,
    ) -> io.NodeOutput:
        received = convert.receive(image, mask)
        target, background = target_of(wanted)
        tiles = TileSettings(size=tile_size, edge=Edge(edge), keep_colours=keep_colours)
        change = ColourChange()
        progress = host.HostProgress()
        protection = protection_of(protect, protect_mode, received.picture, progress.note)
        pixels = len(received.picture) * pixels_for_model(size_of(received.picture), target)
        upscaler = upscaler_for(upscale_model, progress, tile_size, pixels)
        result = upscale_to(
            received.picture,
            received.alpha,
            upscaler,
            target,
            tiles,
            background,
            progress,
            change=change,
            protection=protection,
        )
        views = of_resolution(received, result, target)
        return send(result, received, background, progress, change.sentence, views=views)


class FitToResolution(CheckedTarget, io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateFitToResolution",
            display_name="Fit to Resolution (Backplate)",
            category=CATEGORY,
            description="Brings images to an exact size without a model: scales (Lanczos), and crops "
            "or pads. Proportions are kept unless fit is stretch.",
            inputs=[*image_inputs(), *target_inputs(), mask_beside()],
            outputs=fitted_outputs(),
            **searchable("resize, scale, crop, pad, outpaint padding, downscale, fit, canvas", keeps_view=True),
        )

    @classmethod
    def execute(cls, image: torch.Tensor, mask: torch.Tensor | None = None, **wanted: Any) -> io.NodeOutput:
        received = convert.receive(image, mask)
        target, background = target_of(wanted)
        progress = host.HostProgress()
        result = upscale_to(received.picture, received.alpha, None, target, background=background, progress=progress)
        progress.show(result.picture, result.alpha)
        return send(result, received, background, progress)


NODES: list[type[io.ComfyNode]] = [UpscaleToResolution, FitToResolution]
