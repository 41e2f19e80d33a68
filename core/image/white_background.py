"""Makes a nearly white background exactly white and changes nothing else."""

# OpenCV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import cv2
import numpy as np
import torch

SOFT = 16
"""Levels of 255 below the darkest part of the border over which the change fades out, so that a shadow keeps a soft
end."""
REACH = 400
"""A gap in the product's edge is closed if it is narrower than the longer side divided by this, twice."""
ROUNDS_TO_WHITE = 1 - 0.5 / 255


def border_of(picture: torch.Tensor) -> torch.Tensor:
    """The outermost pixels of a picture (1, C, H, W), as (C, N)."""
    lines = (picture[0, :, 0], picture[0, :, -1], picture[0, :, :, 0], picture[0, :, :, -1])
    return torch.cat(lines, dim=1)


def border_is_white(picture: torch.Tensor) -> bool:
    """Whether every pixel of the border is white once it is rounded to 8 bits."""
    return bool((border_of(picture) >= ROUNDS_TO_WHITE).all())


def whiten(picture: torch.Tensor, near: float) -> torch.Tensor | None:
    """The picture (1, C, H, W), 0 to 1, with its background exactly 1; itself if the border is white already; None if
    a pixel of the border is more than ``near`` levels of 255 below white.

    Background is what is connected to the border and at least as bright as the border's darkest pixel; over
    ``SOFT`` levels below, the change fades out. Gaps in the edge of a white product are closed before the background
    is spread (an opening of the mask), so that it does not run through them into the product.
    """
    if border_is_white(picture):
        return picture
    darkest = float(border_of(picture).min())
    if darkest < 1 - near / 255:
        return None
    lightness = picture[0].amin(dim=0)
    soft = SOFT / 255
    share = ((lightness - (darkest - soft)) / soft).clamp(0, 1)
    share = share * share * (3 - 2 * share)
    weight = share * _background(lightness, darkest - soft)
    return torch.lerp(picture, torch.ones_like(picture), weight[None, None])


def _background(lightness: torch.Tensor, lowest: float) -> torch.Tensor:
    """(H, W), 1 on what is connected to the border and not below ``lowest``, falling to 0 behind gaps."""
    bright = (lightness >= lowest).cpu().numpy().astype(np.uint8)
    reach = max(1, max(bright.shape) // REACH)
    square = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * reach + 1, 2 * reach + 1))
    _, parts = cv2.connectedComponents(cv2.erode(bright, square), connectivity=4)
    rim = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    region = np.isin(parts, rim[rim > 0]).astype(np.uint8)
    region[[0, -1]] = region[:, [0, -1]] = 1
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    weight = np.zeros(bright.shape, np.float32)
    # Restores in full what erosion removed; the change fades out over the same distance again.
    for step in range(3 * reach):
        region = cv2.bitwise_and(cv2.dilate(region, cross), bright)
        fade = 1 - max(0, step + 1 - 2 * reach) / (reach + 1)
        weight = np.maximum(weight, region * np.float32(fade))
    return torch.from_numpy(weight).to(lightness)
