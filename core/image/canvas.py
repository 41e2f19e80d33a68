"""Putting a fitted picture on its canvas."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from PIL import ImageColor
from torch.nn.functional import pad

from ..errors import InputError
from ..types import Box
from .fit import FitPlan


class Fill(str, Enum):
    """What fills the canvas around a picture. EDGE: its border pixels, repeated outward. COLOUR: one colour.
    TRANSPARENT: nothing, the alpha is 0 there."""

    EDGE = "edge"
    COLOUR = "colour"
    TRANSPARENT = "transparent"


@dataclass(frozen=True)
class Background:
    """``colour`` is read by ``parse_colour`` and used by ``Fill.COLOUR`` only."""

    fill: Fill = Fill.EDGE
    colour: str = "white"


def parse_colour(text: str) -> tuple[float, float, float]:
    """R, G, B from 0 to 1 out of ``#rrggbb``, ``#rgb``, a CSS colour name or ``r,g,b`` with values 0 to 255.

    Raises ``InputError`` for anything else.
    """
    written = text.strip().lower()
    try:
        numbers = ImageColor.getrgb(f"rgb({written})" if written[:1].isdigit() else written)
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise InputError(
            f"{text!r} is not an opaque colour; write #rrggbb, three numbers from 0 to 255 like 255,128,0, or a "
            "name like white."
        )
    red, green, blue = numbers
    if max(red, green, blue) > 255:
        raise InputError(f"The colour {text!r} has a value over 255; write three numbers from 0 to 255.")
    return red / 255, green / 255, blue / 255


def place(
    picture: torch.Tensor, alpha: torch.Tensor | None, plan: FitPlan, background: Background
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The picture and its alpha on the plan's canvas.

    ``picture`` has the size of ``plan.placed``. A grey picture becomes RGB where the colour around it is not grey.
    Around the picture, alpha is 1 on a colour, is repeated outward like the pixels with EDGE, and is 0 with
    TRANSPARENT, which adds alpha to a picture without it. Raises ``InputError`` for an invalid colour.
    """
    if not plan.padded:
        return picture, alpha
    if background.fill is Fill.COLOUR:
        red, green, blue = parse_colour(background.colour)
        if red == green == blue:
            canvas = _on(picture, plan, [red] * picture.shape[1])
        else:
            canvas = _on(picture.expand(-1, 3, -1, -1), plan, [red, green, blue])
        return canvas, None if alpha is None else _on(alpha, plan, [1.0])
    canvas = _continued(picture, plan)
    if background.fill is Fill.EDGE:
        return canvas, None if alpha is None else _continued(alpha, plan)
    visible = torch.ones_like(picture[:, :1]) if alpha is None else alpha
    return canvas, _on(visible, plan, [0.0])


def padded_mask(plan: FitPlan, batch: int) -> torch.Tensor:
    """(batch, 1, H, W) on the CPU: 1 where the canvas shows background, 0 where it shows the picture."""
    mask = torch.ones(batch, 1, plan.canvas.height, plan.canvas.width)
    inside(mask, plan.placed).zero_()
    return mask


def _on(picture: torch.Tensor, plan: FitPlan, channels: list[float]) -> torch.Tensor:
    colour = torch.tensor(channels, dtype=picture.dtype, device=picture.device)
    shape = (len(picture), len(channels), plan.canvas.height, plan.canvas.width)
    canvas = colour[None, :, None, None].expand(shape).clone()
    inside(canvas, plan.placed).copy_(picture)
    return canvas


def _continued(picture: torch.Tensor, plan: FitPlan) -> torch.Tensor:
    placed, canvas = plan.placed, plan.canvas
    sides = (placed.x, canvas.width - placed.right, placed.y, canvas.height - placed.bottom)
    return pad(picture, sides, mode="replicate")


def inside(canvas: torch.Tensor, box: Box) -> torch.Tensor:
    """The part of (..., H, W) in the box, which must not reach beyond it; a view."""
    return canvas[..., box.y : box.bottom, box.x : box.right]
