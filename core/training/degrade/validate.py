"""Degradation settings that cannot work, refused before anything is drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...errors import InputError
from .kernels import KERNEL_SIDE
from .pipeline import DegradationSettings

_LIMITS = {
    # A blur of no width divides by zero; a codec knows no quality outside of its scale.
    "degradation.first.blur.sigma": (0.01, 100.0),
    "degradation.second.blur.sigma": (0.01, 100.0),
    "jpeg_quality": (1.0, 100.0),
    "resize_range": (0.01, 16.0),
}
_SHARES = ("families", "resize")


def check_degradation(settings: DegradationSettings) -> None:
    """Raises ``InputError`` for a range that runs backwards, a share or a kernel that there cannot be."""
    _check("degradation", settings, type(settings)())


def _check(where: str, settings: Any, defaults: Any) -> None:
    for item in dataclasses.fields(settings):
        value, default, path = getattr(settings, item.name), getattr(defaults, item.name), f"{where}.{item.name}"
        if dataclasses.is_dataclass(value):
            _check(path, value, default)
        elif str(item.type) == "Range":
            _check_range(path, value, _LIMITS.get(path) or _LIMITS.get(item.name))
        elif item.name.endswith("probability") and not 0.0 <= value <= 1.0:
            raise InputError(f"{path} is {value:g}; a probability lies within 0 and 1.")
        elif item.name in _SHARES:
            _check_shares(path, value, len(default))
    if hasattr(settings, "largest_kernel"):
        _check_kernels(where, settings.smallest_kernel, settings.largest_kernel)


def _check_range(path: str, value: tuple[float, float], limits: tuple[float, float] | None) -> None:
    if value[0] > value[1]:
        raise InputError(f"{path} runs from {value[0]:g} to {value[1]:g}; the lower end comes first.")
    if limits and not limits[0] <= value[0] <= value[1] <= limits[1]:
        raise InputError(
            f"{path} runs from {value[0]:g} to {value[1]:g}; it must lie within {limits[0]:g} and {limits[1]:g}."
        )


def _check_shares(path: str, shares: tuple[float, ...], count: int) -> None:
    if len(shares) != count or min(shares) < 0 or sum(shares) <= 0:
        raise InputError(f"{path} takes {count} shares that are not negative and not all 0, not {list(shares)}.")


def _check_kernels(where: str, smallest: int, largest: int) -> None:
    if not 3 <= smallest <= largest <= KERNEL_SIDE or smallest % 2 == 0 or largest % 2 == 0:
        raise InputError(
            f"{where} has kernels from {smallest} to {largest}; both sides must be odd, from 3 to {KERNEL_SIDE}."
        )
