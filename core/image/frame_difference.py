"""Tells whether a frame or tile is the same as the one before. Drawn animation holds each drawing for two or three
frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import avg_pool2d

from ..errors import InputError
from .colour import rgb_to_ycbcr

BLOCK = 8
"""Side in pixels of the blocks on which noise is distinguished from change; a coding block of most video formats."""

LARGEST_THRESHOLD = 16.0


@dataclass(frozen=True, kw_only=True)
class FrameReuse:
    """``reuse`` is whether results are reused at all. ``threshold`` is the largest mean difference of brightness in
    any block of 8x8 pixels, in levels of 255, at which two pictures still count as the same; 0 asks for equality to
    the last bit. The noise of a clean encode is near 1, that of a film scan over 3."""

    reuse: bool = True
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= LARGEST_THRESHOLD:
            raise InputError(
                f"A threshold of {self.threshold:g} for held frames is not possible; choose 0 (exactly equal) to "
                f"{LARGEST_THRESHOLD:g} levels of 255."
            )


def is_held(picture: torch.Tensor, earlier: torch.Tensor, settings: FrameReuse) -> bool:
    """Whether ``picture`` (B, 3 or 1, H, W) may use the result of ``earlier``. Colour differences count like
    brightness, so that a change of hue alone is seen as well."""
    if not settings.reuse or picture.shape != earlier.shape:
        return False
    if not settings.threshold:
        return torch.equal(picture, earlier)
    return largest_block_difference(picture, earlier) <= settings.threshold


def largest_block_difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest mean absolute difference over a block of 8x8 pixels, of brightness or either colour difference
    (BT.601), in levels of 255. Blocks at the right and lower border may be smaller."""
    difference = first.float() - second.float()
    if difference.shape[1] == 3:
        difference = rgb_to_ycbcr(difference)
    blocks = avg_pool2d(difference.abs(), BLOCK, ceil_mode=True, count_include_pad=False)
    return float(blocks.max()) * 255
