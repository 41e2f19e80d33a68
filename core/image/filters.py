"""Neighbourhood filters that work on any size from 1x1, with the border pixels repeated outward."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad


def gaussian(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, C, H, W) with a standard deviation of ``sigma`` pixels, cut at 3 sigma.

    Weighted sums of shifted copies rather than a convolution: as fast at these kernel sizes, and free of the
    reduced precision (TF32) that convolutions may run in on a GPU, which would move flat areas.
    """
    reach = math.ceil(3 * sigma)
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(reach + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    for dim in (-1, -2):
        length = picture.shape[dim]
        padded = pad(picture, (reach, reach, 0, 0) if dim == -1 else (0, 0, reach, reach), mode="replicate")
        blurred = padded.narrow(dim, reach, length) * (weights[0] / total)
        for i in range(1, reach + 1):
            blurred.add_(padded.narrow(dim, reach - i, length), alpha=weights[i] / total)
            blurred.add_(padded.narrow(dim, reach + i, length), alpha=weights[i] / total)
        picture = blurred
    return picture


def local_maximum(picture: Tensor, reach: int) -> Tensor:
    """Largest value within ``reach`` pixels (a square window of side 2 * reach + 1, cut at the border)."""
    for dim in (-1, -2):
        length, span = picture.shape[dim], 1
        side = 2 * min(reach, length - 1) + 1
        edge = side // 2
        grown = pad(picture, (edge, edge, 0, 0) if dim == -1 else (0, 0, edge, edge), value=-math.inf)
        # Each round doubles the span of pixels that an element covers.
        while span < side:
            step = min(span, side - span)
            kept = grown.shape[dim] - step
            grown = torch.maximum(grown.narrow(dim, 0, kept), grown.narrow(dim, step, kept))
            span += step
        picture = grown
    return picture


def local_minimum(picture: Tensor, reach: int) -> Tensor:
    """Smallest value within ``reach`` pixels."""
    return -local_maximum(-picture, reach)
