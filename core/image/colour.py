"""Brightness and colour: the few conversions that several packages need."""

from __future__ import annotations

import torch

BT601 = (0.299, 0.587, 0.114)
"""Weights of R, G and B in luma for standard definition and JPEG (ITU-R BT.601)."""

BT709 = (0.2126, 0.7152, 0.0722)
"""The same for high definition (ITU-R BT.709)."""


def luma(picture: torch.Tensor, weights: tuple[float, float, float] = BT601) -> torch.Tensor:
    """(B, 3 or 1, H, W) -> (B, 1, H, W): the weighted sum of the gamma-encoded channels; grey is its own luma."""
    if picture.shape[1] == 1:
        return picture
    # Not a matrix product: on some devices those run in reduced precision (TF32).
    red, green, blue = weights
    return picture[:, :1] * red + picture[:, 1:2] * green + picture[:, 2:] * blue


def to_rgb(picture: torch.Tensor) -> torch.Tensor:
    """Grey as three equal channels; colour as it is. May be a view."""
    return picture.expand(-1, 3, -1, -1) if picture.shape[1] == 1 else picture


def to_grey(picture: torch.Tensor) -> torch.Tensor:
    """Luma (BT.601) of colour; grey as it is."""
    return luma(picture)


def rgb_to_ycbcr(picture: torch.Tensor, weights: tuple[float, float, float] = BT601) -> torch.Tensor:
    """(B, 3, H, W) RGB -> full-range Y'CbCr, Y from 0 to 1, Cb and Cr from -0.5 to 0.5."""
    red, _, blue = weights
    y = luma(picture, weights)
    cb = (picture[:, 2:] - y) / (2 * (1 - blue))
    cr = (picture[:, :1] - y) / (2 * (1 - red))
    return torch.cat([y, cb, cr], dim=1)


def ycbcr_to_rgb(picture: torch.Tensor, weights: tuple[float, float, float] = BT601) -> torch.Tensor:
    """The inverse of ``rgb_to_ycbcr``; not clamped."""
    red, green, blue = weights
    y, cb, cr = picture[:, :1], picture[:, 1:2], picture[:, 2:]
    r = y + 2 * (1 - red) * cr
    b = y + 2 * (1 - blue) * cb
    return torch.cat([r, (y - red * r - blue * b) / green, b], dim=1)
