"""Exports models and checks them on pictures that this package draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ...model_loader.loaded import LoadedModel
from ..engines.export.export import Exported, ExportKind, export_model
from ..engines.onnx.export import OnnxSettings
from ..engines.tensorrt.export import export_tensorrt
from ..progress import Progress
from ..training.synthetic.pictures import PAINTERS, draw_picture
from ..types import Size


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """``tile``: for ONNX the only side that the file accepts, unless ``dynamic``; for TensorRT the side of the tiles to
    run, without context; 0 for any size, or a suitable one. ``half``: half precision."""

    tile: int = 0
    dynamic: bool = False
    half: bool = False


class Report(Protocol):
    """The result of an export."""

    def text(self) -> str:
        """A few readable lines."""
        ...


def export_as_requested(
    model: LoadedModel,
    output: Path,
    request: ExportRequest,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
    made_by: str = "Backplate",
) -> Report:
    """Writes ``output``, whose suffix selects the format. Raises what ``export_model`` and ``export_tensorrt`` raise:
    ``InputError`` in one sentence, and what ``progress.check`` raises."""
    if output.suffix.lower() == ExportKind.TENSORRT.suffix:
        return export_tensorrt(
            model, output, progress, tile=request.tile, half=request.half, overwrite=overwrite, made_by=made_by
        )
    tile = request.tile or OnnxSettings().tile
    settings = OnnxSettings(dynamic=request.dynamic or not request.tile, tile=tile, half=request.half)
    return export_proved(model, output, settings, progress, overwrite=overwrite, made_by=made_by)


def export_proved(
    model: LoadedModel,
    output: Path,
    settings: OnnxSettings,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
    made_by: str = "Backplate",
) -> Exported:
    """``export_model`` with pictures of every kind that ``core.training`` draws. Raises what it raises."""
    return export_model(model, output, settings, drawn_pictures, progress, overwrite=overwrite, made_by=made_by)


def drawn_pictures(size: Size, channels: int) -> list[torch.Tensor]:
    """One picture (1, channels, H, W), 0 to 1, of each kind; always the same ones."""
    rng = np.random.default_rng(4)
    pictures: list[torch.Tensor] = []
    for kind in PAINTERS:
        canvas = torch.tensor(draw_picture(kind, size.height, size.width, rng))
        picture = canvas.movedim(2, 0).unsqueeze(0).float() / 255
        if channels < 3:
            picture = picture.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
        elif channels > 3:
            picture = torch.cat([picture, picture.new_ones(1, channels - 3, size.height, size.width)], dim=1)
        pictures.append(picture.contiguous())
    return pictures
