"""The library's face: ``from backplate import load_model, upscale, upscale_to``."""

from __future__ import annotations

from pathlib import Path

import torch

from ...model_loader import loaded
from ...model_loader.find import default_folders, find_model
from ...model_loader.precision import Precision, choose_device
from ..engines.export.files import is_engine_file, open_engine_file
from ..engines.registry import Engine, open_upscaler
from ..image.fit import Fit, Target
from ..tiled import pipeline
from ..tiled.row_blocks import TileSettings
from ..upscaler import Upscaler


def load_model(
    model: str | Path, *, device: str | None = None, precision: str = "auto", engine: str = "pytorch"
) -> Upscaler:
    """A model ready to enlarge pictures.

    ``model``: the path of a model file or of an exported one, or a name as on the command line. ``device``: as PyTorch
    names it; by default CUDA, then MPS, then the CPU. ``precision``: auto, fp32, tf32, fp16 or bf16. ``engine``: one of
    ``backplate engines``, or auto. Exported models run in the engine and precision that they were made for.

    Raises ``ModelError`` for a file that is missing or no such model, ``InputError`` for an exported one that cannot
    run here, and ``ValueError`` for an unknown precision or engine.
    """
    path, where = find_model(str(model), default_folders(None)), choose_device(device)
    if is_engine_file(path):
        return open_engine_file(path, where).upscaler
    return open_upscaler(loaded.load_model(path), where, Precision(precision), Engine(engine))


def upscale(picture: torch.Tensor, upscaler: Upscaler, *, keep_colours: bool = True) -> torch.Tensor:
    """Pictures (B, C, H, W), RGB or grey, 0 to 1, by the model's own factor. ``keep_colours``: flat areas get the
    picture's colours, whatever the model made of them.

    Raises ``InputError`` for something that is not a picture or cannot fit into memory, and ``OutOfMemory``.
    """
    return pipeline.upscale(picture, upscaler, TileSettings(keep_colours=keep_colours))


def upscale_to(
    picture: torch.Tensor,
    upscaler: Upscaler,
    *,
    width: int,
    height: int,
    fit: str = "contain",
    keep_colours: bool = True,
) -> torch.Tensor:
    """Pictures (B, C, H, W), RGB or grey, 0 to 1, to a size in pixels in as few passes as that takes.

    ``fit`` as ``--fit`` of the command: contain keeps the whole picture and its shape, cover fills the size and crops,
    pad adds a border. ``keep_colours`` as for ``upscale``.

    Raises ``InputError`` for a target that cannot be met, and what ``upscale`` raises.
    """
    target, tiles = Target(fit=Fit(fit), width=width, height=height), TileSettings(keep_colours=keep_colours)
    return pipeline.upscale_to(picture, None, upscaler, target, tiles).picture
