"""Random draws from a seeded generator, one value per picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BeforeValidator, Field


def listed(value: Any) -> Any:
    """``"0.2, 3"`` and ``"[0.2, 3]"``, as command lines have them, as a list."""
    return (
        [part for each in value.strip("[]() ").split(",") if (part := each.strip())]
        if isinstance(value, str)
        else value
    )


def _ascending(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"it runs from {ends[0]:g} to {ends[1]:g}; the lower end comes first")
    return ends


def within(low: float, high: float) -> AfterValidator:
    """Validates that both ends of a ``Range`` lie within these bounds."""

    def check(ends: tuple[float, float]) -> tuple[float, float]:
        if not low <= ends[0] <= ends[1] <= high:
            raise ValueError(f"it must lie within {low:g} and {high:g}")
        return ends

    return AfterValidator(check)


def _weights(shares: tuple[float, ...]) -> tuple[float, ...]:
    if min(shares) < 0 or sum(shares) <= 0:
        raise ValueError("shares must not be negative, and not all 0")
    return shares


Listed = BeforeValidator(listed)
Range = Annotated[tuple[float, float], Listed, AfterValidator(_ascending)]
Quality = Annotated[Range, within(1, 100)]
"""Of JPEG."""
Resizing = Annotated[Range, within(0.01, 16)]
Width = Annotated[Range, within(0.01, 100)]
"""Of a blur; one of no width divides by zero."""
Probability = Annotated[float, Field(ge=0, le=1)]
Shares = AfterValidator(_weights)


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
    """A generator for draws on ``device`` that continues from ``generator``; on the CPU the same one."""
    if device.type == "cpu":
        return generator
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.Generator(device).manual_seed(seed)


def uniform(generator: torch.Generator, between: Range, count: int) -> torch.Tensor:
    """(count,) values, uniformly distributed over a range."""
    low, high = between
    return low + (high - low) * torch.rand(count, generator=generator)


def one(generator: torch.Generator, between: Range) -> float:
    """A single value, uniformly distributed over a range."""
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
