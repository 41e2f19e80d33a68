"""Runs a model on regions of one picture: several at once where that is faster, halved where memory is short, and of
equal regions of one colour only the first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch

from ..deferred import read_later
from ..errors import InputError, ModelOutputError, OutOfMemory
from ..image.tiling import Edge, read_region, size_to_read, split_region
from ..progress import Progress
from ..types import Box, Context, Size, size_of
from ..upscaler import AsyncUpscaler, Upscaler, UpscalerSpec
from .spared import stand_in
from .tile_cache import PassReuse

FlatKey = tuple[Size, Box, tuple[float, ...]]


def context_for(region: Box, picture: Size, edge: Edge, spec: UpscalerSpec) -> Context:
    """What the model must be given to compute ``region``. A whole picture with nothing beyond its border needs no halo,
    which is not asked for, since it may have to be measured."""
    if edge is Edge.PLAIN and region == Box(0, 0, *picture):
        return Context(grid=spec.alignment, rule=spec.size_rule)
    return spec.context


def flat_keys(picture: torch.Tensor, regions: Sequence[Box], context: Context, edge: Edge) -> dict[Box, FlatKey | None]:
    """For each region a key that two have in common only if the model is given the same numbers for them; None unless
    what it is given is of one colour. A device is waited for once, not for each region."""
    if not regions:
        return {}
    places: list[tuple[Size, Box]] = []
    found: list[torch.Tensor] = []
    for region in regions:
        pixels, inside = read_region(picture, region, context, edge)
        first = pixels[0, :, 0, 0]
        found.append(torch.cat([(pixels == first[:, None, None]).all()[None].to(first), first]))
        places.append((size_of(pixels), inside))
    rows = cast("list[list[float]]", torch.stack(found).tolist())  # pyright: ignore[reportUnknownMemberType]
    return {
        region: (size, inside, tuple(colour)) if flat else None
        for region, (size, inside), (flat, *colour) in zip(regions, places, rows, strict=True)
    }


@dataclass(frozen=True)
class _Read:
    """The pixels (1, C, h, w) that the model needs for a region, where the region lies in them, and their key."""

    region: Box
    pixels: torch.Tensor
    inside: Box
    key: FlatKey | None


class RegionRunner:
    """Remembers how large a region the device could hold, and the last result of a region of one colour.

    ``keys``: what ``flat_keys`` gives for regions that were looked at before. ``known``: results of regions that need
    not be computed. ``reuse`` keeps those that are. ``spared``: regions whose results nobody will see.
    """

    def __init__(
        self,
        picture: torch.Tensor,
        upscaler: Upscaler,
        edge: Edge,
        progress: Progress,
        keys: Mapping[Box, FlatKey | None] | None = None,
        known: Mapping[Box, torch.Tensor] | None = None,
        reuse: PassReuse | None = None,
        spared: frozenset[Box] = frozenset(),
    ) -> None:
        self.picture, self.upscaler, self.edge, self.progress = picture, upscaler, edge, progress
        self.keys, self.known, self.reuse = dict(keys or {}), known or {}, reuse
        self.spared = spared
        self.too_large: int | None = None
        self.largest_run = 0
        self.at_once = upscaler.spec.batch_size
        self.overlapping = isinstance(upscaler, AsyncUpscaler) and upscaler.overlaps
        self.flat: dict[FlatKey, torch.Tensor] = {}
        self.unchecked: deque[Callable[[], None]] = deque()

    def run_all(self, regions: Iterable[Box]) -> Iterator[torch.Tensor]:
        """What ``run`` gives for each region, in their order. Where the upscaler can begin with the next while a
        result is on its way, it does."""
        regions = list(regions)
        for region, result in zip(regions, self._results(regions), strict=True):
            self.check(all_but=1 if self.reuse is None else 0)
            if self.reuse is not None:
                self._keep(region, result, self.reuse)
            yield result

    def check(self, all_but: int = 0) -> None:
        """Raises ``ModelOutputError`` for a result so far that is no picture, but for the last ``all_but``, which may
        still be on their way."""
        while len(self.unchecked) > all_but:
            self.unchecked.popleft()()

    def _keep(self, region: Box, result: torch.Tensor, reuse: PassReuse) -> None:
        if region in self.spared:
            return
        if region in self.known:
            reuse.counts.tiles_reused += 1
            return
        reuse.counts.tiles_run += 1
        pixels, _ = read_region(self.picture, region, self._context(region), self.edge)
        reuse.keep(region, pixels, result)

    def _context(self, region: Box) -> Context:
        return context_for(region, size_of(self.picture), self.edge, self.upscaler.spec)

    def _results(self, regions: list[Box]) -> Iterator[torch.Tensor]:
        pending: deque[Callable[[], list[torch.Tensor]]] = deque()
        for group in self._groups(regions):
            pending.append(self._begin(group))
            if len(pending) > int(self.overlapping):
                yield from pending.popleft()()
        while pending:
            yield from pending.popleft()()

    def run(self, region: Box) -> torch.Tensor:
        """(1, C, h*scale, w*scale) for a region. After out-of-memory a size that ran before is tried once more,
        and then, as any other, halved until it fits; with an exact halo the result is the same. Raises
        ``OutOfMemory`` when it cannot be halved any more."""
        pixels = region.size.pixels
        attempts = 2 if pixels <= self.largest_run else 1
        if self._is_too_large(region):
            attempts = 0
        for _ in range(attempts):
            try:
                result = self._run_whole(region)
            except OutOfMemory:
                continue
            self.largest_run = max(self.largest_run, pixels)
            return result
        halves = self._halves(region)
        if attempts:
            self.too_large = pixels
            self.progress.note(f"Out of memory at a tile of {region.size}; continuing with {halves[0].size}.")
        axis = -1 if halves[0].height == region.height else -2
        return torch.cat([self.run(half) for half in halves], dim=axis)

    def _groups(self, regions: Iterable[Box]) -> Iterator[list[Box]]:
        """Neighbours in the order that are read in one size, as many as share a forward; those that are known alone."""
        group: list[Box] = []
        for region in regions:
            if group and (len(group) >= self.at_once or self._kind(region) != self._kind(group[0])):
                yield group
                group = []
            group.append(region)
        if group:
            yield group

    def _kind(self, region: Box) -> Size | Box:
        """Equal for regions that may share a forward."""
        if region in self.known or region in self.spared:
            return region
        return size_to_read(size_of(self.picture), region, self._context(region), self.edge)

    def _begin(self, group: list[Box]) -> Callable[[], list[torch.Tensor]]:
        """Hands the group to the model; the function it gives waits for the results."""
        if group[0] in self.spared:
            self.progress.check()
            return lambda: [stand_in(self.picture, group[0], self.upscaler.spec.scale, self.edge)]
        if group[0] in self.known:
            return lambda: [self.known[group[0]]]
        one_by_one: Callable[[], list[torch.Tensor]] = lambda: [self.run(region) for region in group]  # noqa: E731
        if (len(group) == 1 and not self.overlapping) or any(self._is_too_large(region) for region in group):
            return one_by_one
        self.progress.check()
        reads = [self._read(region) for region in group]
        todo = self._without_known(reads)
        try:
            collect = self._submit(todo)
        except OutOfMemory:
            self._go_on_one_by_one(group)
            return one_by_one

        def finish() -> list[torch.Tensor]:
            try:
                results = collect()
            except OutOfMemory:
                self._go_on_one_by_one(group)
                return one_by_one()
            return self._collected(reads, todo, results)

        return finish

    def _go_on_one_by_one(self, group: list[Box]) -> None:
        if self.at_once > 1:
            self.progress.note(f"Out of memory at {len(group)} tiles of {group[0].size}; continuing one by one.")
            self.at_once = 1

    def _without_known(self, reads: list[_Read]) -> list[_Read]:
        """Those that the model must see: of one colour only the first, and not if its result is known."""
        seen = set(self.flat)
        todo: list[_Read] = []
        for read in reads:
            if read.key is None or read.key not in seen:
                todo.append(read)
            if read.key is not None:
                seen.add(read.key)
        return todo

    def _submit(self, todo: list[_Read]) -> Callable[[], torch.Tensor]:
        if not todo:
            return lambda: self.picture[:0]
        spec = self.upscaler.spec
        batch = torch.cat([to_model_channels(read.pixels, spec) for read in todo])
        if isinstance(self.upscaler, AsyncUpscaler) and self.overlapping:
            return self.upscaler.submit(batch)
        result = self.upscaler(batch)
        return lambda: result

    def _collected(self, reads: list[_Read], todo: list[_Read], results: torch.Tensor) -> list[torch.Tensor]:
        known = dict(self.flat)
        own: dict[int, torch.Tensor] = {}
        each = len(results) // max(len(todo), 1)
        for index, read in enumerate(todo):
            result = self._finished(read, results[index * each : (index + 1) * each])
            own[id(read)] = result
            self.largest_run = max(self.largest_run, read.region.size.pixels)
            if read.key is not None:
                known[read.key] = result
                self.flat = {read.key: result}
        return [own[id(read)] if id(read) in own else _known(known, read) for read in reads]

    def _is_too_large(self, region: Box) -> bool:
        return self.too_large is not None and region.size.pixels >= self.too_large

    def _halves(self, region: Box) -> tuple[Box, Box]:
        spec = self.upscaler.spec
        halves = split_region(region, spec.alignment) if spec.tileable else None
        if halves is None:
            raise OutOfMemory(
                f"{spec.name} ran out of memory even on a tile of {region.size} pixels; free memory on the device, "
                "use a smaller model or run on the CPU."
            )
        return halves

    def _read(self, region: Box) -> _Read:
        context = self._context(region)
        pixels, inside = read_region(self.picture, region, context, self.edge)
        if region not in self.keys:
            self.keys.update(flat_keys(self.picture, [region], context, self.edge))
        return _Read(region, pixels, inside, self.keys[region])

    def _run_whole(self, region: Box) -> torch.Tensor:
        self.progress.check()
        read = self._read(region)
        if read.key is not None and read.key in self.flat:
            return self.flat[read.key]
        result = self._finished(read, self.upscaler(to_model_channels(read.pixels, self.upscaler.spec)))
        if read.key is not None:
            self.flat = {read.key: result}
        return result

    def _finished(self, read: _Read, result: torch.Tensor) -> torch.Tensor:
        """The region's part of the model's result, in the picture's channels."""
        spec = self.upscaler.spec
        _check_size(result, read.pixels, spec)
        self.unchecked.append(finite_check(result, size_of(read.pixels), spec))
        cut = read.inside.scaled(spec.scale)
        return from_model_channels(result[..., cut.y : cut.bottom, cut.x : cut.right], self.picture.shape[1], spec)


