"""Ink lines and flat paint: where they are, and how slopes become steeper without moving.

The lines are found with the black top-hat (closing minus picture; Serra, Image Analysis and Mathematical
Morphology, 1982). Steepening is in spirit a toggle mapping (Kramer and Bruckner, 1975: each pixel towards the
nearer of the local extremes), but continuous, and with the extremes taken across the line (the direction of the
structure tensor; Foerstner and Guelch, 1987), one side each, so that the paint on its far side has no influence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from .filters import gaussian, local_maximum, local_minimum

STEPS = 8
"""Samples on each side of a pixel, across the line."""
SHARPEST_SLOPE = 0.7
"""Difference between neighbours at a step of height 1 blurred by half a pixel: steepening stops there, before edges
become jagged."""
QUIET = 0.25 / 255
"""Least grain assumed: the rounding of 8-bit pictures."""


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What ``find_structure`` found in (1, 1, H, W).

    lines: 0 to 1; 1 on dark structures up to about 8 * radius wide (blur included) and on their slopes.
    edges: 0 to 1; 1 on slopes that stand out from the grain, 0 in flat paint.
    grain: edge strength of the grain, in picture values.
    """

    lines: Tensor
    edges: Tensor
    grain: float


def find_structure(luma: Tensor, radius: float) -> Structure:
    """Lines, edges and grain of (1, 1, H, W) at ``radius`` pixels.

    Edge strength is ``radius`` times the gradient after a blur by ``radius``: 0.28 for a step of height 1 that was
    itself blurred by ``radius``. Edges count from 3.5 to 7 times the grain; lines from 6 to 12 times, and at least
    0.03 to 0.1, in depth of the blurred line.
    """
    smooth = gaussian(luma, radius)
    strength = radius * torch.hypot(*gradient(smooth))
    grain = max(_grain(strength), QUIET)
    edges = _smoothstep(strength, 3.5 * grain, 7.0 * grain)
    reach = math.ceil(4 * radius)
    depth = local_minimum(local_maximum(smooth, reach), reach) - smooth
    core = _smoothstep(depth, max(6.0 * grain, 0.03), max(12.0 * grain, 0.1))
    lines = gaussian(local_maximum(core, math.ceil(3 * radius)), radius)
    return Structure(lines=lines, edges=edges, grain=grain)


def _grain(strength: Tensor) -> float:
    """Rayleigh scale of the edge strength in the quieter pixels.

    Constant pixels are left out: a clean background must not hide the grain of the rest.
    """
    stride = max(1, math.isqrt(strength.numel() // 1_000_000))
    sample = strength[..., ::stride, ::stride]
    sample = sample[sample > 1e-4]
    if sample.numel() == 0:
        return 0.0
    # A fifth of a Rayleigh distribution lies below 0.668 of its scale.
    rank = max(1, sample.numel() // 5)
    return float(sample.kthvalue(rank).values) / 0.668


def _smoothstep(values: Tensor, low: float, high: float) -> Tensor:
    t = ((values - low) / (high - low)).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def steepen(
    planes: Tensor, radius: float, gain: float, grain: float = 0.0, step_done: Callable[[], None] | None = None
) -> Tensor:
    """Steeper slopes in (N, 1, H, W), each plane on its own.

    Every pixel is placed between the floor and the ceiling of the slope it lies on: the extremes met when walking
    down and up across the line for 2.5 * ``radius`` pixels, as long as the path stays monotonic except for ``grain``.
    Its relative height t becomes t^g / (t^g + (1-t)^g): 0, 1/2 and 1 stay, so the slope turns about its half-depth
    point, keeps its ends and makes no new extremes. g is ``gain``, less where the slope would get steeper than an
    antialiased edge. What the walks meet is averaged along the line and over its neighbours, so that grain neither
    lifts the paint beside a line nor frays its edge. ``step_done`` is called 2 * ``STEPS`` times on the way.
    """
    x, y = _uphill(planes, radius)
    along = sum((_sample_at(planes, -y * d, x * d) for d in (-2.0, -1.0, 1.0, 2.0)), planes) / 5
    step, slack = 2.5 * radius / STEPS, 0.003 + 2.0 * grain
    ceiling = _climb(along, planes, x * step, y * step, slack, step_done)
    floor = -_climb(-along, -planes, -x * step, -y * step, slack, step_done)
    ceiling = torch.maximum(gaussian(ceiling, radius / 3), planes)
    floor = torch.minimum(gaussian(floor, radius / 3), planes)
    contrast = (ceiling - floor).clamp_min(1e-6)
    slope = local_maximum(_neighbour_difference(along), math.ceil(radius)) / contrast
    gains = (SHARPEST_SLOPE / slope.clamp_min(1e-6)).clamp(1.0, gain)
    height = ((planes - floor) / contrast).clamp(0.0, 1.0)
    up, down = height**gains, (1.0 - height) ** gains
    return torch.where((height > 0) & (height < 1), floor + contrast * up / (up + down), planes)


def gradient(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y, per pixel; the border pixels are repeated."""
    padded = pad(planes, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return across, down


def _uphill(planes: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Unit vectors across lines and edges, towards the brighter side.

    The plain gradient does not suffice: in the middle of a line it runs along the line, towards its darker parts.
    """
    x, y = gradient(gaussian(planes, max(0.5, radius / 2)))
    xx, yy, xy = (gaussian(product, 0.7 * radius) for product in (x * x, y * y, x * y))
    angle = 0.5 * torch.atan2(2.0 * xy, xx - yy)
    across, down = torch.cos(angle), torch.sin(angle)
    sign = torch.where(x * across + y * down < 0.0, -1.0, 1.0)
    return across * sign, down * sign


def _neighbour_difference(planes: Tensor) -> Tensor:
    """Length of the difference to the next pixel on the right and below."""
    padded = pad(planes, (0, 1, 0, 1), mode="replicate")
    return torch.hypot(padded[..., :-1, 1:] - planes, padded[..., 1:, :-1] - planes)


def _climb(
    ground: Tensor, start: Tensor, x: Tensor, y: Tensor, slack: float, step_done: Callable[[], None] | None
) -> Tensor:
    """Highest value met from each pixel in steps of (x, y), until the path falls by more than ``slack``."""
    highest = start
    rising = torch.ones_like(start, dtype=torch.bool)
    for i in range(1, STEPS + 1):
        value = _sample_at(ground, x * i, y * i)
        rising = rising & (value > highest - slack)
        highest = torch.where(rising, torch.maximum(highest, value), highest)
        if step_done:
            step_done()
    return highest


def _sample_at(planes: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values (x, y) pixels away from each pixel, bilinear, the border repeated."""
    height, width = planes.shape[-2:]
    columns = torch.arange(width, device=planes.device, dtype=planes.dtype)
    rows = torch.arange(height, device=planes.device, dtype=planes.dtype)[:, None]
    grid_x = (columns + x[:, 0]) * (2.0 / max(width - 1, 1)) - 1.0
    grid_y = (rows + y[:, 0]) * (2.0 / max(height - 1, 1)) - 1.0
    grid = torch.stack((grid_x, grid_y), dim=-1)
    return grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=True)
