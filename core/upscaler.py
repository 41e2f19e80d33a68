"""The contract between the pipeline and whatever runs a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch

from .progress import Progress
from .types import Context, SizeRule, ceil_to

LARGEST_BAND = 16
"""Widest band, in input pixels, over which tiles of an inexact halo are blended."""


@dataclass(frozen=True, kw_only=True)
class Halo:
    """How much context around a tile the model needs, in input pixels.

    ``exact`` means that pixels further away have no influence at all (the receptive field of a convolutional
    model), so tiles can be cut. Otherwise ``pixels`` is the distance at which the measured influence falls
    under 0.5/255, and neighbouring tiles are blended inside it.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    pixels: int
    exact: bool
    grid: int = 1
    """The model sees a picture in cells of so many pixels (attention windows, pixel-unshuffle): a tile is the same
    picture to it only if it begins where a cell does."""
    unbounded: bool = False
    """Every pixel of the picture has a visible influence (pooling or attention over the whole picture), so that
    ``pixels`` is not enough; only the whole picture at once is."""

    @property
    def overlap(self) -> int:
        """Input pixels that a tile shares with each neighbour, to be blended; 0 where tiles are cut."""
        return 0 if self.exact else min(self.pixels // 4, LARGEST_BAND)

    def measure(self, progress: Progress) -> None:
        """Finds ``pixels`` now, where reading it would; see ``LazyHalo``."""


class LazyHalo(Halo):
    """An inexact halo whose ``pixels`` are measured when they are first read: a picture that is one tile needs none,
    and for a wide network on a CPU the measurement takes as long as such a picture."""

    def __init__(self, grid: int, find: Callable[[Progress], int]) -> None:
        # As a frozen dataclass has it done.
        for name, value in {"exact": False, "grid": grid, "unbounded": False, "_find": find}.items():
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> int:
        if name != "pixels":
            raise AttributeError(name)
        self.measure(Progress())
        return self.pixels

    def measure(self, progress: Progress) -> None:
        """See ``Halo``. What ``progress.check`` raises passes through."""
        find: Callable[[Progress], int] | None = vars(self).get("_find")
        if find:
            object.__setattr__(self, "pixels", find(progress))
            # It holds the model.
            object.__delattr__(self, "_find")


@dataclass(frozen=True, kw_only=True)
class UpscalerSpec:
    """Facts the pipeline needs about a model. Sizes are in input pixels."""

    name: str
    scale: int
    input_channels: int
    output_channels: int
    size_rule: SizeRule
    halo: Halo
    max_tile_pixels: int = 0
    """Most input pixels (halo included) that run well in one pass on this device; 0 for no limit."""
    longest_side: int = 0
    """Longest side of a tile (halo included) that the model is run on here; 0 for no limit."""
    batch_size: int = 1
    """Tiles of one size that run faster in one call than one by one."""
    rows_from: int = 0
    """Input pixels from which rows are streamed faster than a tile that needs no context; 0 if they never are."""
    tileable: bool = True
    """False if the model needs the whole picture at once."""
    batches: bool = True
    """Whether several pictures may share a forward."""
    whole_pixels: int = 0
    """Input pixels that a model with an unbounded halo can be given at once here."""

    @property
    def alignment(self) -> int:
        """Multiples at which tiles begin, so that they meet the model's grid as the whole picture does."""
        return math.lcm(self.size_rule.multiple_of, self.halo.grid)

    @property
    def aligned_halo(self) -> int:
        """Pixels that are read beyond a tile: the halo and the band that it shares, up to the next cell."""
        return ceil_to(self.halo.pixels + self.halo.overlap, self.alignment)

    @property
    def context(self) -> Context:
        return Context(halo=self.halo.pixels, grid=self.alignment, rule=self.size_rule)


class Upscaler(Protocol):
    """Runs a model on one batch of tiles that already meets the model's size rule."""

    @property
    def spec(self) -> UpscalerSpec: ...

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        """(B, input_channels, H, W), 0 to 1, any float type, any device -> (B, output_channels, H*scale,
        W*scale), float32, clamped to 0..1, on the device of the model.

        Raises ``OutOfMemory``. Never changes ``picture``.
        """
        ...


@runtime_checkable
class StreamingUpscaler(Upscaler, Protocol):
    """An upscaler that can also take a picture row by row, without tiles and without computing anything twice."""

    def stream_height(self, width: int) -> int:
        """Rows of a chunk that suit a picture ``width`` pixels wide, or 0 where tiles do better."""
        ...

    def stream(self, chunks: Iterator[torch.Tensor], count: int) -> Generator[torch.Tensor]:
        """``count`` chunks (B, input_channels, h, W) from top to bottom -> magnified rows in any portions, equal
        to one call over the whole picture, closed by who stops early. Raises ``OutOfMemory``."""
        ...


@runtime_checkable
class AsyncUpscaler(Upscaler, Protocol):
    """An upscaler that can begin with the next tile while the last one's result is on its way."""

    @property
    def overlaps(self) -> bool:
        """False on devices where that would gain nothing."""
        ...

    def submit(self, picture: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Begins what a call does and returns at once; the function it gives waits for the result, which may lie on
        the device of ``picture``. At most two at a time. Both may raise ``OutOfMemory``."""
        ...


@runtime_checkable
class OnDeviceUpscaler(Upscaler, Protocol):
    """An upscaler whose device can hold more than its tiles."""

    def room(self, wanted: int) -> tuple[torch.device, int]:
        """The device, and how many of its bytes a picture and its magnified bands may take now, after a host with
        memory management of its own was asked for the ``wanted`` ones; 0 where it gains nothing to have them there."""
        ...
