"""How much context a model needs around a tile: worked out for convolutional chains, measured for the rest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..types import Size, SizeRule
from ..upscaler import Halo
from .store import FactStore

PRACTICAL = 64
"""Widest halo, in input pixels, that is used exactly; a wider receptive field is cut where its influence ends."""

REACHES = (32, 64, 128)
"""Distances, in input pixels, up to which influence is measured, until its outer half proves invisible."""

LEAST_MEASURED = 16
"""Floor of a measured halo: other content than the trial's may carry a little further."""

VISIBLE = 0.5 / 255
"""Influence below this changes no 8-bit value by more than the last rounding."""

NO_INFLUENCE = 1e-4
"""Rounding of single precision; a convolutional model's result does not change by more past its field."""

STRIP_HEIGHT = 32

_STORE = FactStore("halo", 3)
_LOCAL_MODULES = (
    nn.Conv2d,
    nn.PReLU,
    nn.LeakyReLU,
    nn.ReLU,
    nn.SiLU,
    nn.GELU,
    nn.Sigmoid,
    nn.Identity,
    nn.PixelShuffle,
    nn.Upsample,
)


def find_halo(
    model: nn.Module,
    run: Callable[[torch.Tensor], torch.Tensor],
    *,
    scale: int,
    channels: int,
    size_rule: SizeRule,
    key: str,
) -> Halo:
    """The halo of a model, in input pixels. ``run`` calls ``model`` on a (B, channels, H, W) batch.

    For chains of stride-1 convolutions it is the sum of their radii (Araujo et al., "Computing Receptive Fields
    of Convolutional Neural Networks", Distill 2019), confirmed by a trial. For wider or unknown models it is the
    distance from a cut at which the result differs by less than 0.5/255, measured once and kept on disk under
    ``key`` (the hash of the weights).
    """
    bound = receptive_radius(model)
    if bound is not None and bound <= PRACTICAL:
        beyond = influence_of_cut(model, run, bound + 8, scale=scale, channels=channels, size_rule=size_rule)[bound:]
        if float(beyond.max()) <= NO_INFLUENCE:
            return Halo(pixels=bound, exact=True)
    stored = _STORE.read().get(key)
    if stored is None:
        stored = _measure(model, run, scale=scale, channels=channels, size_rule=size_rule)
        _STORE.add(key, stored)
    return Halo(pixels=stored, exact=False)


def _measure(
    model: nn.Module,
    run: Callable[[torch.Tensor], torch.Tensor],
    *,
    scale: int,
    channels: int,
    size_rule: SizeRule,
) -> int:
    visible = 0
    for reach in REACHES:
        influence = influence_of_cut(model, run, reach, scale=scale, channels=channels, size_rule=size_rule)
        visible = _visible_reach(influence)
        if 2 * visible <= reach:
            break
    return max(visible, LEAST_MEASURED)


def receptive_radius(model: nn.Module) -> int | None:
    """Upper bound of the receptive field's radius in input pixels, or None if the model has parts whose reach is
    not known (attention, pooling, normalisation, strides)."""
    radius = 0
    for module in model.modules():
        is_leaf = next(module.children(), None) is None
        own_parameters = next(module.parameters(recurse=False), None) is not None
        if (is_leaf or own_parameters) and not isinstance(module, _LOCAL_MODULES):
            return None
        if isinstance(module, nn.Conv2d):
            if module.stride != (1, 1):
                return None
            radius += max((k - 1) // 2 * d for k, d in zip(module.kernel_size, module.dilation, strict=True))
    return radius


def influence_of_cut(
    model: nn.Module,
    run: Callable[[torch.Tensor], torch.Tensor],
    reach: int,
    *,
    scale: int,
    channels: int,
    size_rule: SizeRule,
) -> torch.Tensor:
    """(reach,) by how much the result changes, at each distance from a cut or further, when the model sees a strip
    only from the cut on instead of the whole strip; distances in input pixels, changes as parts of 1."""
    reach = size_rule.padded(Size(reach, 1)).width
    height = size_rule.padded(Size(1, STRIP_HEIGHT)).height
    width = 2 * reach
    if size_rule.square:
        height = width
    parameter = next(model.parameters())
    strip = sample_strip(height, width, channels).to(parameter.device, parameter.dtype)
    whole = run(strip)[..., reach * scale :]
    cut = run(strip[..., reach:])
    change = (whole - cut).float().abs().amax(dim=(0, 1, 2))
    change = change.reshape(-1, scale).amax(dim=1)
    return change.flip(0).cummax(0).values.flip(0).cpu()


def sample_strip(height: int, width: int, channels: int) -> torch.Tensor:
    """(2, channels, height, width): smooth texture, and the same with hard edges and fine grain; fixed seed."""
    generator = torch.Generator().manual_seed(20)
    layers = torch.zeros(1, channels, height, width)
    for cell in (32, 8, 2):
        grid = torch.rand(1, channels, height // cell + 2, width // cell + 2, generator=generator)
        layers += nn.functional.interpolate(grid, size=(height, width), mode="bicubic")
    smooth = (layers / 3).clamp(0, 1)
    edges = (smooth > 0.5).float() * 0.8 + 0.1 * torch.rand(smooth.shape, generator=generator)
    return torch.cat([smooth, edges])


def _visible_reach(influence: torch.Tensor) -> int:
    visible = (influence >= VISIBLE).nonzero()
    return int(visible.max()) + 1 if len(visible) else 0
