"""What a model must see around a tile: worked out for convolutional chains, measured for the rest."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from ..errors import InputError
from ..parsed import parse
from ..progress import Progress
from ..types import Size, SizeRule, ceil_to
from ..upscaler import Halo
from .influence import Run, find_grid, gathers_statistics, influence_of_cut, peak_bytes, runs_batches
from .json_cache import FactStore

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

MEMORY_SIDES = (48, 96)

MEASURING = "measuring once how far this model looks"

_STORE = FactStore("halo", 5)
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


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes that a model's own tensors take at once for ``n`` pixels: ``linear * n + quadratic * n * n``."""

    linear: float
    quadratic: float = 0.0

    def pixels(self, memory: int) -> int:
        """The most pixels that fit."""
        if self.quadratic <= 0:
            return int(memory / self.linear)
        root = (self.linear**2 + 4 * self.quadratic * memory) ** 0.5
        return int((root - self.linear) / (2 * self.quadratic))


@dataclass(frozen=True, kw_only=True)
class Sight:
    """``halo``, and, for a model with an unbounded one, the memory of a pass; ``batches``: several pictures may share a
    forward."""

    halo: Halo
    footprint: Footprint | None = None
    batches: bool = True


def find_sight(
    model: nn.Module,
    run: Run,
    *,
    scale: int,
    channels: int,
    size_rule: SizeRule,
    key: str,
    progress: Progress | None = None,
) -> Sight:
    """How far a model looks, in input pixels. ``run`` calls ``model`` in single precision on (1, channels, H, W).

    For chains of stride-1 convolutions the halo is the sum of their radii (Araujo et al., "Computing Receptive Fields
    of Convolutional Neural Networks", Distill 2019), confirmed by a trial. For wider or unknown models it is the
    distance from a cut at which the result differs by less than 0.5/255, measured once, on the model's cells, and
    kept on disk under ``key`` (the hash of the weights). Where that distance is not found, or the model gathers
    statistics of the whole picture, the halo is unbounded. ``progress`` hears when something is measured, which takes
    half a minute for a wide network on a CPU.
    """
    bound = receptive_radius(model)
    if bound is not None and bound <= PRACTICAL:
        beyond = influence_of_cut(run, bound + 8, scale=scale, channels=channels, size_rule=size_rule)[bound:]
        if float(beyond.max()) <= NO_INFLUENCE:
            return Sight(halo=Halo(pixels=bound, exact=True))
    sight = _recalled(key)
    if sight is None:
        if progress:
            progress.begin(1, MEASURING)
        sight = _measure(run, scale, channels, size_rule, local=bound is not None)
        _STORE.add(key, asdict(sight))
    return sight


def _recalled(key: str) -> Sight | None:
    try:
        return parse(Sight, _STORE.read().get(key))
    except InputError:
        return None


def _measure(run: Run, scale: int, channels: int, size_rule: SizeRule, *, local: bool) -> Sight:
    """``local``: nothing in the model looks at the whole picture, or runs pictures of a batch together."""
    grid = find_grid(run, scale=scale, channels=channels, size_rule=size_rule)
    on_grid = replace(size_rule, multiple_of=grid)
    visible = reach = 0
    for reach in sorted({ceil_to(reach, grid) for reach in REACHES}):
        influence = influence_of_cut(run, reach, scale=scale, channels=channels, size_rule=on_grid)
        visible = _visible_reach(influence)
        if 2 * visible <= len(influence):
            break
    halo = Halo(pixels=max(visible, LEAST_MEASURED), exact=False, grid=grid)
    if local:
        return Sight(halo=halo)
    sight = Sight(halo=halo, batches=runs_batches(run, channels=channels, size_rule=size_rule))
    is_found = 2 * visible <= reach
    if is_found and not gathers_statistics(run, channels=channels, size_rule=size_rule):
        return sight
    halo = replace(halo, pixels=halo.pixels if is_found else reach // 2, unbounded=True)
    return replace(sight, halo=halo, footprint=_footprint(run, channels, size_rule))


def _footprint(run: Run, channels: int, size_rule: SizeRule) -> Footprint:
    small, large = (size_rule.padded(Size(side, side)) for side in MEMORY_SIDES)
    each_small, each_large = (peak_bytes(run, size, channels) / size.pixels for size in (small, large))
    if each_large <= each_small:
        return Footprint(linear=each_large)
    quadratic = (each_large - each_small) / (large.pixels - small.pixels)
    return Footprint(linear=max(each_small - quadratic * small.pixels, 1.0), quadratic=quadratic)


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


def _visible_reach(influence: torch.Tensor) -> int:
    visible = (influence >= VISIBLE).nonzero()
    return int(visible.max()) + 1 if len(visible) else 0
