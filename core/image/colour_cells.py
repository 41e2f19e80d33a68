"""How an enlarged picture's colours differ from its source's, gathered in cells of a few source pixels.

Cells hold sums of differences and sums of weights, so that means over several cells are a normalised convolution
(Knutsson and Westin, "Normalized and differential convolution", CVPR 1993): pixels weigh as much as their surroundings
are flat, and an edge that the model moved, or made steeper, is not taken for a colour and does not glow. Dark, middle
and bright pixels are summed separately, as in a bilateral grid (Chen, Paris and Durand, "Real-time edge-aware image
processing with the bilateral grid", SIGGRAPH 2007), so that what a dark object misses does not shine onto the
background beside it.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from .colour import luma
from .filters import local_maximum, local_minimum
from .resize import full_precision

CELL = 4
"""Side in source pixels of the cells that the difference is averaged over first."""
TONES = 8
"""Levels of brightness with a separate mean each; between them it is interpolated."""
OTHER_TONES = 0.01
"""Weight of pixels of all other tones, so that a tone without flat pixels nearby gets a mean as well."""
FLAT = 8 / 255
"""Range of values in 5x5 source pixels at which a pixel weighs a quarter."""
FLAT_REACH = 2
MOST = 16 / 255
"""Mean differences of a cell up to this are taken for a colour shift; those of 1.5 times as much and more are another
kind of fault, such as a black tile, which must not be covered up."""
LEAST_WEIGHT = 1e-3
"""Weight of a pixel that is not flat at all, so that a place without flat pixels gets a mean as well."""


def reduced(planes: torch.Tensor, factor: int) -> torch.Tensor:
    """Means of factor x factor pixels. Sums of slices: several times as fast on a CPU as pooling."""
    batch, channels, height, width = planes.shape
    lines = planes.reshape(batch, channels, height // factor, factor, width)
    columns = _sum([lines[:, :, :, index] for index in range(factor)])
    columns = columns.reshape(batch, channels, height // factor, width // factor, factor)
    return _sum([columns[..., index] for index in range(factor)]) / factor**2


def _sum(parts: list[torch.Tensor]) -> torch.Tensor:
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    return total


def sums_of_cells(source: torch.Tensor, means: torch.Tensor, top: int) -> torch.Tensor:
    """(1, C + 1, TONES, cells down, cells across) what ``means`` (1, C, h, W), magnified source rows from ``top`` on,
    miss in each channel times its weight in each tone, and the weights."""
    missing = source[:, :, top : top + means.shape[2]].to(means) - means
    weights = tones_of(means).add_(OTHER_TONES).mul_(_flatness(source, top, means.shape[2]).to(means))
    # What is not flat is texture: its bright and dark pixels must not be pulled together.
    least = _by_cell(_least_weight(missing))
    differences = _by_cell(missing)
    terms = torch.cat([differences, _by_cell(torch.ones_like(missing[:, :1]))], dim=2)
    # In each cell, sums over its pixels of each term times each weight.
    with full_precision(terms.device):
        sums = torch.matmul(terms, (_by_cell(weights) + least).transpose(-1, -2)).permute(2, 3, 0, 1)[None] / CELL**2
    sums[:, :-1] *= (3 - 2 * differences.mean(dim=-1).abs().amax(dim=-1) / MOST).clamp_(0, 1)
    return sums


def tones_of(picture: torch.Tensor) -> torch.Tensor:
    """(1, TONES, h, w) the share of each pixel in its two nearest tones."""
    tones = torch.arange(TONES, device=picture.device, dtype=picture.dtype)[:, None, None]
    return (luma(picture) * (TONES - 1) - tones).abs_().neg_().add_(1).clamp_(min=0)


def _flatness(source: torch.Tensor, top: int, height: int) -> torch.Tensor:
    """(1, 1, height, W) weights of source rows from ``top`` on: 1 in flat surroundings, almost 0 on edges."""
    above = max(top - FLAT_REACH, 0)
    part = source[:, :, above : top + height + FLAT_REACH].float()
    span = (local_maximum(part, FLAT_REACH) - local_minimum(part, FLAT_REACH)).amax(dim=1, keepdim=True)
    return (1 + (span[:, :, top - above : top - above + height] / FLAT) ** 2) ** -2


def _least_weight(missing: torch.Tensor) -> torch.Tensor:
    """(1, 1, h, w): less where a stroke became bolder than where a colour moved."""
    return LEAST_WEIGHT / (1 + (missing.abs().amax(dim=1, keepdim=True) / FLAT) ** 2)


def _by_cell(planes: torch.Tensor) -> torch.Tensor:
    """(1, C, h, w) -> (cells down, cells across, C, pixels of a cell); what lies beyond the border counts as 0."""
    height, width = planes.shape[-2:]
    planes = pad(planes, (0, -width % CELL, 0, -height % CELL))[0]
    down, across = planes.shape[1] // CELL, planes.shape[2] // CELL
    planes = planes.reshape(-1, down, CELL, across, CELL)
    return planes.permute(1, 3, 0, 2, 4).reshape(down, across, -1, CELL * CELL)
