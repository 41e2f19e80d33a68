"""The models of the drill: real weights where a folder has them, seeded ones of the same shape otherwise."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pack import ROOT, ours
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .rows import REAL_WEIGHTS, Settings

CALIBRATION_SIDE = 48
COUNT_SIDE = 32


def real_weights(name: str, settings: Settings) -> Path | None:
    shared = Path(os.environ.get("BACKPLATE_SHARED", ROOT.parent / "shared"))
    paths = (folder / "weights" / f"{REAL_WEIGHTS[name]}.safetensors" for folder in (settings.bundle, ROOT, shared))
    return None if settings.dry else next((path for path in paths if path.is_file()), None)


def model_path(name: str, settings: Settings) -> tuple[Path, str]:
    """The file, and a note about it. Raises ``KeyError`` for real weights that are missing."""
    if name == "lite-x2":
        return ROOT / "model_loader" / "bundled" / "backplate-lite-x2.safetensors", "bundled"
    if name in REAL_WEIGHTS and (path := real_weights(name, settings)):
        return path, "real"
    path = settings.scratch / "seeded" / f"{name}.safetensors"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in _seeded(name, settings.dry).items()}, path)
    return path, "seeded"


def load(name: str, settings: Settings) -> tuple[Any, str]:
    """A ``LoadedModel``, and whether its weights are real."""
    path, kind = model_path(name, settings)
    return ours("model_loader.loaded").load_model(path), kind


def _seeded(name: str, dry: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(20)
    network = _builders(dry)[name]().eval()
    _into_range(network)
    return network.state_dict()


def _builders(dry: bool) -> dict[str, Callable[[], nn.Module]]:
    compact = importlib.import_module("spandrel.architectures.Compact.__arch.SRVGG").SRVGGNetCompact
    rrdb = importlib.import_module("spandrel.architectures.ESRGAN.__arch.RRDB").RRDBNet
    width, general, anime, blocks = (8, 2, 2, 1) if dry else (64, 32, 16, 23)
    return {
        "general": lambda: compact(num_feat=width, num_conv=general, upscale=4),
        "animevideov3": lambda: compact(num_feat=width, num_conv=anime, upscale=4),
        "rrdbnet": lambda: rrdb(in_nc=3, out_nc=3, num_filters=width, num_blocks=blocks, scale=4),
    }


def _into_range(network: nn.Module) -> None:
    """Drawn weights would give a picture of one colour, which counts as broken in half precision: the last layer is
    scaled so that grain comes out around grey."""
    last = [module for module in network.modules() if isinstance(module, nn.Conv2d)][-1]
    picture = torch.rand(1, 3, CALIBRATION_SIDE, CALIBRATION_SIDE, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        assert last.bias is not None, "both architectures have one"
        result = network(picture)
        # Compact adds the enlarged picture, which is grey enough, after it.
        adds_picture = type(network).__name__ == "SRVGGNetCompact"
        if adds_picture:
            result = result - nn.functional.interpolate(picture, scale_factor=4, mode="nearest")
        gain = 0.15 / result.std().clamp(min=1e-8)
        last.weight *= gain
        last.bias.sub_(result.mean()).mul_(gain)
        if not adds_picture:
            last.bias += 0.5


def picture(width: int, height: int, seed: int = 1) -> torch.Tensor:
    """(1, 3, H, W): soft shapes, edges and a little grain, as pictures have, not noise alone."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, max(2, height // 32), max(2, width // 32), generator=generator)
    soft = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    edges = (nn.functional.interpolate(coarse, size=(height, width), mode="nearest") > 0.5).float()
    return (0.6 * soft + 0.25 * edges + 0.1 * torch.rand(1, 3, height, width, generator=generator)).clamp(0, 1)


@cache
def operations_of_pixel(path: Path) -> float:
    """Floating-point operations, two for a multiply-add, for one input pixel."""
    descriptor = ours("model_loader.loaded").load_model(path).descriptor
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        descriptor.model(torch.rand(1, descriptor.input_channels, COUNT_SIDE, COUNT_SIDE))
    return counter.get_total_flops() / COUNT_SIDE**2


def open_ours(model: Any, device: torch.device, **plan: Any) -> Any:
    """The upscaler that a user gets in PyTorch without a trial; with ``plan``, that of another ``RunPlan``."""
    engines = ours("core.engines.registry")
    if not plan:
        return engines.open_upscaler(model, device, engine=engines.Engine.PYTORCH, tune=False)
    eager, run_plan = ours("core.engines.pytorch.eager"), ours("core.engines.plan").RunPlan
    return eager.EagerUpscaler(model, device, plan=run_plan(**plan))


def precision_of(upscaler: Any) -> str:
    return str(getattr(upscaler, "dtype", "")).removeprefix("torch.")
