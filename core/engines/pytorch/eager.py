"""Runs a Spandrel model as it is: PyTorch, eager."""

from __future__ import annotations

import logging
import math
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from ....model_loader.loaded import LoadedModel
from ....model_loader.precision import Precision, choose_dtype
from ...deferred import read_later
from ...types import Size
from ...upscaler import UpscalerSpec
from ..influence import peak_bytes
from ..memory import device_room, total_memory, translated_out_of_memory
from ..plan import Placer, RunPlan
from ..spec import Descriptor, model_spec, private_copy, suits_channels_last
from .half_check import allow_tf32, blacklist_dtype, is_degenerate, is_unfit
from .rows import NotStreamable, RowStream
from .transfers import Transfers

logger = logging.getLogger(__name__)

ALLOCATOR_CLIFF = 32 * 2**20
"""Bytes above which glibc hands every allocation back to the system, so that each layer faults its pages anew."""

ACCELERATOR_PIXELS = 768 * 768
"""Tile on a GPU of an engine that does not tell how much memory it needs."""

TILE_SHARE = 0.25
"""Part of a device's memory that the tensors of one tile may take: weights, kernels' scratch memory, a second tile on
its way and whatever else the host runs there need the rest."""

LEAST_ACCELERATOR_SIDE = 256
MOST_ACCELERATOR_SIDE = 2048
"""Of tiles on a GPU. Larger ones gain nothing there."""

WITH_SCRATCH = 1.5
"""Of the memory of tensors."""

MEASURED_SIDE = 128
ASSUMED_PASS_BYTES = 6400.0

STREAM_PIXELS = 24_576
"""Pixels of a chunk of rows: a layer of 64 channels is then 6 MB, which stays in the cache of a server's core."""

STREAM_LEAST_ROWS = 8

STREAM_MEMORY = 512 * 2**20
"""Bytes that the convolutions may keep of their last rows; very wide pictures through deep models use tiles."""

_pass_bytes: weakref.WeakKeyDictionary[nn.Module, dict[torch.dtype, float]] = weakref.WeakKeyDictionary()
_streams: weakref.WeakKeyDictionary[nn.Module, RowStream | None] = weakref.WeakKeyDictionary()
_copies: weakref.WeakKeyDictionary[nn.Module, dict[tuple[torch.dtype, torch.device, bool], Descriptor]] = (
    weakref.WeakKeyDictionary()
)


@dataclass(frozen=True)
class _Mode:
    """A precision, and the network that runs in it; they only ever change together."""

    dtype: torch.dtype
    runner: Descriptor


