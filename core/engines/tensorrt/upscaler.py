"""An ``Upscaler`` over a loaded engine of TensorRT, wherever the engine came from."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import torch

from ...errors import ModelOutputError, OutOfMemory
from ...upscaler import Upscaler, UpscalerSpec
from ..memory import device_room, translated_out_of_memory
from ..pytorch.half_check import is_degenerate
from .build import Profile
from .runtime import EngineRunner, ExecutionFailed

logger = logging.getLogger(__name__)


class TensorRTUpscaler:
    """An ``Upscaler`` over a loaded engine.

    A tile larger than the engine takes is answered as one that does not fit the device: with ``OutOfMemory``, so that
    the pipeline cuts it. The first result that is broken in half precision makes ``fallback`` take over.
    """

    def __init__(
        self,
        runner: EngineRunner,
        spec: UpscalerSpec,
        profile: Profile,
        device: torch.device,
        fallback: Callable[[], Upscaler] | None = None,
    ) -> None:
        self._runner, self._spec, self._profile, self._device = runner, spec, profile, device
        self._fallback = fallback
        self._other: Upscaler | None = None

    @property
    def spec(self) -> UpscalerSpec:
        return self._spec

    def room(self, wanted: int) -> tuple[torch.device, int]:
        """See ``OnDeviceUpscaler``."""
        return self._device, device_room(self._device, wanted)

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        if self._other is not None:
            return self._other(picture)
        result = self._run(picture)
        if self._fallback is not None and self._is_broken(result, picture):
            logger.warning(
                "%s gives broken pictures in TensorRT in half precision; continuing in PyTorch.", self._spec.name
            )
            self._other = self._fallback()
            return self._other(picture)
        return result

    def _is_broken(self, result: torch.Tensor, picture: torch.Tensor) -> bool:
        with translated_out_of_memory(self._device):
            return bool(is_degenerate(result, picture))

    def _run(self, picture: torch.Tensor) -> torch.Tensor:
        height, width = picture.shape[2:]
        most = self._profile.tile
        if width > most.width or height > most.height:
            raise OutOfMemory(f"the TensorRT engine was built for tiles of up to {most}, and this is {width}x{height}")
        with translated_out_of_memory(self._device):
            batch = picture.to(self._device, torch.float32)
            most_at_once = self._profile.batch
            try:
                runs = [self._runner.run(batch[at : at + most_at_once]) for at in range(0, len(batch), most_at_once)]
            except ExecutionFailed as error:
                raise ModelOutputError(
                    f"TensorRT failed on {self._spec.name} at {width}x{height} pixels ({error}); use the engine "
                    "pytorch."
                ) from error
            return (runs[0] if len(runs) == 1 else torch.cat(runs)).clamp_(0, 1)


def tiled_spec(spec: UpscalerSpec, profile: Profile) -> UpscalerSpec:
    """A model's spec with a tile that fits the profile, the bands that tiles share included."""
    side = max(min(profile.tile) - 2 * spec.halo.overlap, 1)
    return replace(spec, max_tile_pixels=side * side, longest_side=side, batch_size=profile.batch)
