"""Ringing: how far an enlarged picture leaves the range of values that its source has around an edge."""

from __future__ import annotations

import torch
from torch.nn.functional import adaptive_max_pool2d

from ..image.filters import local_maximum, local_minimum
from .errors import NotMeasurable
from .fidelity import check_source
from .pair import luma, size_of

CONTRAST = 0.1
"""Least difference of luma, within one pixel of the source, that counts as an edge."""


def overshoot(source: torch.Tensor, result: torch.Tensor) -> list[float]:
    """Overshoot of each result (B, C, H, W) at the edges of its source (B, C, h, w), in percent of their contrast.

    An edge pixel is one whose 3x3 source pixels span at least a tenth of the range of luma. For each, the largest
    excursion of the result, over the area of those 3x3 pixels, beyond the smallest and largest of the 5x5 source
    pixels is taken relative to their span; the figure is the mean over the edge pixels. 0: no pixel leaves the
    local range. Fine true detail leaves it a little too, so compare models with each other and with Lanczos.

    Raises ``NotMeasurable`` when a source has no such edge, ``InputError`` where ``fidelity`` does.
    """
    check_source(source, result)
    return [
        _overshoot(small[None].float(), large[None].float())
        for small, large in zip(luma(source), luma(result), strict=True)
    ]


def _overshoot(source: torch.Tensor, result: torch.Tensor) -> float:
    low, high = local_minimum(source, 2), local_maximum(source, 2)
    edges = local_maximum(source, 1) - local_minimum(source, 1) >= CONTRAST
    if not bool(edges.any()):
        raise NotMeasurable(
            f"The source of {size_of(source)} has no edge with a contrast of {CONTRAST:.0%}, so ringing cannot be "
            "measured; choose a picture with edges."
        )
    peaks = local_maximum(adaptive_max_pool2d(result, source.shape[-2:]), 1)
    dips = -local_maximum(adaptive_max_pool2d(-result, source.shape[-2:]), 1)
    excursion = torch.maximum(peaks - high, low - dips).clamp(min=0)
    return 100 * float((excursion[edges] / (high - low)[edges]).double().mean())
