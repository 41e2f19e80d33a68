"""Runs a Spandrel model as it is: PyTorch, eager."""

from __future__ import annotations

import copy
import logging
import weakref
from collections import Counter
from collections.abc import Callable, Iterator

import torch
from spandrel import ImageModelDescriptor  # pyright: ignore[reportMissingTypeStubs]
from torch import nn

from ...model_loader.loaded import LoadedModel
from ...model_loader.precision import Precision, choose_dtype
from ..upscaler import OutOfMemory, UpscalerSpec
from .memory import is_out_of_memory, release_cached
from .rowstream import NotStreamable, RowStream
from .spec import model_spec

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
_copies: weakref.WeakKeyDictionary[nn.Module, dict[torch.dtype, Descriptor]] = weakref.WeakKeyDictionary()


class EagerUpscaler:
    """An ``Upscaler`` over a loaded model. The loaded model itself is never cast, moved or changed: anything but
    single precision on an accelerator runs on a private copy.

    ``place`` brings the model that is to be run to the device; a host with its own memory management passes its
    own. The first half-precision result with NaN or infinity makes this upscaler go on in single precision.
    """

    def __init__(
        self,
        model: LoadedModel,
        device: torch.device,
        precision: Precision = Precision.AUTO,
        place: Placer | None = None,
    ) -> None:
        self._model, self._device = model, device
        self._place = place or _place_copy
        self.dtype, self.note = choose_dtype(precision, model.facts, device)
        self._runner = self._place(_runnable(model.descriptor, self.dtype, device), device)
        self._spec = model_spec(
            model.facts, self._runner.model, self._runner, pixel_budget=_pixel_budget(self._runner.model, device)
        )

    @property
    def spec(self) -> UpscalerSpec:
        return self._spec

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        result = self._run(picture)
        if self.dtype != torch.float32 and not torch.isfinite(result).all():
            logger.warning(
                "%s gives values that are not finite in %s on %s; it goes on in fp32.",
                self._spec.name,
                self.dtype,
                self._device,
            )
            self.dtype = torch.float32
            self._runner = self._place(_runnable(self._model.descriptor, self.dtype, self._device), self._device)
            result = self._run(picture)
        return result

    def stream_height(self, width: int) -> int:
        """See ``StreamingUpscaler``. On the CPU, where it spares the halo and keeps layers in the cache; on a GPU
        large tiles are faster."""
        rule = self._spec.size_rule
        if self._device.type != "cpu" or rule.multiple_of > 1 or rule.square:
            return 0
        stream = _stream_of(self._runner.model)
        if stream is None or stream.rows_kept * width * 4 > STREAM_MEMORY:
            return 0
        return max(STREAM_LEAST_ROWS, STREAM_PIXELS // width)

    def stream(self, chunks: Iterator[torch.Tensor], count: int) -> Iterator[torch.Tensor]:
        stream = _stream_of(self._runner.model)
        assert stream is not None, "stream_height said 0"
        placed = (chunk.to(self._device, torch.float32, memory_format=torch.channels_last) for chunk in chunks)
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

    def _run(self, picture: torch.Tensor) -> torch.Tensor:
        try:
            layout = torch.channels_last
            batch = picture.to(self._device, _dtype_of(self._runner), memory_format=layout)
            with torch.inference_mode():
                return self._runner(batch).to(torch.float32)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            message = str(error)
        # Outside the handler, which keeps the failed forward's tensors alive.
        release_cached(self._device)
        raise OutOfMemory(message)


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


def _runnable(descriptor: Descriptor, dtype: torch.dtype, device: torch.device) -> Descriptor:
    """The shared model where it can be run as it is, else a private copy, kept as long as the shared one lives."""
    if device.type != "cpu" and _dtype_of(descriptor) == dtype:
        return descriptor
    copies = _copies.setdefault(descriptor.model, {})
    if dtype not in copies:
        copies[dtype] = private_copy(descriptor, dtype)
    return copies[dtype]


def private_copy(descriptor: Descriptor, dtype: torch.dtype) -> Descriptor:
    """A copy on the CPU that nobody else holds, in ``dtype`` and the memory layout that convolutions prefer."""
    shell = copy.copy(descriptor)
    # What a host attached (memory management, our own facts) belongs to the original.
    for name in ("patcher", "backplate"):
        vars(shell).pop(name, None)
    duplicate = copy.deepcopy(shell).to(torch.device("cpu")).to(dtype).eval()
    duplicate.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return duplicate


def _place_copy(descriptor: Descriptor, device: torch.device) -> Descriptor:
    if next(descriptor.model.parameters()).device == device:
        return descriptor
    return private_copy(descriptor, _dtype_of(descriptor)).to(device)


def _pixel_budget(model: nn.Module, device: torch.device) -> int:
    if device.type != "cpu":
        return ACCELERATOR_PIXELS
    widths = Counter(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d))
    usual = widths.most_common(1)[0][0] if widths else 64
    return ALLOCATOR_CLIFF // (4 * usual)
