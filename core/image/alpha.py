"""Transparency without fringes."""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d, interpolate, pad

from ..types import FloatBox, Size
from .resize import resize

VISIBLE_FROM = 2 / 255
"""Alpha below this shows nothing on an 8-bit screen; the colour there is whatever the cutting tool left."""

_ALMOST_NOTHING = 1e-8


def bleed(picture: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Extends the colour of the visible pixels under the transparent ones.

    Pixels with an alpha of at least 2/255 stay as they are, to the bit. The others take an average of visible ones,
    near ones first, so that a model or a filter that looks across the border of a cutout sees the cutout's own colour.
    A picture without any visible pixel stays as it is. ``alpha`` is (B or 1, 1, H, W).

    Push-pull: averages weighted by visibility are pooled until none is empty, then filled back down (Gortler et
    al., "The Lumigraph", SIGGRAPH 1996).
    """
    alphas = alpha.expand(len(picture), -1, -1, -1)
    if (alphas >= VISIBLE_FROM).all():
        return picture
    result = torch.empty_like(picture)
    for index in range(len(picture)):
        result[index : index + 1] = _bleed_one(picture[index : index + 1], alphas[index : index + 1])
    return result


def _bleed_one(picture: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    visible = alpha >= VISIBLE_FROM
    if visible.all() or not visible.any():
        return picture
    # Sums over a large picture overflow in half precision.
    weight = (alpha * visible).float()
    coarse = _fill(_halve(picture * weight), _halve(weight))
    return torch.where(visible, picture, _double(coarse, picture).clamp_(0, 1).to(picture.dtype))


def _fill(weighted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Colours for every pixel: its own where it has weight, those of the coarser level where it has none."""
    own = weighted / weight.clamp_min(_ALMOST_NOTHING)
    if weighted.shape[-2:] == (1, 1):
        return own
    coarse = _double(_fill(_halve(weighted), _halve(weight)), weighted)
    return coarse.lerp_(own, weight.clamp(0, 1).expand_as(own))


def _halve(plane: torch.Tensor) -> torch.Tensor:
    """Sums of 2x2 blocks; pixels beyond the border count as 0."""
    height, width = plane.shape[-2:]
    return avg_pool2d(pad(plane, (0, width % 2, 0, height % 2)), 2) * 4


def _double(coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
    """The level under ``fine`` at the size of ``fine``."""
    height, width = fine.shape[-2:]
    return interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)[..., :height, :width]


def resize_alpha(alpha: torch.Tensor, size: Size, box: FloatBox | None = None) -> torch.Tensor:
    """(B, 1, H, W) alpha at ``size``: Lanczos, kept between the least and the most of the source's neighbourhood.

    The neighbourhood is what a bilinear filter of the same reduction would see: the two nearest pixels along each
    axis when enlarging, twice the reduction when shrinking. So alpha stays within 0 to 1 and does not ring: an
    opaque area next to an edge stays opaque, an empty one empty. ``box`` is the part of the source that is shown,
    in source pixels. Returns float32 (float64 for float64).
    """
    height, width = alpha.shape[-2:]
    box = box or FloatBox(0.0, 0.0, float(width), float(height))
    result = resize(alpha, size, box)
    rows = _neighbours(size.height, box.y, box.height, height, alpha.device)
    columns = _neighbours(size.width, box.x, box.width, width, alpha.device)
    least = -_most(_most(-alpha, rows, -2), columns, -1)
    most = _most(_most(alpha, rows, -2), columns, -1)
    return torch.minimum(torch.maximum(result, least), most)


def _neighbours(count: int, start: float, length: float, limit: int, device: torch.device) -> torch.Tensor:
    """(taps, count) source pixels that a bilinear filter would weigh for each target pixel; repeats some."""
    scale = length / count
    reach = max(scale, 1.0)
    centre = start + (torch.arange(count, dtype=torch.float64) + 0.5) * scale
    # The nudges keep a pixel at exactly the filter's reach, where its weight is zero, outside.
    first = (centre - reach - 0.5 + 1e-9).floor().long() + 1
    last = (centre + reach - 0.5 - 1e-9).ceil().long() - 1
    taps = torch.arange(int((last - first).max()) + 1)[:, None]
    return torch.minimum(first + taps, last).clamp_(0, limit - 1).to(device)


def _most(plane: torch.Tensor, neighbours: torch.Tensor, dim: int) -> torch.Tensor:
    """The largest of the neighbours along ``dim``."""
    result = plane.index_select(dim, neighbours[0])
    for tap in range(1, len(neighbours)):
        result = torch.maximum(result, plane.index_select(dim, neighbours[tap]))
    return result
