"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import torch

from .pair import Channel, prepare


def psnr(
    result: torch.Tensor, reference: torch.Tensor, *, channel: Channel = Channel.RGB, border: int = 0
) -> list[float]:
    """PSNR in dB of each picture of (B, C, H, W) pairs, 0 to 1: 10 log10(1 / mean squared error).

    One value a picture, never pooled over the batch; identical pictures give infinity. The error is averaged over
    all channels (``Channel.RGB``), or computed on the BT.601 luma with a data range of 255 (``Channel.Y``).
    ``border`` pixels on every side are left out. Values are not rounded to 8 bit here.

    Raises ``InputError`` for different sizes, a border that leaves nothing, or something that is not a picture.
    """
    first, second = prepare(result, reference, channel, border)
    errors = [float((a - b).double().square().mean()) for a, b in zip(first, second, strict=True)]
    return [math.inf if error == 0 else -10 * math.log10(error) for error in errors]
