"""Does an enlarged picture still show its source? Downscale it and compare; no reference is needed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import InputError
from ..image.colour import to_rgb
from ..image.resize import resize
from ..image.validate import check_picture
from ..types import Size, size_of
from .colour_difference import ciede2000, srgb_to_lab
from .pair import with_float64
from .psnr import psnr

STRIP = 1 << 20
"""Number of pixels whose colour difference is computed at once."""


@dataclass(frozen=True)
class Fidelity:
    """``lr_psnr``: dB between the source and the result reduced to its size. ``delta_e``: mean CIEDE2000 between
    the two."""

    lr_psnr: float
    delta_e: float


def fidelity(source: torch.Tensor, result: torch.Tensor) -> list[Fidelity]:
    """How well each result (B, C, H, W) agrees with its source (B, C, h, w) once it is reduced to h x w (Lanczos,
    antialiased, clamped to 0..1). A faithful enlargement agrees whatever detail it adds.

    Raises ``InputError`` for a result smaller than its source or of another shape.
    """
    check_source(source, result)
    reduced = resize(result, size_of(source)).clamp_(0, 1)
    errors = psnr(reduced, source)
    differences = [_mean_delta_e(a[None], b[None]) for a, b in zip(to_rgb(reduced), to_rgb(source), strict=True)]
    return [Fidelity(error, difference) for error, difference in zip(errors, differences, strict=True)]


def check_source(source: torch.Tensor, result: torch.Tensor) -> None:
    """Raises ``InputError`` unless ``result`` can be an enlargement of ``source``: as many pictures, no side
    smaller, and the aspect kept within one pixel of the source (a fit to a target may cut or round by that)."""
    check_picture(source, "source")
    check_picture(result, "result")
    small, large = size_of(source), size_of(result)
    if len(source) != len(result):
        raise InputError(f"There are {len(source)} sources and {len(result)} results; give the same number of both.")
    if large.width < small.width or large.height < small.height:
        raise InputError(
            f"The result of {large} is smaller than its source of {small}; give an enlargement of the source."
        )
    if not _same_aspect(small, large):
        raise InputError(
            f"The result of {large} has different proportions from its source of {small}; compare before cropping or "
            "padding."
        )


def _same_aspect(small: Size, large: Size) -> bool:
    wide, high = large.width / small.width, large.height / small.height
    return abs(wide - high) * min(small) <= max(wide, high)


def _mean_delta_e(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean CIEDE2000 of two pictures (1, 3, H, W)."""
    first, second = with_float64(first), with_float64(second)
    height, width = first.shape[-2:]
    rows = max(1, STRIP // width)
    total = 0.0
    for top in range(0, height, rows):
        pair = (picture[:, :, top : top + rows].double() for picture in (first, second))
        total += float(ciede2000(*map(srgb_to_lab, pair)).sum())
    return total / (height * width)