def _known(results: dict[FlatKey, torch.Tensor], read: _Read) -> torch.Tensor:
    assert read.key is not None, "only regions of one colour are left out"
    return results[read.key]


def to_model_channels(pixels: torch.Tensor, spec: UpscalerSpec) -> torch.Tensor:
    """Grey is repeated for colour models; colour becomes a batch of greys for grey models."""
    channels = pixels.shape[1]
    if spec.input_channels == channels:
        return pixels
    if spec.input_channels == 1:
        return pixels.flatten(0, 1).unsqueeze(1)
    if spec.input_channels in (3, 4):
        colour = pixels.expand(-1, 3, -1, -1)
        return colour if spec.input_channels == 3 else torch.cat([colour, torch.ones_like(colour[:, :1])], dim=1)
    raise InputError(
        f"{spec.name} takes {spec.input_channels} channels; pictures here have {channels}, so use a model for 1 or 3."
    )


def from_model_channels(result: torch.Tensor, channels: int, spec: UpscalerSpec) -> torch.Tensor:
    """The way back from ``to_model_channels``."""
    if spec.input_channels == 1 and channels == 3:
        return result[:, :1].reshape(-1, 3, *result.shape[-2:])
    result = result[:, :3]
    return result.mean(dim=1, keepdim=True) if channels < result.shape[1] else result.expand(-1, channels, -1, -1)


def _check_size(result: torch.Tensor, pixels: torch.Tensor, spec: UpscalerSpec) -> None:
    expected = size_of(pixels).scaled(spec.scale)
    found = size_of(result)
    if found != expected:
        raise ModelOutputError(
            f"{spec.name} returned {found} pixels instead of {expected}; the file does not describe its own scale, "
            "so use another copy of the model."
        )


def finite_check(result: torch.Tensor, tile: Size, spec: UpscalerSpec) -> Callable[[], None]:
    """A function that raises ``ModelOutputError`` with the number of values that are not finite; a device is not
    waited for before it is called."""
    is_finite = read_later(torch.isfinite(result).all())

    def check() -> None:
        if is_finite():
            return
        bad = result.numel() - int(torch.isfinite(result).sum())
        raise ModelOutputError(
            f"{spec.name} returned {bad} values that are not finite for a tile of {tile}; its weights may be damaged: "
            "fetch the file again."
        )

    return check
