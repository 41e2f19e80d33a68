"""Pictures of one tile in one engine, larger ones row by row in another."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace

import torch

from ...upscaler import StreamingUpscaler, Upscaler, UpscalerSpec


class TilesAndRows:
    """A ``StreamingUpscaler`` over two upscalers of one model.

    An engine with faster convolutions may still lose to one that streams rows, because its tiles compute their context
    again and again; a picture that is one tile has no context.
    """

    def __init__(self, tiles: Upscaler, rows: StreamingUpscaler) -> None:
        self._tiles, self._rows = tiles, rows
        self._spec = replace(tiles.spec, rows_from=0)

    @property
    def spec(self) -> UpscalerSpec:
        return self._spec

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        return self._tiles(picture)

    def stream_height(self, width: int) -> int:
        """See ``StreamingUpscaler``."""
        return self._rows.stream_height(width)

    def stream(self, chunks: Iterator[torch.Tensor], count: int) -> Generator[torch.Tensor]:
        """See ``StreamingUpscaler``."""
        return self._rows.stream(chunks, count)
