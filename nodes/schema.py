"""Inputs that several nodes share, and what only newer ComfyUI versions know."""

from __future__ import annotations

import inspect
import time
from enum import Enum
from typing import Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.image.dither import Dither
from ..core.image.tiling import Edge
from ..core.tiled.pipeline import TileSettings

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


class AlwaysRun:
    """A node that reads or writes files that may have changed: it runs every time."""

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> int:
        return time.time_ns()


def values(choices: type[Enum]) -> list[str]:
    return [each.value for each in choices]


def choice_input(name: str, default: Enum, **more: Any) -> io.Input:
    """A choice among the members of an enumeration."""
    return io.Combo.Input(name, options=values(type(default)), default=default.value, **more)


def searchable(aliases: str, essentials: str = "", keeps_view: bool = False) -> dict[str, Any]:
    """Options that only newer versions of ``io.Schema`` have, where this one does: words to find the node by, separated
    by commas, its group in the sidebar's *Essentials*, and whether what it shows survives a reload of the page."""
    wanted = {
        "search_aliases": aliases.split(", "),
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
        choice_input(
            "edge",
            Edge.PLAIN,
            extra_dict=ADVANCED,
            tooltip="What the model sees beyond the border. plain: nothing, as the model was trained. "
            "replicate: the border pixels repeated. wrap horizontal: the opposite side, for 360-degree panoramas. "
            "wrap both: for textures that tile in both directions.",
        ),
    ]


def tiles_of(wanted: dict[str, Any]) -> TileSettings:
    """What ``tile_inputs`` and ``colours_input`` ask for."""
    edge, keep_colours = Edge(wanted["edge"]), wanted.get("keep_colours", True)
    return TileSettings(size=wanted["tile_size"], edge=edge, keep_colours=keep_colours)


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


def dither_and_grain(gradients: str, grain: str) -> list[io.Input]:
    """``gradients``: where auto dithers. ``grain``: more about keep."""
    return [
        choice_input(
            "dither",
            Dither.AUTO,
            optional=True,
            extra_dict=ADVANCED,
            tooltip=f"Noise of one level instead of banding in 8-bit results. auto: {gradients}",
        ),
        io.Combo.Input(
            "grain",
            options=["off", "keep"],
            default="off",
            optional=True,
            extra_dict=ADVANCED,
            tooltip=f"keep: measures the source's grain and restores what the model removed{grain}",
        ),
    ]


def finish_of(wanted: dict[str, Any]) -> dict[str, Any]:
    """What ``fidelity_input`` and ``dither_and_grain`` ask for, for the settings of a job."""
    return {
        "fidelity": wanted.get("fidelity", 0.0),
        "dither": Dither(wanted.get("dither") or Dither.AUTO),
        "grain": wanted.get("grain") == "keep",
    }


def mask_input(tooltip: str) -> io.Input:
    return io.Mask.Input("mask", optional=True, tooltip=tooltip)