class EagerUpscaler:
    """An ``Upscaler`` over a loaded model. The loaded model itself is never cast, moved or changed: anything but
    single precision on an accelerator runs on a private copy, and the model always gets its input in memory of its
    own, which it may write into.

    ``place`` brings the model that is to be run to the device; a host with its own memory management passes its
    own, which is asked again when the host took weights off the device meanwhile. ``plan``: see ``default_plan``,
    which is used without one. The first half-precision result that is broken (NaN, infinite, or of one colour where
    the source is not) is computed again in single precision; if it is whole there, this upscaler goes on in it, and
    so does every later one of this model on such a device.
    """

    def __init__(
        self,
        model: LoadedModel,
        device: torch.device,
        precision: Precision = Precision.AUTO,
        place: Placer | None = None,
        plan: RunPlan | None = None,
    ) -> None:
        # "cuda" becomes "cuda:0", as tensors there call it.
        device = torch.empty(0, device=device).device
        self._model, self._device = model, device
        self._place = place
        dtype, self.note = usable_dtype(precision, model, device)
        if plan and plan.dtype and precision is Precision.AUTO:
            dtype = getattr(torch, plan.dtype)
        self._plan = plan or default_plan(model.descriptor, device, dtype)
        if not suits_channels_last(model.descriptor.model):
            self._plan = replace(self._plan, channels_last=False)
        self._tf32 = precision is Precision.TF32
        self._mode = self._placed(dtype)
        self._transfers = Transfers(device) if device.type == "cuda" else None
        self._spec = model_spec(
            model.facts,
            model.descriptor,
            device=device,
            max_tile_pixels=self._plan.max_tile_pixels,
            batch_size=self._plan.batch_size,
        )

    @property
    def spec(self) -> UpscalerSpec:
        return self._spec

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the next tile."""
        return self._mode.dtype

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        mode = self._mode
        result, is_broken = self._run(picture, mode)
        with translated_out_of_memory(self._device):
            return self._redone(picture, mode) if is_broken() else result

    def room(self, wanted: int) -> tuple[torch.device, int]:
        """See ``OnDeviceUpscaler``."""
        return self._device, device_room(self._device, wanted)

    @property
    def overlaps(self) -> bool:
        """See ``AsyncUpscaler``."""
        return self._transfers is not None

    def submit(self, picture: torch.Tensor) -> Callable[[], torch.Tensor]:
        """See ``AsyncUpscaler``: on CUDA, copies to and from the device run beside the computation, and nobody
        waits for the device before the result is collected."""
        if self._transfers is None:
            result = self(picture)
            return lambda: result
        transfers, mode = self._transfers, self._mode
        with translated_out_of_memory(self._device):
            source = transfers.upload(picture)
            computed, is_broken = self._run(source, mode)
            download = transfers.download(computed) if picture.device != self._device else lambda: computed

        def collect() -> torch.Tensor:
            with translated_out_of_memory(self._device):
                result = download()
                return self._redone(source, mode).to(picture.device) if is_broken() else result

        return collect

    def stream_height(self, width: int) -> int:
        """See ``StreamingUpscaler``. On the CPU, where it spares the halo and keeps layers in the cache; on a GPU
        large tiles are faster."""
        rule = self._spec.size_rule
        if not self._plan.stream_min_pixels or rule.multiple_of > 1 or rule.square:
            return 0
        stream = _stream_of(self._mode.runner.model)
        if stream is None or stream.rows_kept * width * 4 > STREAM_MEMORY:
            return 0
        return max(STREAM_LEAST_ROWS, self._plan.stream_min_pixels // width)

    def stream(self, chunks: Iterator[torch.Tensor], count: int) -> Generator[torch.Tensor]:
        stream = _stream_of(self._mode.runner.model)
        assert stream is not None, "stream_height said 0"
        layout = self._layout(self._mode.runner)
        placed = (chunk.to(self._device, torch.float32, memory_format=layout) for chunk in chunks)
        rows = stream.run(placed, count)
        while True:
            with translated_out_of_memory(self._device), torch.inference_mode():
                portion = next(rows, None)
                if portion is None:
                    return
                portion = portion.clamp(0, 1)
            yield portion

    def _layout(self, runner: Descriptor) -> torch.memory_format:
        """That of the plan, for a private copy; a host's own weights lie as they were loaded."""
        shared = runner.model is self._model.descriptor.model
        return torch.channels_last if self._plan.channels_last and not shared else torch.contiguous_format

    def _placed(self, dtype: torch.dtype) -> _Mode:
        source = self._model.descriptor
        with translated_out_of_memory(self._device):
            if self._place is None:
                return _Mode(dtype, _kept_copy(source, dtype, self._device, self._plan.channels_last))
            if self._device.type == "cpu" or _dtype_of(source) != dtype:
                source = _kept_copy(source, dtype, torch.device("cpu"), self._plan.channels_last)
            return _Mode(dtype, self._place(source, self._device))

    def _run(self, picture: torch.Tensor, mode: _Mode) -> tuple[torch.Tensor, Callable[[], bool]]:
        """The result, float32 on the device; and whether it ``is_degenerate`` in half precision."""
        with translated_out_of_memory(self._device):
            runner = self._at_hand(mode)
            source = picture.to(self._device)
            batch = source.to(_dtype_of(runner), memory_format=self._layout(runner), copy=True)
            with torch.inference_mode(), allow_tf32(tf32=self._tf32):
                singles = torch.split(batch, len(batch) if self._spec.batches else 1)
                result = torch.cat([runner(single) for single in singles]) if len(singles) > 1 else runner(batch)
            result = result.to(torch.float32)
            if mode.dtype == torch.float32:
                return result, lambda: False
            return result, read_later(is_degenerate(result, source))

    def _at_hand(self, mode: _Mode) -> Descriptor:
        """The network with all its weights on the device, from which a host may have taken them."""
        if self._place is None or all(weights.device == self._device for weights in mode.runner.model.parameters()):
            return mode.runner
        return self._place(mode.runner, self._device)

    def _redone(self, picture: torch.Tensor, mode: _Mode) -> torch.Tensor:
        """The result in single precision; if that looks no better, it is what the model makes of this picture.
        ``mode``: that which broke it."""
        exact = self._placed(torch.float32)
        result, _ = self._run(picture, exact)
        if bool(is_degenerate(result, picture)) or self._mode is not mode:
            return result
        logger.warning("%s gives broken pictures in %s on %s; continuing in fp32.", self._spec.name, mode.dtype,
                       self._device)  # fmt: skip
        self._mode = exact
        blacklist_dtype(self._model.facts.sha256, mode.dtype, self._device)
        return result


