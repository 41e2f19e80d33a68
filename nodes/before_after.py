"""The picture before and after, which ``web/js/before_after.js`` shows on the node, with a divider that follows the
mouse.

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
from . import comfy_host as host
from .convert import Received

KEY = "backplate_before_after"
LONGEST_SIDE = 1600
JPEG = {"quality": 92, "subsampling": 0}


def of_resolution(received: Received, result: FitResult, target: Target) -> dict[str, Any]:
    """Before: the source fitted to the same frame without a model."""
    size = host.size_of_view(result.picture, LONGEST_SIDE)
    # A side that must be a multiple of something is cropped, as for cover.
    fit = target.fit if target.fit in (Fit.PAD, Fit.STRETCH) else Fit.COVER
    frame = replace(target, fit=fit, width=size.width, height=size.height, multiple_of=1)
    return _views(received.picture, received.alpha, frame, result.picture, result.alpha)


def of_same_frame(
    before: torch.Tensor,
    after: torch.Tensor,
    alpha_before: torch.Tensor | None = None,
    alpha_after: torch.Tensor | None = None,
) -> dict[str, Any]:
    """Pictures (B, C, H, W) of the same content in any two sizes, and their alphas (B, 1, H, W)."""
    size = host.size_of_view(after, LONGEST_SIDE)
    frame = Target(fit=Fit.STRETCH, width=size.width, height=size.height)
    return _views(before, alpha_before, frame, after, alpha_after)


def _views(
    before: torch.Tensor,
    alpha_before: torch.Tensor | None,
    frame: Target,
    after: torch.Tensor,
    alpha_after: torch.Tensor | None,
) -> dict[str, Any]:
    """For ``ui`` of a node's output; ``before`` is brought to the ``frame``. The files are temporary, as those of
    Preview Image are."""
    alpha = None if alpha_before is None else alpha_before[:1]
    plain = upscale_to(before[:1], alpha, None, frame)
    return {KEY: [_written(plain.picture, plain.alpha), _written(after, alpha_after)]}


def _written(picture: torch.Tensor, alpha: torch.Tensor | None) -> dict[str, str]:
    folder, name = Path(folder_paths.get_temp_directory()), f"backplate_{uuid.uuid4().hex}.jpg"
    folder.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    host.thumbnail(picture, alpha, LONGEST_SIDE).save(stream, "JPEG", **JPEG)
    write_atomic(folder / name, stream.getvalue())
    return {"filename": name, "subfolder": "", "type": "temp"}
