"""Runs a Spandrel model as it is: PyTorch, eager."""

from __future__ import annotations

import copy
import logging
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterator

import torch
from spandrel import ImageModelDescriptor  # pyright: ignore[reportMissingTypeStubs]
from torch import nn

from ...model_loader.loaded import LoadedModel
from ...model_loader.precision import Precision, choose_dtype
from ..upscaler import OutOfMemory, UpscalerSpec
from .memory import device_room, is_out_of_memory, release_cached
from .plan import RunPlan
from .precision_check import is_unfit, looks_broken, remember_unfit, rounding
from .rowstream import NotStreamable, RowStream
from .spec import model_spec
from .transfers import Transfers

logger = logging.getLogger(__name__)

Descriptor = ImageModelDescriptor[nn.Module]
Placer = Callable[[Descriptor, torch.device], Descriptor]

ALLOCATOR_CLIFF = 32 * 2**20
"""Bytes above which glibc hands every allocation back to the system, so that each layer faults its pages anew."""

ACCELERATOR_PIXELS = 768 * 768
"""Tile on a GPU: large enough to fill it, small enough for 8 GB with an RRDBNet in half precision."""

STREAM_PIXELS = 24_576
"""Pixels of a chunk of rows: a layer of 64 channels is then 6 MB, which stays in the cache of a server's core."""

STREAM_LEAST_ROWS = 8

STREAM_MEMORY = 512 * 2**20
"""Bytes that the convolutions may keep of their last rows; very wide pictures through deep models use tiles."""

_streams: weakref.WeakKeyDictionary[nn.Module, RowStream | None] = weakref.WeakKeyDictionary()
_copies: weakref.WeakKeyDictionary[nn.Module, dict[tuple[torch.dtype, bool], Descriptor]] = weakref.WeakKeyDictionary()


