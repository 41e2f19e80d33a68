"""Sizes and boxes, and what a picture is.

A *picture* is a ``torch.Tensor``: float, values 0 to 1, shape (B, C, H, W), RGB (C = 3) or grey (C = 1),
sRGB-encoded. Alpha is passed separately as (B, 1, H, W), straight (not premultiplied). Pictures are converted once on
the way in and once on the way out. No function changes a picture that it was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch


def ceil_to(length: int, multiple: int) -> int:
    """The smallest multiple that is at least ``length``."""
    return -(-length // multiple) * multiple


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def scaled(self, factor: int) -> Size:
        return Size(self.width * factor, self.height * factor)

    @property
    def pixels(self) -> int:
        return self.width * self.height


def size_of(picture: torch.Tensor) -> Size:
    """The size of (..., H, W)."""
    return Size(picture.shape[-1], picture.shape[-2])


class Box(NamedTuple):
    """A rectangle of whole pixels: its top left corner, then its extent."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column past the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row past the box."""
        return self.y + self.height

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    def scaled(self, factor: int) -> Box:
        return Box(self.x * factor, self.y * factor, self.width * factor, self.height * factor)


class FloatBox(NamedTuple):
    """A rectangle in pixel units whose edges may lie between pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class SizeRule:
    """Sizes a model accepts: both sides at least ``minimum``, multiples of ``multiple_of``, equal if ``square``."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    minimum: int = 0
    multiple_of: int = 1
    square: bool = False

    def padded(self, size: Size) -> Size:
        """The smallest acceptable size that holds ``size``."""
        sides = [ceil_to(max(side, self.minimum, 1), self.multiple_of) for side in size]
        if self.square:
            sides = [max(sides)] * 2
        return Size(*sides)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a model needs to compute a region: ``halo`` pixels around it, cropped at multiples of ``grid`` in the
    picture, in a size that meets ``rule``. ``grid`` is a multiple of ``rule.multiple_of``."""

    halo: int = 0
    grid: int = 1
    rule: SizeRule = SizeRule()

    @property
    def least(self) -> int:
        """Shortest side that may be read."""
        return ceil_to(max(self.rule.minimum, 1), self.rule.multiple_of)


class SizeFacts(Protocol):
    """What a model's facts say about the sizes it accepts, for ``model_loader``, which does not import this package."""

    @property
    def minimum_size(self) -> int: ...
    @property
    def multiple_of(self) -> int: ...
    @property
    def square(self) -> bool: ...


def size_rule_of(facts: SizeFacts) -> SizeRule:
    return SizeRule(minimum=facts.minimum_size, multiple_of=facts.multiple_of, square=facts.square)
