"""Trials that find out how a model looks at a picture: in which cells, how far, and with how much memory.

Each compares what the model makes of two drawn strips, and none needs to know what the model is made of.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..types import Size, SizeRule, ceil_to

Run = Callable[[torch.Tensor], torch.Tensor]
"""Runs a model on (1, C, H, W), 0 to 1."""

GRIDS = (1, 2, 4, 8, 16, 32, 64, 3, 6, 12, 24, 48, 5, 10, 20, 40, 7, 14, 28, 56)
"""Cells that are tried, in pixels, or in multiples of the model's own size rule: powers of two first, since nearly all
models have one."""

SAME = 1e-5
"""Change of a moved texture, as a part of its range, that is rounding."""

ALIKE = 1e-4
"""Difference between results, as a part of 1, that rounding in single precision may make."""

CLEARLY_LESS = 0.8
NEARLY_LEAST = 1.2
"""Where no shift leaves the texture the same, the cell is the smallest whose mean change is below ``CLEARLY_LESS`` of
the largest and ``NEARLY_LEAST`` times the smallest."""

CONVOLUTIONS = {"conv2d", "convolution", "upsample_nearest2d", "upsample_bilinear2d", "pixel_shuffle"}
ON_PIXELS = {
    "leaky_relu",
    "relu",
    "prelu",
    "prelu_kernel",
    "silu",
    "gelu",
    "sigmoid",
    "add",
    "sub",
    "mul",
    "div",
    "clamp",
}
NO_CHANGE = {"cat", "alias", "detach", "clone", "contiguous", "to", "to_copy"}
LOCAL = CONVOLUTIONS | ON_PIXELS | NO_CHANGE
"""Operations of ``torch`` that look at the pixels around each pixel only, by the same rule everywhere."""

LOCAL_SIDE = 8
"""Of a picture that no model pads to one that it can take."""

STRIP_HEIGHT = 32
TEXTURE_SIDE = 64
GROUND = 0.4


def find_grid(run: Run, *, scale: int, channels: int, size_rule: SizeRule) -> int:
    """The cell in input pixels, a multiple of ``size_rule.multiple_of``, in which the model sees a picture: the least
    shift of a texture on an even ground that shifts the result and changes nothing else.

    The ground keeps what lies around the texture, and all statistics of the picture, as they are, so models that
    pool over the whole picture, or look past the texture, show their cells as clearly as others do.
    """
    unit = size_rule.multiple_of
    still = _texture_result(run, 0, scale, channels, size_rule)
    span = float(still.max() - still.min()) or 1.0
    changes: dict[int, float] = {}

    def leaves_the_same(cell: int) -> bool:
        change = (_texture_result(run, cell, scale, channels, size_rule) - still).abs()
        changes[cell] = float(change.mean())
        return float(change.max()) <= SAME * span

    cells = [unit * factor for factor in GRIDS if unit * factor <= max(TEXTURE_SIDE, unit)]
    if leaves_the_same(unit):
        return unit
    # A shift by a multiple of the cell changes as little as one by the cell itself: where these change no less than
    # one pixel does, there are no cells, and a wide network, which is slow, need not be asked for each.
    largest = [cell for cell in cells[1:] if not any(other % cell == 0 for other in cells if other != cell)]
    exact = {cell for cell in largest if leaves_the_same(cell)}
    if not exact and changes[unit] <= NEARLY_LEAST * min(changes.values()):
        return unit
    for cell in cells[1:]:
        if cell in exact or (cell not in changes and leaves_the_same(cell)):
            return cell
    return _clearest(changes, unit)


def _clearest(changes: dict[int, float], unit: int) -> int:
    least, most = min(changes.values()), max(changes.values())
    if least > CLEARLY_LESS * most:
        return unit
    return min(cell for cell, change in changes.items() if change <= NEARLY_LEAST * least)


def _texture_result(run: Run, shift: int, scale: int, channels: int, size_rule: SizeRule) -> torch.Tensor:
    """The model's result where the texture lies, moved ``shift`` pixels to the right, away from every border."""
    unit = max(size_rule.multiple_of, TEXTURE_SIDE)
    size = size_rule.padded(Size(2 * unit + 2 * TEXTURE_SIDE, TEXTURE_SIDE))
    strip = torch.full((1, channels, size.height, size.width), GROUND)
    left = ceil_to(TEXTURE_SIDE // 2, size_rule.multiple_of) + shift
    strip[..., left : left + TEXTURE_SIDE] = sample_strip(size.height, TEXTURE_SIDE, channels)[1:]
    return run(strip)[..., left * scale : (left + TEXTURE_SIDE) * scale].float()


def influence_of_cut(run: Run, reach: int, *, scale: int, channels: int, size_rule: SizeRule) -> torch.Tensor:
    """(reach,) by how much the result changes, at each distance from a cut or further, when the model sees a strip
    only from the cut on instead of the whole strip, lying and standing; distances in input pixels, changes as parts
    of 1. ``reach`` is a multiple of the model's cell."""
    reach = size_rule.padded(Size(reach, 1)).width
    height = size_rule.padded(Size(1, STRIP_HEIGHT)).height
    if size_rule.square:
        height = 2 * reach
    smooth, edges = sample_strip(height, 2 * reach, channels)
    changes = [
        _change_past_cut(run, smooth[None], reach, scale),
        _change_past_cut(run, edges[None], reach, scale),
        _change_past_cut(lambda picture: run(picture.mT).mT, edges[None], reach, scale),
    ]
    change = torch.stack(changes).amax(dim=0).reshape(-1, scale).amax(dim=1)
    return change.flip(0).cummax(0).values.flip(0).cpu()


def _change_past_cut(run: Run, strip: torch.Tensor, reach: int, scale: int) -> torch.Tensor:
    whole = run(strip)[..., reach * scale :]
    return (whole - run(strip[..., reach:])).float().abs().amax(dim=(0, 1, 2))


def sample_strip(height: int, width: int, channels: int) -> torch.Tensor:
    """(2, channels, height, width): smooth texture, and the same with hard edges and fine grain; fixed seed."""
    generator = torch.Generator().manual_seed(20)
    layers = torch.zeros(1, channels, height, width)
    for cell in (32, 8, 2):
        grid = torch.rand(1, channels, height // cell + 2, width // cell + 2, generator=generator)
        layers += nn.functional.interpolate(grid, size=(height, width), mode="bicubic")
    smooth = (layers / 3).clamp(0, 1)
    edges = (smooth > 0.5).float() * 0.8 + 0.1 * torch.rand(smooth.shape, generator=generator)
    return torch.cat([smooth, edges])


def runs_batches(run: Run, *, channels: int, size_rule: SizeRule) -> bool:
    """Whether a batch of two gives what each picture gives alone; Spandrel promises batches of one only."""
    size = size_rule.padded(Size(STRIP_HEIGHT, STRIP_HEIGHT))
    pair = sample_strip(size.height, size.width, channels)
    alone = torch.cat([run(pair[:1]), run(pair[1:])])
    try:
        together = run(pair)
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return False
    return together.shape == alone.shape and float((together - alone).abs().max()) <= ALIKE


def peak_bytes(run: Run, size: Size, channels: int) -> int:
    """Most bytes that the model's own tensors take at once for a picture of that size, scratch memory of kernels not
    counted."""
    strip = sample_strip(size.height, size.width, channels)[1:]
    with _Memory() as memory:
        run(strip)
    return memory.peak


def gathers_statistics(run: Run, *, channels: int, size_rule: SizeRule) -> bool:
    """Whether the model works out something of all pixels of a picture at once: a mean or an extreme of each channel
    (squeeze-and-excitation, routing), or a normalisation over space. What it does with that may depend on the picture,
    so a trial of a few pictures does not show how much it matters."""
    size = size_rule.padded(Size(STRIP_HEIGHT, STRIP_HEIGHT))
    with _Reductions() as reductions:
        run(sample_strip(size.height, size.width, channels)[1:])
    return reductions.over_space


def is_local(run: Run, *, channels: int, size_rule: SizeRule) -> bool:
    """Whether nothing but convolutions and operations on single pixels happens on the way through the model, so that a
    moved picture gives the moved result."""
    size = size_rule.padded(Size(LOCAL_SIDE, LOCAL_SIDE))
    picture = torch.zeros(1, channels, size.height, size.width)
    with _Operations() as operations:
        run(picture)
    return operations.names <= LOCAL


class _Operations(TorchDispatchMode):
    """The names of all operations, without the underscores of those that work in place or are internal."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.add(func.overloadpacket.__name__.strip("_"))
        return func(*args, **(kwargs or {}))


class _Reductions(TorchDispatchMode):
    """Notices operations that leave one value of each channel, or normalise by such values."""

    # A norm that runs on statistics from training says so in its sixth argument.
    ALWAYS = ("group_norm", "native_group_norm")
    IF_SAID = ("instance_norm", "batch_norm", "native_batch_norm", "_native_batch_norm_legit")
    LEAST_PIXELS = 8

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.over_space = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = args[0] if args else None
        if isinstance(given, torch.Tensor) and given.dim() == 4 and given.shape[0] == 1:
            name = func.overloadpacket.__name__
            several = given.shape[2] * given.shape[3] >= self.LEAST_PIXELS
            self.over_space |= several and (self._reduces(given, result) or self._normalises(name, args))
        return result

    def _reduces(self, given: torch.Tensor, result: Any) -> bool:
        left = next(_tensors(result), None)
        return left is not None and left.dim() >= 2 and left.numel() == given.shape[1] > 1

    def _normalises(self, name: str, args: tuple[Any, ...]) -> bool:
        return name in self.ALWAYS or (name in self.IF_SAID and bool(args[5]))


class _Memory(TorchDispatchMode):
    """Counts the storages that operations make, for as long as anybody holds them."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.peak = self._now = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()  # pyright: ignore[reportPrivateUsage]
        if key in self._seen:
            return
        self._seen.add(key)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self._now -= size


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
