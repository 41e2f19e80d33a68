"""How a model may be run on a machine, what a trial of that found, and which way is the fastest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from ...model_loader.loaded import LoadedModel
from ...model_loader.precision import Precision
from ..progress import Progress
from ..upscaler import Upscaler
from .spec import Descriptor

Placer = Callable[[Descriptor, torch.device], Descriptor]
"""Brings a PyTorch model to a device."""

CLEARLY_FASTER = 0.95
"""Part of the default's time that a candidate must stay under to be taken instead: less may be chance."""

EXACT_BAR = 1e-4
"""Largest difference, as a part of 1, that rounding in single precision may make."""

HALF_RMS = 10 ** (-50 / 20)
"""The same in half precision, as root mean square: 50 dB."""


@dataclass(frozen=True)
class EngineRequest:
    """What an engine is asked to open.

    ``tile``: side in input pixels of the tiles that will be run, without their halo; 0 if the engine decides.
    ``place``: how PyTorch models are brought to the device; see ``EagerUpscaler``. ``tune``: whether the fastest way
    may be found by a trial. ``pixels``: what the job gives to the model, 0 if that is not known; see ``choose_plan``.
    """

    model: LoadedModel
    device: torch.device
    precision: Precision = Precision.AUTO
    place: Placer | None = None
    tile: int = 0
    tune: bool = True
    progress: Progress = field(default_factory=Progress)
    pixels: int = 0


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """How to run a model. ``max_tile_pixels``: most input pixels of a tile, context included; 0 for no limit.
    ``batch_size``: tiles of one size that share a forward. ``stream_min_pixels``: input pixels of a chunk of rows,
    where rows are streamed; 0 for tiles. ``dtype``: of PyTorch; empty for what the precision asked for gives."""

    max_tile_pixels: int
    engine: str = "pytorch"
    dtype: str = ""
    channels_last: bool = True
    batch_size: int = 1
    stream_min_pixels: int = 0


@dataclass(frozen=True)
class Candidate:
    """A way to run the model that may be the fastest. ``open`` may raise ``RuntimeError`` with a reason."""

    name: str
    plan: RunPlan
    open: Callable[[], Upscaler]
    half: bool = False


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a candidate did. ``seconds``: for a million source pixels of a large picture, halo included; None if it was
    left out, for ``reason``. ``alone``: for a million pixels of pictures that are one tile, which has no halo.
    ``cut_short``: it was left out for want of time. ``disturbed``: the process could not run all the time that it was
    measured, so it may be faster."""

    name: str
    plan: RunPlan
    seconds: float | None = None
    alone: float | None = None
    reason: str = ""
    cut_short: bool = False
    disturbed: bool = False


@dataclass(frozen=True)
class Choice:
    """The trials in the order of the candidates, and the fastest. ``limit``: seconds that they might take."""

    trials: tuple[Trial, ...]
    limit: float = 0.0

    @property
    def best(self) -> Trial:
        """The fastest; the first candidate, which is the default, if none was measured or none is clearly faster. One
        that failed is none of them."""
        measured = [trial for trial in self.trials if trial.seconds is not None]
        if not measured:
            return next((trial for trial in self.trials if trial.cut_short), self.trials[0])
        fastest = min(measured, key=_seconds)
        if measured[0] is self.trials[0] and _seconds(fastest) > _seconds(measured[0]) * CLEARLY_FASTER:
            return self.trials[0]
        return fastest

    @property
    def best_alone(self) -> Trial | None:
        """Another that is clearly faster than the best for pictures of one tile."""
        best = self.best
        measured = [trial for trial in self.trials if trial.alone is not None]
        fastest = min(measured, key=_alone, default=best)
        return fastest if _alone(fastest) < _alone(best) * CLEARLY_FASTER else None

    @property
    def disturbed(self) -> bool:
        """Whether a trial at another time may find something else."""
        return any(trial.disturbed for trial in self.trials)

    def holds_under(self, limit: float) -> bool:
        """Whether ``limit`` seconds would have measured no more than this."""
        return limit <= self.limit or not any(trial.cut_short for trial in self.trials)


def _alone(trial: Trial) -> float:
    return float("inf") if trial.alone is None else trial.alone


def _seconds(trial: Trial) -> float:
    return float("inf") if trial.seconds is None else trial.seconds
