"""Training runs that take a second."""

from __future__ import annotations

from dataclasses import replace

from backplate.core.training.config import (
    DataSettings,
    NetworkSettings,
    OptimiserSettings,
    TrainSettings,
    ValidationSettings,
)
from backplate.core.training.degrade.pipeline import DegradationSettings, Mode
from backplate.core.training.initial_model import new_compact

TINY = TrainSettings(
    steps=12,
    batch=2,
    seed=3,
    device="cpu",
    threads=1,
    checkpoint_every=4,
    data=DataSettings(drawn=8, drawn_size=40, crop=32, drawn_kinds=("cel",)),
    degradation=DegradationSettings(mode=Mode.CEL),
    optimiser=OptimiserSettings(learning_rate=2e-3, warm_up=2, ema=0.9),
    validation=ValidationSettings(every=6, share=0.25, crop=32, most_psnr_lost=100.0, samples=1),
    network=NetworkSettings(scale=2, features=4, convolutions=1),
)


def tiny(**changes) -> TrainSettings:
    """The tiny settings with some of them changed, whole groups by dictionary."""
    groups = {k: replace(getattr(TINY, k), **v) for k, v in changes.items() if isinstance(v, dict)}
    return replace(TINY, **(changes | groups))


def tiny_model(seed: int = 1):
    """A loaded Compact model with random weights."""
    return new_compact(TINY.network, seed)