def usable_dtype(precision: Precision, model: LoadedModel, device: torch.device) -> tuple[torch.dtype, str | None]:
    """``choose_dtype``, and single precision where half of it broke pictures before."""
    dtype, note = choose_dtype(precision, model.facts, device)
    if dtype == torch.float32 or not is_unfit(model.facts.sha256, dtype, device):
        return dtype, note
    name = str(dtype).removeprefix("torch.")
    return torch.float32, f"{model.facts.name} runs in fp32: it gave broken pictures in {name} on this device before."


def default_plan(descriptor: Descriptor, device: torch.device, dtype: torch.dtype) -> RunPlan:
    """How to run a model that was not measured: on the CPU chunks of rows or, where they cannot be, tiles whose layers
    stay below the allocator's cliff; elsewhere tiles that fill the device."""
    if device.type != "cpu":
        return RunPlan(max_tile_pixels=accelerator_pixels(descriptor, total_memory(device), dtype))
    widths = Counter(m.out_channels for m in descriptor.model.modules() if isinstance(m, nn.Conv2d))
    usual = widths.most_common(1)[0][0] if widths else 64
    return RunPlan(max_tile_pixels=ALLOCATOR_CLIFF // (4 * usual), stream_min_pixels=STREAM_PIXELS)


def accelerator_pixels(descriptor: Descriptor, memory: int, dtype: torch.dtype) -> int:
    """Input pixels of a tile, context included, that a device with so many bytes is given. What is free now would make
    tiles, and kept plans, differ from run to run; where it is less, tiles are halved."""
    side = math.isqrt(round(TILE_SHARE * memory / pass_bytes(descriptor, dtype)))
    return min(max(side // 64 * 64, LEAST_ACCELERATOR_SIDE), MOST_ACCELERATOR_SIDE) ** 2


def tile_bytes(descriptor: Descriptor, device: torch.device) -> int:
    """Bytes of a device that the largest tile takes, kernels' scratch memory included."""
    dtype = _dtype_of(descriptor)
    pixels = accelerator_pixels(descriptor, total_memory(device), dtype)
    return round(WITH_SCRATCH * pixels * pass_bytes(descriptor, dtype))


def pass_bytes(descriptor: Descriptor, dtype: torch.dtype) -> float:
    """Bytes that a forward takes for each input pixel, worked out without computing anything: see ``peak_bytes``."""
    known = _pass_bytes.setdefault(descriptor.model, {})
    if dtype not in known:
        side = MEASURED_SIDE
        try:
            on_paper = private_copy(descriptor, dtype, channels_last=False).to(torch.device("meta"))
            peak = peak_bytes(lambda p: on_paper(p.to("meta", dtype)), Size(side, side), descriptor.input_channels)
            known[dtype] = max(peak / side**2, 1.0)
        except (RuntimeError, NotImplementedError, ValueError):
            # A network that looks at its values. An RRDBNet takes as much.
            known[dtype] = ASSUMED_PASS_BYTES
    return known[dtype]


def _stream_of(model: nn.Module) -> RowStream | None:
    if model not in _streams:
        try:
            _streams[model] = RowStream(model)
        except NotStreamable as reason:
            logger.debug("Rows cannot be streamed through this model: %s", reason)
            _streams[model] = None
    return _streams[model]


def _dtype_of(descriptor: Descriptor) -> torch.dtype:
    """Asked of the weights: another node may have cast a model that is shared."""
    return next(descriptor.model.parameters()).dtype


def _kept_copy(descriptor: Descriptor, dtype: torch.dtype, device: torch.device, channels_last: bool) -> Descriptor:
    """A private copy on the device, made once and kept as long as the shared model lives."""
    copies = _copies.setdefault(descriptor.model, {})
    key = dtype, device, channels_last
    if key not in copies:
        copies[key] = private_copy(descriptor, dtype, channels_last=channels_last).to(device)
    return copies[key]
