"""What is known of one ncnn layer: its options, its weights, and the shapes that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]
"""Channels, rows, columns; or one number for a vector."""
LARGEST = 3.5e38
REST = -233
"""ncnn's sign for the end of an axis, and for an equal share of it."""


class Misfit(ValueError):
    """The numbers of a layer do not fit each other, or what comes before. The message is a clause."""


@dataclass(frozen=True)
class Weights:
    """``count`` numbers; ``tagged``: with their type before them."""

    count: int
    tagged: bool = False


@dataclass(frozen=True)
class Number:
    """Range of an option. ``array``: of each of several."""

    least: float = -LARGEST
    most: float = LARGEST
    whole: bool = False
    array: bool = False


@dataclass(frozen=True)
class Given:
    """A layer's options and the shapes that it reads."""

    numbers: Mapping[int, float]
    arrays: Mapping[int, tuple[float, ...]]
    inputs: Sequence[Shape]
    outputs: int

    def whole(self, key: int, default: int = 0) -> int:
        return int(self.numbers.get(key, default))

    def need(self, key: int) -> int:
        if key not in self.numbers:
            raise Misfit(f"has no option {key}")
        return int(self.numbers[key])

    @property
    def picture(self) -> tuple[int, int, int]:
        """The only input. Raises ``Misfit`` unless it has rows and columns."""
        shape = self.inputs[0]
        if len(shape) != 3:
            raise Misfit(f"reads {len(shape)} dimensions, and a picture has 3")
        return shape[0], shape[1], shape[2]


Result = tuple[list[Shape], list[Weights]]


@dataclass(frozen=True)
class Kind:
    """``inputs``: how many, from and to."""

    rule: Callable[[Given], Result]
    options: Mapping[int, Number]
    inputs: tuple[int, int] = (1, 1)
    most_outputs: int = 1


def filled(*shape: int) -> Shape:
    if min(shape) < 1:
        raise Misfit("gives no pixels")
    return shape


def sides_text(shape: Shape) -> str:
    return "x".join(map(str, shape))
