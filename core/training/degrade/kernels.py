"""Blur kernels of the Real-ESRGAN degradation: six Gaussian families and the sinc filter.

Wang, Xie, Dong, Shan, "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", 2021,
section 3.2 and 3.3; generalised Gaussian and plateau shapes after Liu et al., "Estimating generalized Gaussian
blur kernels for out-of-focus image deblurring", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from ...errors import InputError
from ...parsed import Strict
from .random_draws import Listed, Probability, Range, Shares, Width, choices, flips, uniform

KERNEL_SIDE = 21
"""Side of every kernel tensor; smaller kernels are centred in it."""
SMALL_SIDE = 13
"""Side from which a sinc kernel holds low cut-offs too."""

ISOTROPIC = (0, 2, 4)
GENERALISED = (2, 3)
PLATEAU = (4, 5)

_bessel_j1: Callable[[Tensor], Tensor] = torch.special.bessel_j1  # pyright: ignore


@dataclass(frozen=True, kw_only=True)
class KernelSettings(Strict):
    """How often, and sides of the kernels in pixels."""

    probability: Probability = 1.0
    smallest_kernel: int = 7
    largest_kernel: int = KERNEL_SIDE

    def __post_init__(self) -> None:
        smallest, largest = self.smallest_kernel, self.largest_kernel
        if not 3 <= smallest <= largest <= KERNEL_SIDE or smallest % 2 == 0 or largest % 2 == 0:
            raise InputError(
                f"There are no kernels from {smallest} to {largest}; both sides must be odd, from 3 to {KERNEL_SIDE}."
            )


@dataclass(frozen=True, kw_only=True)
class BlurSettings(KernelSettings):
    """Which blur, how often and how strong. The defaults are those of the paper's first stage."""

    families: Annotated[tuple[float, float, float, float, float, float], Listed, Shares] = (
        0.45,
        0.25,
        0.12,
        0.03,
        0.12,
        0.03,
    )
    """Shares of isotropic, anisotropic, generalised iso, generalised aniso, plateau iso, plateau aniso."""
    sinc_probability: Probability = 0.1
    sinc_cutoff: Range = (math.pi / 5, math.pi)
    """Cut-off of the sinc filter, radians a pixel."""
    small_sinc_cutoff: Range = (math.pi / 3, math.pi)
    """The same for kernels under 13 pixels, which cannot hold a low cut-off."""
    sigma: Width = (0.2, 3.0)
    """Standard deviation along each axis, pixels."""
    generalised_beta: Range = (0.5, 4.0)
    plateau_beta: Range = (1.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class FinalSincSettings(KernelSettings):
    """The sinc filter at the end of the pipeline, for the ringing of sharpeners. The defaults are the paper's."""

    probability: Probability = 0.8
    cutoff: Range = (math.pi / 3, math.pi)
    """Radians a pixel."""


@dataclass(frozen=True)
class KernelDraw:
    """The parameters of a batch of kernels, (B,) each; what the kernels are computed from."""

    family: Tensor
    """0 to 5 as in ``BlurSettings.families``, 6 for sinc."""
    side: Tensor
    sigma_x: Tensor
    sigma_y: Tensor
    angle: Tensor
    beta: Tensor
    cutoff: Tensor
    """Of the sinc filter, radians a pixel."""


def draw_sides(settings: BlurSettings | FinalSincSettings, count: int, generator: torch.Generator) -> Tensor:
    """(count,) odd kernel sides, evenly from the smallest to the largest."""
    steps = (settings.largest_kernel - settings.smallest_kernel) // 2 + 1
    return settings.smallest_kernel + 2 * torch.randint(steps, (count,), generator=generator)


def _draw_beta(between: Range, count: int, generator: torch.Generator) -> Tensor:
    """Half of the draws below 1 (a sharper peak than Gaussian), half above (a flatter one)."""
    below = uniform(generator, (between[0], 1.0), count)
    above = uniform(generator, (1.0, between[1]), count)
    return torch.where(flips(generator, 0.5, count), below, above)


def draw_kernels(settings: BlurSettings, count: int, generator: torch.Generator) -> KernelDraw:
    """Draws the parameters of ``count`` kernels."""
    family = choices(generator, settings.families, count)
    side = draw_sides(settings, count, generator)
    sigma_x, sigma_y = (uniform(generator, settings.sigma, count) for _ in range(2))
    isotropic = torch.isin(family, torch.tensor(ISOTROPIC))
    generalised = _draw_beta(settings.generalised_beta, count, generator)
    plateau = _draw_beta(settings.plateau_beta, count, generator)
    beta = torch.where(torch.isin(family, torch.tensor(GENERALISED)), generalised, torch.ones(count))
    beta = torch.where(torch.isin(family, torch.tensor(PLATEAU)), plateau, beta)
    small, large = settings.small_sinc_cutoff, settings.sinc_cutoff
    lowest = torch.where(side < SMALL_SIDE, small[0], large[0])
    highest = torch.where(side < SMALL_SIDE, small[1], large[1])
    return KernelDraw(
        family=torch.where(flips(generator, settings.sinc_probability, count), 6, family),
        side=side,
        sigma_x=sigma_x,
        sigma_y=torch.where(isotropic, sigma_x, sigma_y),
        angle=uniform(generator, (-math.pi, math.pi), count),
        beta=beta,
        cutoff=lowest + (highest - lowest) * uniform(generator, (0.0, 1.0), count),
    )


def _grid() -> tuple[Tensor, Tensor]:
    axis = torch.arange(KERNEL_SIDE) - KERNEL_SIDE // 2
    return axis[None, :].double(), axis[:, None].double()


def _cut_and_normalise(kernels: Tensor, side: Tensor) -> Tensor:
    x, y = _grid()
    inside = torch.maximum(x.abs(), y.abs())[None] <= (side // 2)[:, None, None]
    kernels = kernels * inside
    return (kernels / kernels.sum((1, 2), keepdim=True)).float()


def bell_kernels(draw: KernelDraw) -> Tensor:
    """(B, 21, 21) kernels of the six bell-shaped families, each summing to 1."""
    x, y = _grid()
    cosine, sine = draw.angle.cos()[:, None, None].double(), draw.angle.sin()[:, None, None].double()
    along = (cosine * x + sine * y) / draw.sigma_x[:, None, None]
    across = (cosine * y - sine * x) / draw.sigma_y[:, None, None]
    distance = (along**2 + across**2) ** draw.beta[:, None, None].double()
    plateau = torch.isin(draw.family, torch.tensor(PLATEAU))[:, None, None]
    return _cut_and_normalise(torch.where(plateau, 1.0 / (1.0 + distance), torch.exp(-0.5 * distance)), draw.side)


def sinc_kernels(cutoff: Tensor, side: Tensor) -> Tensor:
    """(B, 21, 21) kernels of the ideal circular low-pass filter, cut to ``side``: they ring, as sharpeners do."""
    x, y = _grid()
    radius = torch.sqrt(x**2 + y**2).expand(len(cutoff), -1, -1)
    limit = cutoff[:, None, None].double()
    safe = radius.clamp_min(1e-9)
    kernels = torch.where(
        radius > 0,
        limit * _bessel_j1(limit * safe) / (2 * math.pi * safe),
        limit**2 / (4 * math.pi),
    )
    return _cut_and_normalise(kernels, side)


def make_kernels(draw: KernelDraw) -> Tensor:
    """(B, 21, 21) float32 kernels for a draw of any families."""
    sinc = (draw.family == 6)[:, None, None]
    return torch.where(sinc, sinc_kernels(draw.cutoff, draw.side), bell_kernels(draw))


def draw_final_sinc(settings: FinalSincSettings, count: int, generator: torch.Generator) -> Tensor:
    """(count, 21, 21): sinc filters, or the identity with 1 - ``settings.probability``."""
    side = draw_sides(settings, count, generator)
    kernels = sinc_kernels(uniform(generator, settings.cutoff, count), side)
    identity = torch.zeros(KERNEL_SIDE, KERNEL_SIDE)
    identity[KERNEL_SIDE // 2, KERNEL_SIDE // 2] = 1.0
    return torch.where(flips(generator, settings.probability, count)[:, None, None], kernels, identity)


def filter_each(picture: Tensor, kernels: Tensor) -> Tensor:
    """(B, C, H, W) with kernel i of (B, K, K) applied to picture i, the border reflected. K is odd."""
    batch, channels, height, width = picture.shape
    reach = kernels.shape[-1] // 2
    mode = "reflect" if min(height, width) > reach else "replicate"
    padded = pad(picture, (reach, reach, reach, reach), mode=mode)
    weights = kernels.to(picture).repeat_interleave(channels, 0)[:, None]
    stacked = padded.reshape(1, batch * channels, *padded.shape[-2:])
    return conv2d(stacked, weights, groups=batch * channels).reshape(batch, channels, height, width)
