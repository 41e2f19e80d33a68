"""An export with pictures to prove it on, drawn by this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...model_loader.loaded import LoadedModel
from ..backends.export import Exported, export_model
from ..backends.onnx_export import OnnxSettings
from ..progress import Progress
from ..training.synthetic import PAINTERS, draw_picture
from ..types import Size


def export_proved(
    model: LoadedModel,
    output: Path,
    settings: OnnxSettings,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
    made_by: str = "Backplate",
) -> Exported:
    """``export_model`` on pictures of every kind that ``core.training`` draws. Raises what that raises."""
    return export_model(model, output, settings, drawn_pictures, progress, overwrite=overwrite, made_by=made_by)


def drawn_pictures(size: Size, channels: int) -> list[torch.Tensor]:
    """One picture (1, channels, H, W), 0 to 1, of each kind; the same ones every time."""
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
