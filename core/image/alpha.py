"""Transparency without fringes."""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d, interpolate, pad

from ..types import FloatBox, Size
from .filters import local_maximum, local_minimum
from .resize import resize

VISIBLE_FROM = 2 / 255
"""Alpha below this shows nothing on an 8-bit screen; the colour there is whatever the cutting tool left."""

_ALMOST_NOTHING = 1e-8


def bleed(picture: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """The picture with the colour of visible pixels continued under the transparent ones.

    Pixels with an alpha of at least 2/255 stay as they are, to the bit. The others take an average of visible
    ones, near ones first, so that a model or a filter that looks across the border of a cutout sees its own colour.
    A picture without any visible pixel stays as it is. ``alpha`` is (B or 1, 1, H, W).

    Push-pull: averages weighted by visibility are pooled until none is empty, then filled back down (Gortler et
    al., "The Lumigraph", SIGGRAPH 1996).
    """
    visible = (alpha >= VISIBLE_FROM).expand(len(picture), -1, -1, -1)
    if visible.all() or not visible.any():
        return picture
    weight = (alpha * visible).to(picture.dtype).expand(len(picture), -1, -1, -1)
    filled = _fill(picture * weight, weight)
    anything = visible.flatten(1).any(dim=1)[:, None, None, None]
    return torch.where(visible | ~anything, picture, filled.clamp(0, 1).to(picture.dtype))


def _fill(weighted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Colours for every pixel: its own where it has weight, those of the coarser level where it has none."""
    own = weighted / weight.clamp_min(_ALMOST_NOTHING)
    height, width = weighted.shape[-2:]
    if height == 1 and width == 1:
        return own
    coarse = _fill(_halve(weighted), _halve(weight))
    coarse = interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)[..., :height, :width]
    share = weight.clamp(0, 1)
    return own * share + coarse * (1 - share)


def _halve(plane: torch.Tensor) -> torch.Tensor:
    """Sums of 2x2 blocks; what lies beyond the border counts nothing."""
    height, width = plane.shape[-2:]
    return avg_pool2d(pad(plane, (0, width % 2, 0, height % 2)), 2) * 4


def resize_alpha(alpha: torch.Tensor, size: Size, box: FloatBox | None = None) -> torch.Tensor:
    """(B, 1, H, W) alpha at ``size``: Lanczos, kept between the least and the most of the source's neighbourhood.

    So it stays within 0 to 1 and does not ring: an opaque area next to an edge stays opaque. ``box`` is the part
    of the source that is shown, in source pixels.
    """
    height, width = alpha.shape[-2:]
    box = box or FloatBox(0, 0, width, height)
    result = resize(alpha, size, box)
    if size.width < box.width or size.height < box.height:
        return result.clamp(0, 1)
    rows = _nearest(size.height, box.y, box.height, height).to(alpha.device)
    columns = _nearest(size.width, box.x, box.width, width).to(alpha.device)
    least, most = (reach(alpha, 1)[..., rows, :][..., columns] for reach in (local_minimum, local_maximum))
    return torch.minimum(torch.maximum(result, least), most).clamp(0, 1)


def _nearest(count: int, start: float, length: float, limit: int) -> torch.Tensor:
    """For each of ``count`` target pixels over ``start`` .. ``start + length`` the source pixel it lies in."""
    centres = start + (torch.arange(count, dtype=torch.float64) + 0.5) * (length / count)
    return centres.floor().long().clamp(0, limit - 1)
