"""An upscaler that recomputes only the tiles that changed since the last frame."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch

from ..image.held import HeldSettings, is_held
from ..upscaler import Upscaler, UpscalerSpec

MEMORY_LIMIT = 2**30
"""Bytes of results that are kept at most; 4K from x4 in single precision is 100 MB, 8K 400 MB."""


class _Known(NamedTuple):
    pixels: torch.Tensor
    result: torch.Tensor


class ReusingUpscaler:
    """An ``Upscaler`` around another. The pipeline hands it the same tiles frame after frame, each with the context
    that the model needs; where all of these pixels are what they were, so is the result. With threshold 0 the frames
    are therefore bit for bit those of a full computation."""

    def __init__(self, upscaler: Upscaler, settings: HeldSettings) -> None:
        self._upscaler, self._settings = upscaler, settings
        self._known: dict[int, _Known] = {}
        self._place = 0
        self.run, self.reused = 0, 0

    @property
    def spec(self) -> UpscalerSpec:
        # One tile a call: of several together, one that changes would make all be computed again.
        return replace(self._upscaler.spec, tiles_per_pass=1)

    def start_frame(self) -> None:
        self._place = 0

    def forget(self) -> None:
        """The next frame is computed as a whole."""
        self._known.clear()

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        known = self._known.get(self._place)
        if known is not None and is_held(picture, known.pixels, self._settings):
            self.reused += 1
            result = known.result
        else:
            result = self._upscaler(picture)
            self.run += 1
            self._keep(picture, result)
        self._place += 1
        return result

    def _keep(self, picture: torch.Tensor, result: torch.Tensor) -> None:
        self._known.pop(self._place, None)
        held = sum(each.result.nbytes for each in self._known.values())
        if self._settings.reuse and held + result.nbytes <= MEMORY_LIMIT:
            self._known[self._place] = _Known(picture, result)
