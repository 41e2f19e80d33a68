"""How good a model is on held-out pictures, by the metrics that the criterion and the report use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from ..metrics.errors import MetricUnavailable
from ..metrics.lpips import LpipsNet, LpipsNetwork, find_backbone, load_lpips, lpips_distance
from ..metrics.psnr import psnr
from ..metrics.ssim import ssim
from .config import Criterion, ValidationSettings
from .degrade.pipeline import DegradationSettings, Pair, degrade
from .losses import line_map, texture_loss

Scores = Mapping[str, float]
LOWER_IS_BETTER = {Criterion.LPIPS.value, Criterion.TEXTURE.value}
UNITS = {Criterion.PSNR.value: " dB", Criterion.LINE_PSNR.value: " dB"}


def validation_pairs(crops: Sequence[Tensor], degradation: DegradationSettings, scale: int, seed: int) -> list[Pair]:
    """A degraded picture and its reference for each (1, C, h, w) crop, the same at every validation."""
    return [degrade(crop, scale, degradation, seed, 21, index) for index, crop in enumerate(crops)]


def find_lpips(settings: ValidationSettings, note: Callable[[str], None]) -> LpipsNetwork | None:
    """The LPIPS network if its package and weights are available. Raises ``MetricUnavailable`` if they are required."""
    wanted = settings.lpips_weights or settings.criterion is Criterion.LPIPS
    try:
        file = Path(settings.lpips_weights) if settings.lpips_weights else None
        return load_lpips(LpipsNet.ALEX, find_backbone(LpipsNet.ALEX, file))
    except MetricUnavailable as error:
        if wanted:
            raise
        note(f"LPIPS is left out, unless validation.lpips_weights names a file: {error}")
        return None


def line_psnr(output: Tensor, reference: Tensor, width: float) -> float:
    """PSNR in dB over the dark thin lines of one reference: of the mean squared error weighted by ``line_map``.

    NaN if the reference has no lines.
    """
    weight = line_map(reference, width)
    total = float(weight.sum())
    if total < 1.0:
        return math.nan
    error = float((((output - reference) ** 2).mean(1, keepdim=True) * weight).sum()) / total
    return math.inf if error == 0 else -10.0 * math.log10(error)


def run_model(model: nn.Module, degraded: Tensor, device: torch.device) -> Tensor:
    """The model's output for (B, C, H, W), on the CPU, clamped to 0..1."""
    with torch.no_grad():
        return model(degraded.to(device)).float().clamp(0, 1).cpu()


def score(
    model: nn.Module, pairs: Sequence[Pair], device: torch.device, line_width: float, lpips: LpipsNetwork | None = None
) -> tuple[Scores, list[Tensor]]:
    """(mean scores, outputs) of a model in evaluation mode, over pairs that fit its channels."""
    rows: dict[str, list[float]] = {}
    outputs: list[Tensor] = []
    for pair in pairs:
        output = run_model(model, pair.degraded, device)
        row = {
            "psnr": psnr(output, pair.reference)[0],
            "ssim": ssim(output, pair.reference)[0],
            "line_psnr": line_psnr(output, pair.reference, line_width),
            "texture": float(texture_loss(output, pair.reference)),
        }
        if lpips is not None:
            row["lpips"] = lpips_distance(output, pair.reference, lpips)[0]
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
        outputs.append(output)
    known = {name: [value for value in values if not math.isnan(value)] for name, values in rows.items()}
    return {name: fmean(values) if values else math.nan for name, values in known.items()}, outputs


def gain(before: Scores, after: Scores, criterion: str) -> float:
    """How much better ``after`` is by the criterion; negative if it is worse."""
    difference = after[criterion] - before[criterion]
    return -difference if criterion in LOWER_IS_BETTER else difference


def is_better(candidate: Scores, best: Scores, start: Scores, settings: ValidationSettings) -> bool:
    """Whether ``candidate`` beats ``best`` by the criterion without losing too much PSNR."""
    return (
        gain(best, candidate, settings.criterion.value) > 0
        and start["psnr"] - candidate["psnr"] <= settings.most_psnr_lost
    )


def scores_text(before: Scores, after: Scores) -> str:
    """One line for a person: each score before and after, and the difference."""
    parts = [
        f"{name} {before[name]:.3f} -> {after[name]:.3f} ({after[name] - before[name]:+.3f}{UNITS.get(name, '')})"
        for name in after
        if not math.isnan(after[name])
    ]
    return ", ".join(parts)
