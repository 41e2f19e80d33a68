"""Structural similarity, at one scale and at five.

Wang, Bovik, Sheikh, Simoncelli: "Image quality assessment: from error visibility to structural similarity" (2004).
Wang, Simoncelli, Bovik: "Multi-scale structural similarity for image quality assessment" (2003).
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import avg_pool2d

from ..types import size_of
from .errors import NotMeasurable
from .pair import Channel, prepare

WINDOW = 11
SIGMA = 1.5
C1 = 0.01**2
C2 = 0.03**2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST_MULTISCALE = WINDOW * 2 ** (len(SCALE_WEIGHTS) - 1)
"""Side from which the coarsest scale still holds a whole window."""
CPU_BLOCK = 64
"""Side of the block worked on at a time, in values of the map: its five planes stay in a processor's cache, and
are small enough for torch to leave to one thread, which is several times faster than splitting the work."""
DEVICE_BLOCK = 1024
"""The same on other devices, where each step costs a launch."""


def ssim(
    result: torch.Tensor, reference: torch.Tensor, *, channel: Channel = Channel.RGB, border: int = 0
) -> list[float]:
    """SSIM of each picture of (B, C, H, W) pairs, 0 to 1: at most 1, which means identical.

    Gaussian window of 11x11 with sigma 1.5, only where it lies wholly inside the picture, population (not sample)
    covariance, data range 1: Wang 2004. The mean over the channels of ``channel``; ``border`` as in ``psnr``.

    Raises ``NotMeasurable`` under 11x11 pixels, and ``InputError`` where ``psnr`` does.
    """
    first, second = prepare(result, reference, channel, border)
    _check_side(first, WINDOW, "SSIM")
    return [_mean([_terms(a, b)[0] for a, b in zip(x, y, strict=True)]) for x, y in zip(first, second, strict=True)]


def ms_ssim(
    result: torch.Tensor, reference: torch.Tensor, *, channel: Channel = Channel.RGB, border: int = 0
) -> list[float]:
    """MS-SSIM of each picture of (B, C, H, W) pairs: five scales, each half the size of the one before (mean of
    2x2 pixels, an odd last row or column left out), with the weights of Wang 2003; a negative term counts as 0.

    Raises ``NotMeasurable`` under 176x176 pixels, and ``InputError`` where ``psnr`` does.
    """
    first, second = prepare(result, reference, channel, border)
    _check_side(first, SMALLEST_MULTISCALE, "MS-SSIM")
    return [_mean([_multiscale(a, b) for a, b in zip(x, y, strict=True)]) for x, y in zip(first, second, strict=True)]


def _multiscale(first: torch.Tensor, second: torch.Tensor) -> float:
    """MS-SSIM of two planes (H, W)."""
    product = 1.0
    first, second = first.double(), second.double()
    for level, weight in enumerate(SCALE_WEIGHTS):
        whole, contrast = _terms(first, second)
        last = level == len(SCALE_WEIGHTS) - 1
        product *= max(whole if last else contrast, 0.0) ** weight
        if not last:
            first, second = avg_pool2d(first[None], 2)[0], avg_pool2d(second[None], 2)[0]
    return product


def _terms(first: torch.Tensor, second: torch.Tensor) -> tuple[float, float]:
    """Mean SSIM, and mean of its contrast-and-structure term alone, of two planes (H, W)."""
    height, width = first.shape[0] - WINDOW + 1, first.shape[1] - WINDOW + 1
    block = CPU_BLOCK if first.device.type == "cpu" else DEVICE_BLOCK
    totals = torch.zeros(2, dtype=torch.float64, device=first.device)
    for top in range(0, height, block):
        rows = slice(top, min(top + block, height) + WINDOW - 1)
        for left in range(0, width, block):
            columns = slice(left, min(left + block, width) + WINDOW - 1)
            totals += _sums(first[rows, columns].double(), second[rows, columns].double())
    means = totals / (height * width)
    return float(means[0]), float(means[1])


def _sums(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(2,): sums of the SSIM map and of its contrast-and-structure term."""
    mean_x, mean_y, square_x, square_y, product = _blur(torch.stack((x, y, x * x, y * y, x * y)))
    variances = (square_x - mean_x * mean_x) + (square_y - mean_y * mean_y)
    covariance = product - mean_x * mean_y
    contrast = (2 * covariance + C2) / (variances + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
    return torch.stack(((luminance * contrast).sum(), contrast.sum()))


def _blur(planes: torch.Tensor) -> torch.Tensor:
    """(N, H, W) -> (N, H - 10, W - 10). Sums of shifted copies: a float64 convolution is slower on a CPU, and a
    float32 one may run in TF32 on a GPU."""
    raw = [math.exp(-0.5 * ((i - WINDOW // 2) / SIGMA) ** 2) for i in range(WINDOW)]
    for dim in (1, 2):
        length = planes.shape[dim] - WINDOW + 1
        blurred = planes.narrow(dim, 0, length) * (raw[0] / sum(raw))
        for shift in range(1, WINDOW):
            blurred.add_(planes.narrow(dim, shift, length), alpha=raw[shift] / sum(raw))
        planes = blurred
    return planes


def _check_side(picture: torch.Tensor, side: int, metric: str) -> None:
    if min(size_of(picture)) < side:
        raise NotMeasurable(
            f"{metric} needs at least {side}x{side} pixels inside the border and there are {size_of(picture)}; "
            "compare larger pictures or leave this metric out."
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
