"""Random draws from a seeded generator, one value a picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch

Range = tuple[float, float]


def seeded(*numbers: int) -> torch.Generator:
    """A CPU generator that depends on all of ``numbers`` (seed, step, index, ...) and on nothing else."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        # The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring seeds give unrelated streams.
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return torch.Generator().manual_seed(state % 2**63)


def on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """A generator for draws on ``device`` that continues from ``generator``; on the CPU that one itself."""
    if device.type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def uniform(generator: torch.Generator, between: Range, count: int) -> torch.Tensor:
    """(count,) values spread evenly over a range."""
    low, high = between
    return low + (high - low) * torch.rand(count, generator=generator)


def one(generator: torch.Generator, between: Range) -> float:
    """A single value spread evenly over a range."""
    return float(uniform(generator, between, 1))


def flips(generator: torch.Generator, probability: float, count: int) -> torch.Tensor:
    """(count,) booleans, each true with ``probability``."""
    return torch.rand(count, generator=generator) < probability


def flip(generator: torch.Generator, probability: float) -> bool:
    """True with ``probability``."""
    return bool(flips(generator, probability, 1))


def choices(generator: torch.Generator, weights: Sequence[float], count: int) -> torch.Tensor:
    """(count,) indices drawn in proportion to ``weights``."""
    return torch.multinomial(torch.tensor(weights, dtype=torch.float64), count, replacement=True, generator=generator)
