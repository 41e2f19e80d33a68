"""A model as a plain network that other engines can take: what only makes sense inside PyTorch is worked out first."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import nn


class Normalise(nn.Module):
    """(B, C, H, W) -> (x - mean) * gain, with a mean for each channel."""

    def __init__(self, mean: torch.Tensor, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.register_buffer("mean", mean.detach().clone().float().reshape(1, -1, 1, 1))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return (picture - cast("torch.Tensor", self.mean)) * self.gain


def fuse_for_export(network: nn.Module) -> nn.Module:
    """A copy of a model's network: single precision, on the CPU, in evaluation mode, computing the same for every
    size that its size rule allows.

    Convolutions that merge their branches on each run (SPAN; Ding et al., "RepVGG", CVPR 2021) are merged once, and
    padding to an even size (RRDBNet x2) is left out, because the size rule asks for even sizes anyway. The result is
    not clamped.
    """
    network = copy.deepcopy(network).to("cpu", torch.float32).eval()
    network.requires_grad_(False)
    merge_branches(network)
    if type(network).__name__ == "SPAN":
        return _without_own_mean(network)
    if type(network).__name__ == "RRDBNet" and getattr(network, "shuffle_factor", None):
        loose = cast("Any", network)
        return nn.Sequential(nn.PixelUnshuffle(loose.shuffle_factor), loose.model)
    return network


def merge_branches(module: nn.Module) -> None:
    """Puts the one convolution in the place of each block that merges its branches anew on each run."""
    for name, child in module.named_children():
        if type(child).__name__ == "Conv3XC":
            setattr(module, name, _merged(child))
        else:
            merge_branches(child)


def _merged(block: Any) -> nn.Module:
    """The one convolution that Spandrel's ``Conv3XC`` computes in evaluation."""
    block.update_params()
    convolution: nn.Conv2d = block.eval_conv
    return nn.Sequential(convolution, nn.LeakyReLU(0.05)) if block.has_relu else convolution


def _without_own_mean(network: Any) -> nn.Module:
    """SPAN keeps its mean as a plain attribute and rewrites it on each run, which no tracer follows."""
    if not network.is_norm:
        return network
    network.no_norm = torch.zeros(1)
    return nn.Sequential(Normalise(network.mean, float(network.img_range)), network)
