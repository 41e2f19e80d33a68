"""The node that enlarges by the model's own factor."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.image.keep_colours import ColourChange
from ..core.image.tiling import Edge
from ..core.tiled.pipeline import TileSettings, upscale_with_alpha
from ..core.types import size_of
from . import comfy_host as host
from . import convert
from .before_after import of_same_frame
from .protect import protect_inputs, protection_of
from .schema import CATEGORY, colours_input, mask_input, searchable, tile_inputs
from .upscale_model import upscaler_for


class TiledUpscale(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BackplateTiledUpscale",
            display_name="Tiled Upscale (Backplate)",
            category=CATEGORY,
            description="Enlarges images by the model's own factor, tile by tile and without seams: "
            "the result is the same as for the whole image at once.",
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="From any upscale model loader."),
                io.Image.Input(
                    "image",
                    tooltip="One image or a batch. An alpha channel is kept.",
                ),
                *tile_inputs(),
                mask_input(
                    "Transparency of the image, 1 where transparent, from Load Image. It is enlarged "
                    "with the image, and hidden colours do not bleed into the visible edge."
                ),
                colours_input(),
                *protect_inputs(),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The enlarged image, with an alpha channel if it had one."),
                io.Mask.Output("mask", tooltip="The enlarged transparency: 1 where transparent, 0 if there is none."),
            ],
            **searchable(
                "upscale, enlarge, 4x, super resolution, esrgan, seamless tiles, 360, panorama, "
                "equirectangular, seamless texture, wrap",
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
    ) -> io.NodeOutput:
        received = convert.receive(image, mask)
        tiles = TileSettings(size=tile_size, edge=Edge(edge), keep_colours=keep_colours)
        progress = host.HostProgress()
        protection = protection_of(protect, protect_mode, received.picture, progress.note)
        pixels = received.picture[:, 0].numel()
        upscaler = upscaler_for(upscale_model, progress, tile_size, pixels)
        change = ColourChange()
        picture, alpha = upscale_with_alpha(
            received.picture, received.alpha, upscaler, tiles, progress, change, protection
        )
        device, dtype = host.where()
        size = size_of(received.picture)
        channel = alpha if received.has_channel else None
        return io.NodeOutput(
            convert.to_image(picture, channel, device, dtype),
            convert.to_mask(alpha, picture, device, dtype),
            ui=progress.told(*filter(None, [f"{size} to {size.scaled(upscaler.spec.scale)}.", change.sentence]))
            | of_same_frame(received.picture, picture, received.alpha, alpha),
        )


NODES: list[type[io.ComfyNode]] = [TiledUpscale]
