"""Lanczos-3 resampling, of a whole picture or row by row as a picture grows from the top.

The kernel, its support and the treatment of borders are Pillow's (``src/libImaging/Resample.c``): the support
grows with the reduction, taps outside the picture are dropped and the remaining weights add up to one. The
kernel is Lanczos' windowed sinc with three lobes (Duchon 1979, doi:10.1175/1520-0450(1979)018<1016:LFIOAT>2.0.CO;2).

A short run of neighbouring target samples draws on a short window of source samples, so each run is one dense matrix
product. On the CPU products are float64: no process-wide setting for reduced matrix precision affects the result, and
it costs little more than torch's own filter, which runs on the CPU only, takes no box, and has errors of 1e-4 from its
float32 weights.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..errors import InputError
from ..types import FloatBox, Size, size_of

LOBES = 3
RUN = 32
"""Target samples per matrix product: long enough to be fast, short enough to keep the matrix dense."""
BAND_BYTES = 16 * 2**20
"""Source rows are taken in bands of about this size, so that the whole picture is never held as float64."""
NEGLIGIBLE = 1e-12
"""Weights under this are rounding noise of the sine where the kernel is exactly zero."""


@dataclass(frozen=True)
class Axis:
    """Which source samples make up each target sample along one axis."""

    first: npt.NDArray[np.int64]
    """(n,) first source sample of each target sample; never decreases."""
    last: npt.NDArray[np.int64]
    """(n,) one past the last source sample; never decreases."""
    start: npt.NDArray[np.int64]
    """(n,) source sample that the first column of ``weights`` belongs to."""
    weights: npt.NDArray[np.float64]
    """(n, taps); every row adds up to one."""
    shift: int | None
    """Not None if target sample j is source sample j + shift, unchanged."""

    def __len__(self) -> int:
        return len(self.start)


class Run(NamedTuple):
    """Target samples ``low`` to ``high`` as one product with source samples ``first`` to ``last``."""

    low: int
    high: int
    first: int
    last: int
    matrix: torch.Tensor
    """(high - low, last - first)."""


class Edges(NamedTuple):
    """One axis of a resize: ``source`` samples, of which ``length`` from ``start`` become ``target`` samples."""

    source: int
    target: int
    start: float
    length: float


def lanczos(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The Lanczos-3 kernel at distances given in lobes."""
    value = np.sinc(distance) * np.sinc(distance / LOBES)
    return np.where(np.abs(distance) < LOBES, value, 0.0)


