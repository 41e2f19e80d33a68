"""The public API of the library: ``from backplate import load_model, upscale, upscale_to``."""

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
    model: str | Path, *, device: str | None = None, precision: str = "auto", engine: str = "auto"
) -> Upscaler:
    """A model ready to enlarge pictures.

    ``model``: the path of a model file or an exported model, or a name as on the command line. ``device``: PyTorch's
    name; by default CUDA, then MPS, then the CPU. ``precision``: auto, fp32, tf32, fp16 or bf16. ``engine``: one of
    ``backplate engines``, or auto. Exported models run in the engine and precision that they were made for.

    Raises ``ModelError`` for a missing file or one that is not a model, ``InputError`` for an exported model that
    cannot run here, and ``ValueError`` for an unknown precision or engine.
    """
    path, where = find_model(str(model), default_folders(None)), choose_device(device)
    if is_engine_file(path):
        return open_engine_file(path, where).upscaler
    return open_upscaler(loaded.load_model(path), where, Precision(precision), Engine(engine))


def upscale(picture: torch.Tensor, upscaler: Upscaler, *, keep_colours: bool = True) -> torch.Tensor:
    """Enlarges pictures (B, C, H, W), RGB or grey, 0 to 1, by the model's own factor. ``keep_colours``: flat areas get
    the colours of the picture, whatever the model made of them.

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
    """Enlarges pictures (B, C, H, W), RGB or grey, 0 to 1, to a size in pixels, in as few passes as possible.

    ``fit`` is that of the command's ``--fit``: contain keeps the whole picture and its proportions, cover fills the
    size and crops, pad adds a border. ``keep_colours`` as in ``upscale``.

    Raises ``InputError`` for an impossible target, and what ``upscale`` raises.
    """
    target, tiles = Target(fit=Fit(fit), width=width, height=height), TileSettings(keep_colours=keep_colours)
    return pipeline.upscale_to(picture, None, upscaler, target, tiles).picture
