"""Finds where versions of a picture differ most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import avg_pool2d

from ..image.colour import luma
from ..types import Box, Size, size_of

STEPS = 4
"""Positions tried per side of a crop."""


class Spot(NamedTuple):
    """A part of a picture, and how much its versions differ there (mean standard deviation of the luma)."""

    box: Box
    spread: float


def choose_spots(versions: Sequence[torch.Tensor], side: int, count: int) -> list[Spot]:
    """The ``count`` squares, without overlap, where ``versions`` (1, C, H, W) of one picture differ most, the largest
    difference first; fewer if the picture is too small. ``side``: of the squares, in pixels."""
    size = size_of(versions[0])
    crop = Size(min(side, size.width), min(side, size.height))
    lumas = torch.cat([luma(version).float() for version in versions])
    spread = lumas.std(dim=0, unbiased=False, keepdim=True)
    step = Size(max(1, crop.width // STEPS), max(1, crop.height // STEPS))
    means = avg_pool2d(spread, (crop.height, crop.width), (step.height, step.width))[0, 0]
    spots: list[Spot] = []
    for index in means.flatten().argsort(descending=True):
        row, column = divmod(int(index), means.shape[1])
        box = Box(column * step.width, row * step.height, *crop)
        if not any(_overlap(box, spot.box) for spot in spots):
            spots.append(Spot(box, float(means[row, column])))
        if len(spots) == count:
            break
    return spots


def _overlap(first: Box, second: Box) -> bool:
    return first.x < second.right and second.x < first.right and first.y < second.bottom and second.y < first.bottom
