"""The picture before and after, which ``web/js/before_after.js`` shows on the node, with a line that follows the mouse.

Not the front end's own ``io.ImageCompare``: it sends what it shows with the next prompt, so that the node would run
again each time, and draws nothing where nodes are not drawn with Vue.
"""

from __future__ import annotations

import io
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import folder_paths  # pyright: ignore[reportMissingImports]
import torch

from ..core.atomic_write import write_atomic
from ..core.image.fit import Fit, Target
from ..core.tiled.pipeline import FitResult, upscale_to
from ..core.types import Size
from . import comfy_host as host
from .convert import Received

KEY = "backplate_before_after"
LONGEST_SIDE = 1600
JPEG = {"quality": 92, "subsampling": 0}


def of_resolution(received: Received, result: FitResult, target: Target) -> dict[str, Any]:
    """Before: the source brought to the same frame without a model."""
    size = view_size(result.picture)
    # A side that must be a multiple of something is cropped, as for cover.
    fit = target.fit if target.fit in (Fit.PAD, Fit.STRETCH) else Fit.COVER
    frame = replace(target, fit=fit, width=size.width, height=size.height, multiple_of=1)
    alpha = None if received.alpha is None else received.alpha[:1]
    plain = upscale_to(received.picture[:1], alpha, None, frame)
    return views(plain.picture, result.picture, plain.alpha, result.alpha)


def of_same_frame(
    before: torch.Tensor,
    after: torch.Tensor,
    alpha_before: torch.Tensor | None = None,
    alpha_after: torch.Tensor | None = None,
) -> dict[str, Any]:
    """Pictures (B, C, H, W) of the same content in any two sizes, and their alphas (B, 1, H, W)."""
    size = view_size(after)
    alpha = None if alpha_before is None else alpha_before[:1]
    plain = upscale_to(before[:1], alpha, None, Target(fit=Fit.STRETCH, width=size.width, height=size.height))
    return views(plain.picture, after, plain.alpha, alpha_after)


def view_size(picture: torch.Tensor) -> Size:
    height, width = picture.shape[-2:]
    reduction = max(1.0, max(height, width) / LONGEST_SIDE)
    return Size(max(1, round(width / reduction)), max(1, round(height / reduction)))


def views(
    before: torch.Tensor, after: torch.Tensor, alpha_before: torch.Tensor | None, alpha_after: torch.Tensor | None
) -> dict[str, Any]:
    """For ``ui`` of a node's output. The files are temporary, as those of Preview Image are."""
    return {KEY: [_written(before, alpha_before), _written(after, alpha_after)]}


def _written(picture: torch.Tensor, alpha: torch.Tensor | None) -> dict[str, str]:
    folder, name = Path(folder_paths.get_temp_directory()), f"backplate_{uuid.uuid4().hex}.jpg"
    folder.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    host.thumbnail(picture, alpha, LONGEST_SIDE).save(stream, "JPEG", **JPEG)
    write_atomic(folder / name, stream.getvalue())
    return {"filename": name, "subfolder": "", "type": "temp"}