class EagerUpscaler:
    """An ``Upscaler`` over a loaded model. The loaded model itself is never cast, moved or changed: anything but
    single precision on an accelerator runs on a private copy.

    ``place`` brings the model that is to be run to the device; a host with its own memory management passes its
    own. ``plan``: see ``default_plan``, which is used without one. The first half-precision result that is broken
    (NaN, infinite, or of one colour where the source is not) is computed again in single precision; if it is whole
    there, this upscaler goes on in it, and so does every later one of this model on such a device.
    """

    def __init__(
        self,
        model: LoadedModel,
        device: torch.device,
        precision: Precision = Precision.AUTO,
        place: Placer | None = None,
        plan: RunPlan | None = None,
    ) -> None:
        self._model, self._device = model, device
        self._place = place or _place_copy
        self.dtype, self.note = usable_dtype(precision, model, device)
        self._plan = plan or default_plan(model.descriptor.model, device)
        self._tf32 = precision is Precision.TF32
        self._runner = self._placed()
        self._transfers = Transfers(device) if device.type == "cuda" else None
        self._spec = model_spec(
            model.facts,
            self._runner.model,
            self._runner,
            pixel_budget=self._plan.pixel_budget,
            tiles_per_pass=self._plan.tiles_per_pass,
        )

    @property
    def spec(self) -> UpscalerSpec:
        return self._spec

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        result = self._run(picture)
        if self.dtype != torch.float32 and bool(looks_broken(result, picture)):
            return self._redone(picture, result)
        return result

    def room(self) -> tuple[torch.device, int]:
        """See ``RoomyUpscaler``."""
        return self._device, device_room(self._device)

    @property
    def overlaps(self) -> bool:
        """See ``OverlappingUpscaler``."""
        return self._transfers is not None

    def submit(self, picture: torch.Tensor) -> Callable[[], torch.Tensor]:
        """See ``OverlappingUpscaler``: on CUDA, copies to and from the device run beside the computation."""
        if self._transfers is None or picture.device == self._device:
            result = self(picture)
            return lambda: result
        computed = self._run(self._transfers.upload(picture))
        broken = looks_broken(computed, picture) if self.dtype != torch.float32 else None
        download = self._transfers.download(computed)

        def collect() -> torch.Tensor:
            result = download()
            return self._redone(picture, result).cpu() if broken is not None and bool(broken) else result

        return collect

    def stream_height(self, width: int) -> int:
        """See ``StreamingUpscaler``. On the CPU, where it spares the halo and keeps layers in the cache; on a GPU
        large tiles are faster."""
        rule = self._spec.size_rule
        if not self._plan.stream_pixels or rule.multiple_of > 1 or rule.square:
            return 0
        stream = _stream_of(self._runner.model)
        if stream is None or stream.rows_kept * width * 4 > STREAM_MEMORY:
            return 0
        return max(STREAM_LEAST_ROWS, self._plan.stream_pixels // width)

    def stream(self, chunks: Iterator[torch.Tensor], count: int) -> Generator[torch.Tensor]:
        stream = _stream_of(self._runner.model)
        assert stream is not None, "stream_height said 0"
        layout = self._layout
        placed = (chunk.to(self._device, torch.float32, memory_format=layout) for chunk in chunks)
        rows = stream.run(placed, count)
        while True:
            try:
                with torch.inference_mode():
                    portion = next(rows).clamp(0, 1)
            except StopIteration:
                return
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                break
            yield portion
        raise OutOfMemory("the CPU ran out of memory")

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self._plan.channels_last else torch.contiguous_format

    def _placed(self) -> Descriptor:
        return self._place(_runnable(self._model.descriptor, self.dtype, self._device, self._plan), self._device)

    def _run(self, picture: torch.Tensor) -> torch.Tensor:
        try:
            batch = picture.to(self._device, _dtype_of(self._runner), memory_format=self._layout)
            with torch.inference_mode(), rounding(tf32=self._tf32):
                return self._runner(batch).to(torch.float32)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            message = str(error)
        # Outside the handler, which keeps the failed forward's tensors alive.
        release_cached(self._device)
        raise OutOfMemory(message)

    def _redone(self, picture: torch.Tensor, broken: torch.Tensor) -> torch.Tensor:
        """The result in single precision; if that looks no better, it is what the model makes of this picture."""
        half, runner = self.dtype, self._runner
        self.dtype = torch.float32
        self._runner = self._placed()
        result = self._run(picture)
        if bool(looks_broken(result, picture)):
            self.dtype, self._runner = half, runner
            return result
        logger.warning("%s gives broken pictures in %s on %s; it goes on in fp32.", self._spec.name, half, self._device)
        remember_unfit(self._model.facts.sha256, half, self._device)
        return result


def usable_dtype(precision: Precision, model: LoadedModel, device: torch.device) -> tuple[torch.dtype, str | None]:
    """``choose_dtype``, and single precision where half of it broke pictures before."""
    dtype, note = choose_dtype(precision, model.facts, device)
    if dtype == torch.float32 or not is_unfit(model.facts.sha256, dtype, device):
        return dtype, note
    name = str(dtype).removeprefix("torch.")
    return torch.float32, f"{model.facts.name} runs in fp32: it gave broken pictures in {name} on this device before."


def default_plan(model: nn.Module, device: torch.device) -> RunPlan:
    """How to run a model that was not measured: on the CPU chunks of rows or, where they cannot be, tiles whose layers
    stay below the allocator's cliff; elsewhere tiles that fill the device."""
    if device.type != "cpu":
        return RunPlan(pixel_budget=ACCELERATOR_PIXELS)
    widths = Counter(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d))
    usual = widths.most_common(1)[0][0] if widths else 64
    return RunPlan(pixel_budget=ALLOCATOR_CLIFF // (4 * usual), stream_pixels=STREAM_PIXELS)


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


def _runnable(descriptor: Descriptor, dtype: torch.dtype, device: torch.device, plan: RunPlan) -> Descriptor:
    """The shared model where it can be run as it is, else a private copy, kept as long as the shared one lives."""
    if device.type != "cpu" and _dtype_of(descriptor) == dtype:
        return descriptor
    copies = _copies.setdefault(descriptor.model, {})
    key = dtype, plan.channels_last
    if key not in copies:
        copies[key] = private_copy(descriptor, dtype, channels_last=plan.channels_last)
    return copies[key]


def private_copy(descriptor: Descriptor, dtype: torch.dtype, *, channels_last: bool = True) -> Descriptor:
    """A copy on the CPU that nobody else holds, in ``dtype`` and one memory layout."""
    shell = copy.copy(descriptor)
    # What a host attached (memory management, our own facts) belongs to the original.
    for name in ("patcher", "backplate"):
        vars(shell).pop(name, None)
    duplicate = copy.deepcopy(shell).to(torch.device("cpu")).to(dtype).eval()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    duplicate.model.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    return duplicate


def _place_copy(descriptor: Descriptor, device: torch.device) -> Descriptor:
    if next(descriptor.model.parameters()).device == device:
        return descriptor
    return private_copy(descriptor, _dtype_of(descriptor)).to(device)
