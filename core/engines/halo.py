"""What a model must see around a tile: worked out for convolutional chains, measured for the rest."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from ..errors import InputError
from ..parsed import parse
from ..progress import Progress
from ..types import Size, SizeRule, ceil_to
from ..upscaler import Halo, LazyHalo
from .influence import Run, find_grid, gathers_statistics, influence_of_cut, is_local, peak_bytes, runs_batches
from .json_cache import FactStore

PRACTICAL = 64
"""Widest halo, in input pixels, that is used exactly; a wider receptive field is cut where its influence ends."""

REACHES = (32, 64, 128)
"""Distances, in input pixels, up to which influence is measured, until its outer half proves invisible."""

SEEN_OF_FIELD = 1 / 3
"""Of a receptive field that is wider than ``PRACTICAL``, what is not measured first: less was never enough."""

LEAST_MEASURED = 16
"""Floor of a measured halo: other content than the trial's may carry a little further."""

VISIBLE = 0.5 / 255
"""Influence below this changes no 8-bit value by more than the last rounding."""

NO_INFLUENCE = 1e-4
"""Rounding of single precision; a convolutional model's result does not change by more past its field."""

MEMORY_SIDES = (48, 96)

MEASURING = "measuring once how far this model looks"

_STORE = FactStore("halo", 6)
_local: dict[str, bool] = {}
"""By key, whether a model is local: every engine that opens it asks, and a wide network takes a while to answer."""
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
    lazily: bool = False,
) -> Sight:
    """How far a model looks, in input pixels. ``run`` calls ``model`` in single precision on (1, channels, H, W).

    For chains of stride-1 convolutions the halo is the sum of their radii (Araujo et al., "Computing Receptive Fields
    of Convolutional Neural Networks", Distill 2019), confirmed by a trial. For wider or unknown models it is the
    distance from a cut at which the result differs by less than 0.5/255, measured once, on the model's cells, and
    kept on disk under ``key`` (the hash of the weights). Where that distance is not found, or the model gathers
    statistics of the whole picture, the halo is unbounded. ``progress`` hears when something is measured, which takes
    up to half a minute on a CPU, and may end it. ``lazily``: that of a wide convolutional network is not measured
    before somebody reads it (``LazyHalo``), who needs ``run`` and the model until then.
    """
    progress = progress or Progress()
    bound = receptive_radius(model)
    if bound is not None and bound <= PRACTICAL:
        beyond = influence_of_cut(run, bound + 8, scale=scale, channels=channels, size_rule=size_rule)[bound:]
        if float(beyond.max()) <= NO_INFLUENCE:
            return Sight(halo=Halo(pixels=bound, exact=True))
    if sight := _recalled(key):
        return sight
    trial = _Trial(run, scale, channels, size_rule)
    if key not in _local:
        _local[key] = bound is not None and is_local(run, channels=channels, size_rule=size_rule)
    if bound is not None and _local[key]:

        def find(progress: Progress) -> Sight:
            return _recalled(key) or _kept(key, trial.of_convolutions(bound, progress))

        if not lazily:
            return find(progress)
        return Sight(halo=LazyHalo(size_rule.multiple_of, lambda progress: find(progress).halo.pixels))
    return _kept(key, trial.of_any(progress))


def _recalled(key: str) -> Sight | None:
    try:
        return parse(Sight, _STORE.read().get(key))
    except InputError:
        return None


def _kept(key: str, sight: Sight) -> Sight:
    _STORE.add(key, asdict(sight))
    return sight


@dataclass(frozen=True)
class _Trial:
    """Measures how far a model looks."""

    run: Run
    scale: int
    channels: int
    size_rule: SizeRule

    def of_convolutions(self, bound: int, progress: Progress) -> Sight:
        """Of a network of stride-1 convolutions and operations on single pixels, that cannot look past ``bound``."""
        progress.begin(1, MEASURING)
        run = _checked(self.run, progress)
        visible, _ = self._visible(run, self.size_rule, [each for each in REACHES if each >= SEEN_OF_FIELD * bound])
        return Sight(halo=_inexact(visible, self.size_rule.multiple_of))

    def of_any(self, progress: Progress) -> Sight:
        """Of a network that nothing is known about."""
        progress.begin(1, MEASURING)
        run, channels, size_rule = _checked(self.run, progress), self.channels, self.size_rule
        grid = find_grid(run, scale=self.scale, channels=channels, size_rule=size_rule)
        on_grid = replace(size_rule, multiple_of=grid)
        visible, reach = self._visible(run, on_grid, sorted({ceil_to(each, grid) for each in REACHES}))
        halo = _inexact(visible, grid)
        sight = Sight(halo=halo, batches=runs_batches(run, channels=channels, size_rule=size_rule))
        is_found = 2 * visible <= reach
        if is_found and not gathers_statistics(run, channels=channels, size_rule=size_rule):
            return sight
        halo = replace(halo, pixels=halo.pixels if is_found else reach // 2, unbounded=True)
        return replace(sight, halo=halo, footprint=_footprint(run, channels, size_rule))

    def _visible(self, run: Run, size_rule: SizeRule, reaches: list[int]) -> tuple[int, int]:
        """The distance up to which a cut is visible, and that up to which it was looked for."""
        visible = reach = 0
        for reach in reaches or REACHES[-1:]:
            influence = influence_of_cut(run, reach, scale=self.scale, channels=self.channels, size_rule=size_rule)
            visible = _visible_reach(influence)
            if 2 * visible <= len(influence):
                break
        return visible, reach


def _checked(run: Run, progress: Progress) -> Run:
    def checked(picture: torch.Tensor) -> torch.Tensor:
        progress.check()
        return run(picture)

    return checked


def _inexact(visible: int, grid: int) -> Halo:
    return Halo(pixels=max(visible, LEAST_MEASURED), exact=False, grid=grid)


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
