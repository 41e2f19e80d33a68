"""The low frequencies of an enlarged picture replaced by those of its source; edges stay those of the model.

Iterative back-projection: what the enlarged picture, reduced to the size of its source, misses there is magnified and
added (Irani and Peleg, "Improving resolution by image registration", CVGIP 1991,
doi:10.1016/1049-9652(91)90045-L).
"""

from __future__ import annotations

import math

import torch

from ..types import FloatBox, Size
from .crop_resize import resize_part
from .resize import resize
from .tiling import Edge

ROUNDS = 3
"""Of back-projection: each leaves about a tenth of what was missing."""


def anchored(enlarged: torch.Tensor, picture: torch.Tensor, box: FloatBox) -> torch.Tensor:
    """``enlarged`` (1, C, h, w), which is ``box`` of the picture (1, C, H, W), such that it is that part of the picture
    again when it is reduced to its size. Between 0 and 1; a new tensor."""
    size = Size(enlarged.shape[3], enlarged.shape[2])
    source = Size(max(1, math.floor(box.width)), max(1, math.floor(box.height)))
    wanted = resize_part(picture, box, source, Edge.PLAIN)
    result = enlarged.clone()
    for _ in range(ROUNDS):
        missing = wanted - resize(result, source)
        result.add_(resize(missing, size)).clamp_(0, 1)
    return result
