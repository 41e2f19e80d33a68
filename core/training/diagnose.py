"""Measures where a model does worst and which failure dominates, before any training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ..errors import InputError
from ..image.colour import luma, rgb_to_ycbcr, to_rgb
from ..image.filters import gaussian, local_maximum, local_minimum
from ..media.picture.read import read_picture, write_picture
from ..metrics.psnr import psnr
from ..progress import Progress
from ..tiled.pipeline import upscale
from ..upscaler import Upscaler
from .checkpoint import write_text
from .dataset import check_apart, find_pictures
from .degrade.pipeline import DegradationSettings, Mode, Pair, degrade
from .losses import flat_map, gradient_strength, line_map

EDGE = 12.0 / 255.0
"""Gradient of the smoothed luma, per pixel, from which something is an edge."""
PAINT = 0.7 / 255.0
"""Standard deviation in 7x7 pixels below which there is only flat paint."""
WINDOW = 96
"""Side of the written crops in pixels of the reference."""


class Failure(str, Enum):
    """What a model can do wrong. Each is measured in its own areas, so that none hides another."""

    BLUR = "blur"
    RINGING = "ringing"
    SMOOTHING = "over-smoothing"
    COLOUR = "colour shift"
    NOISE = "noise kept"


class _Yardstick(NamedTuple):
    """``visible``: the amount that a careful observer starts to see; severities are multiples of it."""

    visible: float
    unit: str
    meaning: str


YARDSTICKS: Mapping[Failure, _Yardstick] = {
    Failure.BLUR: _Yardstick(15.0, "%", "of the slope of edges is lost"),
    Failure.RINGING: _Yardstick(1.5, "levels", "of overshoot beside edges"),
    Failure.SMOOTHING: _Yardstick(25.0, "%", "of the contrast of textures is lost"),
    Failure.COLOUR: _Yardstick(1.5, "levels", "of colour are off over larger areas"),
    Failure.NOISE: _Yardstick(1.5, "levels", "of noise remain in flat areas"),
}


@dataclass(frozen=True, kw_only=True)
class DiagnoseSettings:
    """How pictures are degraded and how many are shown."""

    degradation: DegradationSettings
    side: int = 512
    """The middle of each picture is used, up to this many pixels a side."""
    most: int = 200
    worst: int = 8
    """Pictures whose crops are written."""
    seed: int = 0


@dataclass(frozen=True)
class PictureReport:
    """One picture: its failures in their units, and what kind of picture it is."""

    name: str
    psnr: float
    failures: Mapping[str, float]
    lines: float
    """Share of dark thin lines."""
    smooth: float
    """Share of smooth area."""
    paint: float
    """Share of area without any texture, not even photographic noise."""
    skin: float

    def severity(self, failure: Failure) -> float:
        return self.failures[failure.value] / YARDSTICKS[failure].visible

    @property
    def dominant(self) -> Failure:
        return max(Failure, key=self.severity)

    @property
    def worst(self) -> float:
        return self.severity(self.dominant)


@dataclass(frozen=True)
class Diagnosis:
    """All pictures, worst first, and the conclusion."""

    pictures: tuple[PictureReport, ...]
    dominant: Failure
    recipe: str
    reason: str

    def text(self) -> str:
        """The ranking as a table, the dominant failure and the recipe, as readable text."""
        names = [failure.value for failure in Failure]
        header = f"{'PSNR':>7} " + " ".join(f"{name:>15}" for name in names) + "  picture"
        rows = [
            f"{report.psnr:7.2f} "
            + " ".join(f"{_amount(failure, report.failures[failure.value]):>15}" for failure in Failure)
            + f"  {report.name} ({report.dominant.value}, {report.worst:.1f} times what is visible)"
            for report in self.pictures
        ]
        return "\n".join([header, *rows, "", self.reason])


def _amount(failure: Failure, value: float) -> str:
    return f"{value:.1f} {YARDSTICKS[failure].unit}"


def _share_lost(ours: Tensor, theirs: Tensor, weight: Tensor) -> float:
    """Percentage of ``theirs`` that is missing in ``ours``; 0 if there is more of it, or nothing to lose."""
    kept, had = float((ours * weight).sum()), float((theirs * weight).sum())
    return max(100.0 * (1.0 - kept / had), 0.0) if had > 1e-3 else 0.0


def _ripples(plane: Tensor) -> Tensor:
    return plane - gaussian(plane, 2.0)


def _excess(ours: Tensor, theirs: Tensor, weight: Tensor) -> float:
    """Levels of 255 by which the weighted deviation of ``ours`` exceeds that of ``theirs``."""
    total = float(weight.sum())
    if total < 16.0:
        return 0.0
    mine, other = (math.sqrt(float((each**2 * weight).sum()) / total) for each in (ours, theirs))
    return max(255.0 * (mine - other), 0.0)


def _outside(ours: Tensor, theirs: Tensor, weight: Tensor) -> float:
    """Levels of 255 (root mean square) by which ``ours`` leaves the range of ``theirs`` within 3 pixels."""
    over = (ours - local_maximum(theirs, 3)).clamp_min(0.0) + (local_minimum(theirs, 3) - ours).clamp_min(0.0)
    return 255.0 * math.sqrt(float((over**2 * weight).sum()) / max(float(weight.sum()), 16.0))


def _deviation(plane: Tensor) -> Tensor:
    """Standard deviation in windows of 7x7."""
    mean = avg_pool2d(plane, 7, stride=1, padding=3, count_include_pad=False)
    square = avg_pool2d(plane**2, 7, stride=1, padding=3, count_include_pad=False)
    return (square - mean**2).clamp_min(0.0).sqrt()


def measure_failures(output: Tensor, reference: Tensor) -> dict[str, float]:
    """Each failure of one picture (1, C, H, W) in its unit, 0 at best.

    Blur is measured on the edges of the reference; ringing beside them, as values outside the reference's local range;
    smoothing where the reference has texture but no edge; noise where it is flat and no edge is near; colour after a
    blur of 8 pixels.
    """
    ours, theirs = luma(output), luma(reference)
    smooth_slope = gradient_strength(gaussian(theirs, 1.0))
    edges = (smooth_slope > EDGE).float()
    near = local_maximum(edges, 6)
    contrast = _deviation(theirs)
    texture = (1.0 - local_maximum(edges, 3)) * ((contrast > 1.5 / 255) & (contrast < 25.0 / 255)).float()
    flat = (1.0 - near) * flat_map(reference) * (contrast < 1.5 / 255).float()
    shift = (gaussian(output, 8.0) - gaussian(reference, 8.0)).abs()
    return {
        Failure.BLUR.value: _share_lost(gradient_strength(ours), gradient_strength(theirs), edges),
        Failure.RINGING.value: max(_outside(ours, theirs, near) - _outside(ours, theirs, flat), 0.0),
        Failure.SMOOTHING.value: _share_lost(_deviation(ours), contrast, texture),
        Failure.COLOUR.value: 255.0 * float(shift.mean()),
        Failure.NOISE.value: _excess(_ripples(ours), _ripples(theirs), flat),
    }


def skin_share(picture: Tensor) -> float:
    """Share of (1, 3, H, W) that has skin chroma (D. Chai and K. N. Ngan, 1999); 0 for grey pictures."""
    if picture.shape[1] != 3:
        return 0.0
    # In studio range, as the thresholds were published.
    chroma = 128.0 + 224.0 * rgb_to_ycbcr(picture)[:, 1:]
    cb, cr = chroma[:, 0], chroma[:, 1]
    return float(((cb > 77) & (cb < 127) & (cr > 133) & (cr < 173)).float().mean())


def describe(name: str, output: Tensor, reference: Tensor) -> PictureReport:
    """The report on one picture (1, C, H, W)."""
    return PictureReport(
        name=name,
        psnr=psnr(output, reference)[0],
        failures=measure_failures(output, reference),
        lines=float(line_map(reference).mean()),
        smooth=float(flat_map(reference).mean()),
        paint=float((_deviation(luma(reference)) < PAINT).float().mean()),
        skin=skin_share(reference),
    )


def conclude(reports: Sequence[PictureReport]) -> Diagnosis:
    """Ranks the pictures and finds the dominant failure and the recipe against it."""
    ranked = tuple(sorted(reports, key=lambda report: report.worst, reverse=True))
    means = {failure: sum(report.severity(failure) for report in ranked) / len(ranked) for failure in Failure}
    dominant = max(Failure, key=lambda failure: means[failure])
    recipe, why = _recipe(dominant, ranked)
    amount = sum(report.failures[dominant.value] for report in ranked) / len(ranked)
    severity = f"{means[dominant]:.1f} times what is visible"
    if means[dominant] < 1.0:
        severity += ": little to gain from training"
    measured = f"{_amount(dominant, amount)} {YARDSTICKS[dominant].meaning}"
    reason = f"{dominant.value} dominates: on average {measured} ({severity}). Recipe: {recipe}, {why}."
    return Diagnosis(ranked, dominant, recipe, reason)


def _recipe(dominant: Failure, reports: Sequence[PictureReport]) -> tuple[str, str]:
    lines, smooth, paint, skin = (
        sum(getattr(report, name) for report in reports) / len(reports) for name in ("lines", "smooth", "paint", "skin")
    )
    if lines > 0.03 and smooth > 0.5 and paint > 0.13:
        return "anime", f"because the pictures look drawn ({lines:.0%} dark thin lines, {paint:.0%} flat paint)"
    if dominant is Failure.SMOOTHING and skin > 0.15:
        return "portrait", f"because what is smoothed is largely skin ({skin:.0%} of the pictures)"
    aims = {
        Failure.BLUR: "which trains on blurred, resized and compressed photographs",
        Failure.RINGING: "whose losses punish ripples where the reference is smooth",
        Failure.SMOOTHING: "with losses.texture=0.05 added, which keeps local contrast",
        Failure.COLOUR: "whose pixel loss pulls colours back; if it stays, the model was made for other colours",
        Failure.NOISE: "which trains on noisy photographs",
    }
    return "photo", aims[dominant]


def _prepare(path: Path, scale: int, settings: DiagnoseSettings, index: int) -> Pair:
    picture = read_picture(path).picture
    height, width = (min(length, settings.side) // scale * scale for length in picture.shape[-2:])
    if min(height, width) < 32:
        raise InputError(f"{path.name} is {picture.shape[-1]}x{picture.shape[-2]}; at least 32 pixels are needed.")
    top, left = (picture.shape[-2] - height) // 2, (picture.shape[-1] - width) // 2
    crop = picture[..., top : top + height, left : left + width]
    return degrade(crop, scale, settings.degradation, settings.seed, index)


def worst_window(output: Tensor, reference: Tensor) -> tuple[int, int, int]:
    """(top, left, side) of the square with the largest squared error; at most ``WINDOW`` pixels a side."""
    side = min(WINDOW, *reference.shape[-2:])
    error = ((output - reference) ** 2).mean(1, keepdim=True)
    pooled = avg_pool2d(error, side, stride=4)[0, 0]
    row, column = divmod(int(pooled.argmax()), pooled.shape[1])
    return 4 * row, 4 * column, side


def _write_crop(path: Path, pair: Pair, output: Tensor) -> None:
    """Input, output and reference around the worst place, side by side, three times as large."""
    top, left, side = worst_window(output, pair.reference)
    given = interpolate(pair.degraded, pair.reference.shape[-2:], mode="nearest")
    beside = [to_rgb(each)[..., top : top + side, left : left + side] for each in (given, output, pair.reference)]
    row = torch.cat(beside, -1)
    write_picture(path, interpolate(row, scale_factor=3, mode="nearest").clamp(0, 1))


def diagnose(
    upscaler: Upscaler,
    folder: Path,
    out: Path | None,
    settings: DiagnoseSettings | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Degrades the clean pictures in ``folder``, lets the model restore them, and measures the results.

    With ``out``, crops of the worst pictures and ``diagnosis.json`` are written there. Raises ``InputError`` if no
    picture is usable; single unusable pictures are noted and left out.
    """
    settings = settings or DiagnoseSettings(degradation=DegradationSettings(mode=Mode.BICUBIC))
    progress = progress or Progress()
    if out is not None:
        check_apart(out, folder)
    paths = find_pictures(folder)[: settings.most]
    names = [path.relative_to(folder).as_posix() for path in paths]
    progress.begin(len(paths), "Diagnosing")

    def restored(pair: Pair) -> Tensor:
        return upscale(pair.degraded, upscaler).clamp(0, 1)

    reports: list[PictureReport] = []
    for index, name in enumerate(names):
        progress.check()
        try:
            pair = _prepare(paths[index], upscaler.spec.scale, settings, index)
        except InputError as error:
            progress.note(f"{paths[index].name} is left out: {error}")
        else:
            reports.append(describe(name, restored(pair), pair.reference))
        progress.advance()
    if not reports:
        raise InputError(f"None of the {len(paths)} pictures in {folder} can be used; see the notes for the reasons.")
    result = conclude(reports)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "diagnosis.json", json.dumps(asdict(result), indent=2))
        for rank, report in enumerate(result.pictures[: settings.worst], 1):
            progress.check()
            index = names.index(report.name)
            # The same index gives the same degradation again.
            pair = _prepare(paths[index], upscaler.spec.scale, settings, index)
            crop = out / f"{rank:02d}-{Path(report.name).stem}-{report.dominant.value}.png"
            _write_crop(crop, pair, restored(pair))
    return result
