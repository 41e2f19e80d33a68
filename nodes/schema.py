"""Inputs that several nodes share, and what only newer ComfyUI versions know."""

from __future__ import annotations

import inspect
from enum import Enum
from typing import Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.image.tiling import Edge

CATEGORY = "Backplate"
LARGEST_SIDE = 16384
"""As in the nodes of ComfyUI."""
ADVANCED = {"advanced": True}
"""For ``extra_dict``: the input hides under *Show advanced inputs*. Unlike ``advanced=``, 0.8.0 knows it."""


def only_for(**choices: list[str]) -> dict[str, Any]:
    """For ``extra_dict``: as ``ADVANCED``, until another input has one of these values (``web/js/advanced.js``)."""
    return {**ADVANCED, "shown_for": choices}


SLIDER = io.NumberDisplay.slider
"""How the front end draws an amount. *gradient_slider* of newer ComfyUI paints colours, which these are not."""


def values(choices: type[Enum]) -> list[str]:
    return [each.value for each in choices]


def searchable(*aliases: str, essentials: str = "", keeps_view: bool = False) -> dict[str, Any]:
    """What only newer versions of ``io.Schema`` know, where this one does: words to find the node by, its group in the
    sidebar's *Essentials*, and whether what it shows survives a reload of the page."""
    wanted = {
        "search_aliases": list(aliases),
        "essentials_category": essentials or None,
        "has_intermediate_output": keeps_view,
    }
    known = inspect.signature(io.Schema).parameters
    return {name: value for name, value in wanted.items() if value and name in known}


def tile_inputs() -> list[io.Input]:
    """How a picture is cut for the model; settings that the automatic choice nearly always meets."""
    return [
        io.Int.Input(
            "tile_size",
            default=0,
            min=0,
            max=4096,
            step=16,
            extra_dict=ADVANCED,
            tooltip="Side of a tile in input pixels. 0 chooses one that suits the model and the "
            "device. It does not affect the result; smaller tiles need less memory.",
        ),
        io.Combo.Input(
            "edge",
            options=values(Edge),
            default=Edge.PLAIN.value,
            extra_dict=ADVANCED,
            tooltip="What the model sees beyond the border. plain: nothing, as the model was trained. "
            "replicate: the border pixels repeated. wrap horizontal: the opposite side, for 360-degree panoramas. "
            "wrap both: for textures that tile in both directions.",
        ),
    ]


def colours_input() -> io.Input:
    return io.Boolean.Input(
        "keep_colours",
        default=True,
        optional=True,
        extra_dict=ADVANCED,
        tooltip="Gives flat areas the colours of the source again; detail stays the model's. Off: the "
        "model's own colours. Models of scale 1 may change colours.",
    )


def fidelity_input() -> io.Input:
    return io.Float.Input(
        "fidelity",
        default=0.0,
        min=0.0,
        max=1.0,
        step=0.05,
        optional=True,
        display_mode=SLIDER,
        extra_dict=ADVANCED,
        tooltip="Locks each result to its source: at 1, a result scaled back down equals the source; at 0, it stays as "
        "the model made it. See Fidelity Lock.",
    )


def mask_input(tooltip: str) -> io.Input:
    return io.Mask.Input("mask", optional=True, tooltip=tooltip)
