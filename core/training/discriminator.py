"""Real-ESRGAN's U-Net discriminator with spectral normalisation: one output per pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu
from torch.nn.utils.parametrizations import spectral_norm


def _convolution(inputs: int, outputs: int, *, halve: bool = False, normalise: bool = True) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, 4 if halve else 3, 2 if halve else 1, 1, bias=not normalise)
    return spectral_norm(layer) if normalise else layer


def _active(values: Tensor) -> Tensor:
    return leaky_relu(values, 0.2)


def _double(values: Tensor, like: Tensor) -> Tensor:
    return interpolate(values, like.shape[-2:], mode="bilinear", align_corners=False)


class UNetDiscriminator(nn.Module):
    """(B, C, H, W) -> (B, 1, H, W) logits, one per pixel, large where the picture looks like a reference.

    Wang et al., Real-ESRGAN, 2021, section 3.4; the U-shape after Schoenfeld et al., 2020, spectral normalisation
    after Miyato et al., 2018. Sides of at least 8 pixels.
    """

    def __init__(self, channels: int = 3, features: int = 64) -> None:
        super().__init__()
        self.enter = _convolution(channels, features, normalise=False)
        widths = [features, 2 * features, 4 * features, 8 * features]
        self.down = nn.ModuleList(_convolution(a, b, halve=True) for a, b in zip(widths, widths[1:], strict=False))
        self.up = nn.ModuleList(_convolution(b, a) for a, b in reversed(list(zip(widths, widths[1:], strict=False))))
        self.refine = nn.ModuleList(_convolution(features, features) for _ in range(2))
        self.leave = _convolution(features, 1, normalise=False)

    def forward(self, picture: Tensor) -> Tensor:
        levels: list[Tensor] = [_active(self.enter(picture))]
        for layer in self.down:
            levels.append(_active(layer(levels[-1])))
        values = levels.pop()
        for layer in self.up:
            skip = levels.pop()
            values = _active(layer(_double(values, skip))) + skip
        for layer in self.refine:
            values = _active(layer(values))
        result: Tensor = self.leave(values)
        return result


def new_discriminator(channels: int, features: int, seed: int) -> UNetDiscriminator:
    """A discriminator with weights that depend on ``seed``, without changing the global random state."""
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        return UNetDiscriminator(channels, features)