@lru_cache(maxsize=32)
def axis_weights(edges: Edges) -> Axis:
    """Taps and weights of every target sample, in Pillow's convention."""
    scale = edges.length / edges.target
    reduction = max(scale, 1.0)
    centre = edges.start + (np.arange(edges.target, dtype=np.float64) + 0.5) * scale
    start = np.maximum((centre - LOBES * reduction + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + LOBES * reduction + 0.5).astype(np.int64), edges.source)
    tap = start[:, None] + np.arange(int((stop - start).max()))[None, :]
    weights = lanczos((tap + 0.5 - centre[:, None]) / reduction)
    weights[(tap >= stop[:, None]) | (np.abs(weights) < NEGLIGIBLE)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    used = weights != 0.0
    first = start + used.argmax(axis=1)
    last = start + used.shape[1] - used[:, ::-1].argmax(axis=1)
    moved = first - np.arange(edges.target)
    copied = bool((used.sum(axis=1) == 1).all() and (moved == moved[0]).all())
    return Axis(
        first=np.minimum.accumulate(first[::-1])[::-1],
        last=np.maximum.accumulate(last),
        start=start,
        weights=weights,
        shift=int(moved[0]) if copied else None,
    )


@lru_cache(maxsize=16)
def axis_runs(edges: Edges, dtype: torch.dtype, device: torch.device) -> tuple[Run, ...]:
    """The weights of an axis as dense matrices of ``RUN`` target samples each."""
    axis = axis_weights(edges)
    runs: list[Run] = []
    for low in range(0, len(axis), RUN):
        high = min(low + RUN, len(axis))
        first, last = int(axis.first[low]), int(axis.last[high - 1])
        weights = axis.weights[low:high]
        row, tap = np.nonzero(weights)
        matrix = np.zeros((high - low, last - first))
        matrix[row, axis.start[low + row] + tap - first] = weights[row, tap]
        runs.append(Run(low, high, first, last, torch.tensor(matrix, device=device, dtype=dtype)))
    return tuple(runs)


def product_dtype(rows: torch.Tensor) -> torch.dtype:
    """float64 on the CPU and for float64 rows, else float32: most graphics cards compute float64 at a thirtieth of the
    speed, and some not at all."""
    return torch.float64 if rows.device.type == "cpu" or rows.dtype == torch.float64 else torch.float32


@contextmanager
def full_precision(device: torch.device) -> Generator[None]:
    """Products of float32 in this block are not rounded to TF32 on CUDA, whatever the process has chosen."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def checked_edges(source: Size, target: Size, box: FloatBox | None) -> tuple[Edges, Edges]:
    """Columns and rows of the resize; a box may pass the border by rounding error only."""
    if min(source) < 1 or min(target) < 1:
        raise InputError(f"cannot resize {source} to {target}; every side must be at least one pixel")
    if box is None:
        return (
            Edges(source.width, target.width, 0.0, float(source.width)),
            Edges(source.height, target.height, 0.0, float(source.height)),
        )
    columns = _checked_axis(source.width, target.width, box.x, box.width, box, source)
    return columns, _checked_axis(source.height, target.height, box.y, box.height, box, source)


def _checked_axis(side: int, target: int, start: float, length: float, box: FloatBox, source: Size) -> Edges:
    slack = 1e-6 * side
    if not (length > 0 and start >= -slack and start + length <= side + slack):
        raise InputError(
            f"the box at ({box.x:g}, {box.y:g}) of {box.width:g}x{box.height:g} px does not lie within the "
            f"{source} picture; give a box of positive size inside it"
        )
    start = max(start, 0.0)
    return Edges(side, target, start, min(length, side - start))


class RowResampler:
    """Resamples a picture that arrives in rows from top to bottom; same result as ``resize``.

    ``source`` and ``target`` are sizes in pixels, ``box`` the part of the source that fills the target (source pixels,
    edges may lie between pixels; pixels around it still have a part in its border, as in Pillow). ``first_row`` is the
    source row that the first push starts with: rows before ``rows_needed[0]`` may be left out, and so may those from
    ``rows_needed[1]`` on. Only the rows that an unfinished target row needs are kept. Raises ``InputError`` for an
    empty size or a box outside the source.
    """

    def __init__(self, source: Size, target: Size, box: FloatBox | None = None, *, first_row: int = 0) -> None:
        self._source = source
        self._target = target
        self._columns, self._rows = checked_edges(source, target, box)
        self._axis = axis_weights(self._rows)
        if not 0 <= first_row <= self.rows_needed[0]:
            raise ValueError(f"the first row is {first_row}, but row {self.rows_needed[0]} is needed")
        self._seen = first_row
        self._done = 0
        self._held_from = 0
        self._held: torch.Tensor | None = None

    @property
    def rows_needed(self) -> tuple[int, int]:
        """First source row that has any weight, and one past the last."""
        return int(self._axis.first[0]), int(self._axis.last[-1])

    @property
    def rows_held(self) -> int:
        """Source rows (already at the target's width) kept for target rows that are not final yet."""
        return 0 if self._held is None else self._held.shape[0]

    @torch.no_grad()
    def push(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, C, h, source.width), the next h rows, any float type -> (B, C, k, target.width), the k >= 0 target
        rows that became final: float32 (float64 for float64 rows), not clamped, on the device of ``rows``.

        Batch, channels, type and device must stay the same from push to push.
        """
        batch, channels, height, width = rows.shape
        if width != self._source.width or self._seen + height > self._source.height:
            raise ValueError(
                f"rows {self._seen} to {self._seen + height} of {width} px were pushed, but the picture is "
                f"{self._source}"
            )
        if not rows.is_floating_point():
            raise InputError(f"cannot resize {rows.dtype} values; give a float picture with values 0 to 1")
        ready = self._ready(self._seen + height)
        dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
        shape = (batch, channels, ready - self._done, self._target.width)
        result = torch.empty(shape, dtype=dtype, device=rows.device)
        offset = self._done
        row_bytes = 8 * batch * channels * max(width, self._target.width)
        band = max(1, BAND_BYTES // max(row_bytes, 1))
        with full_precision(rows.device):
            for top in range(0, height, band):
                self._take(rows[:, :, top : top + band])
                self._emit(result, offset)
        return result

    def finish(self) -> None:
        """Raises ``ValueError`` if target rows are still missing."""
        if self._done < self._target.height:
            raise ValueError(
                f"the picture ended at row {self._seen}, but row {self.rows_needed[1] - 1} is still needed for "
                f"{self._target.height - self._done} of {self._target.height} target rows"
            )
        self._held = None

    def _ready(self, seen: int) -> int:
        """How many target rows are final once ``seen`` source rows are there."""
        return int(np.searchsorted(self._axis.last, seen, side="right"))

    def _take(self, band: torch.Tensor) -> None:
        """Filters the needed rows of a band across and adds them to the rows held."""
        low = max(self.rows_needed[0] - self._seen, 0)
        high = min(self.rows_needed[1] - self._seen, band.shape[2])
        if low < high:
            if self._held is None:
                self._held_from = self._seen + low
            self._held = self._across(band[:, :, low:high], self._held)
        self._seen += band.shape[2]

    def _across(self, band: torch.Tensor, held: torch.Tensor | None) -> torch.Tensor:
        """(B, C, h, source.width) -> (held rows + h, B, C, target.width) in the type of the products."""
        batch, channels, height, width = band.shape
        kept = 0 if held is None else held.shape[0]
        dtype, device = product_dtype(band), band.device
        result = torch.empty((kept + height, batch, channels, self._target.width), dtype=dtype, device=device)
        if held is not None:
            result[:kept] = held
        shift = axis_weights(self._columns).shift
        if shift is not None:
            result[kept:] = band[..., shift : shift + self._target.width].permute(2, 0, 1, 3)
            return result
        wide = torch.empty((height, batch, channels, width), dtype=dtype, device=device)
        lines = wide.copy_(band.permute(2, 0, 1, 3)).view(-1, width)
        filtered = result[kept:].view(-1, self._target.width)
        for run in axis_runs(self._columns, dtype, device):
            torch.mm(lines[:, run.first : run.last], run.matrix.T, out=filtered[:, run.low : run.high])
        return result

    def _emit(self, result: torch.Tensor, offset: int) -> None:
        """Writes the target rows that the held rows allow; ``result`` starts at target row ``offset``."""
        ready = self._ready(self._seen)
        if self._held is None or ready == self._done:
            return
        if self._axis.shift is not None:
            low = self._done + self._axis.shift - self._held_from
            rows = self._held[low : low + ready - self._done]
            result[:, :, self._done - offset : ready - offset] = rows.permute(1, 2, 0, 3)
        else:
            self._filter_down(self._held, ready, result, offset)
        self._done = ready
        if ready < len(self._axis):
            drop = int(self._axis.first[ready]) - self._held_from
            self._held = self._held[drop:]
            self._held_from += drop
        else:
            self._held = None

    def _filter_down(self, held: torch.Tensor, ready: int, result: torch.Tensor, offset: int) -> None:
        runs = axis_runs(self._rows, held.dtype, held.device)
        for run in runs[self._done // RUN : (ready + RUN - 1) // RUN]:
            low, high = max(run.low, self._done), min(run.high, ready)
            first, last = int(self._axis.first[low]), int(self._axis.last[high - 1])
            matrix = run.matrix[low - run.low : high - run.low, first - run.first : last - run.first]
            window = held[first - self._held_from : last - self._held_from]
            rows = torch.mm(matrix, window.flatten(1)).view(high - low, *held.shape[1:])
            result[:, :, low - offset : high - offset] = rows.permute(1, 2, 0, 3)


def resize(picture: torch.Tensor, size: Size, box: FloatBox | None = None) -> torch.Tensor:
    """Resamples (B, C, H, W) of any float type to (B, C, size.height, size.width) with Lanczos-3, antialiased.

    ``box`` is the part of the picture, in its pixels, that fills the result; edges may lie between pixels.
    Returns a new tensor on the same device: float32 (float64 for a float64 picture), not clamped: the kernel
    overshoots at edges by up to a tenth. The same size without a box gives the same values exactly, and so
    does a box of whole pixels of that size. Values must be finite: one NaN spoils its whole surroundings.
    Raises ``InputError`` for an empty size, a box outside the picture or an integer picture.
    """
    source = size_of(picture)
    resampler = RowResampler(source, size, box)
    result = resampler.push(picture)
    resampler.finish()
    return result
