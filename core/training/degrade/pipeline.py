"""Degrades clean pictures into training inputs: the second-order Real-ESRGAN pipeline and simpler ones.

Wang, Xie, Dong, Shan, "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", 2021.
Defaults are the paper's, as in the options file of its authors (train_realesrgan_x4plus.yml).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate

from ...errors import InputError
from ...parsed import Strict
from .cel_scan import CelSettings, gaussian_kernels, scan_cel
from .kernels import BlurSettings, FinalSincSettings, draw_final_sinc, draw_kernels, filter_each, make_kernels
from .noise import Codec, NoiseSettings, add_noise, compress, gaussian_noise
from .random_draws import (
    Listed,
    Probability,
    Quality,
    Range,
    Resizing,
    Shares,
    choices,
    flip,
    flips,
    one,
    seeded,
    uniform,
)


class Mode(str, Enum):
    """How low-resolution pictures are made from references."""

    SECOND_ORDER = "second-order"
    """Blur, resize, noise and JPEG, twice, with ringing: pictures from the wild."""
    BICUBIC = "bicubic"
    """Antialiased bicubic reduction, with the extras of ``SimpleSettings``."""
    JPEG = "jpeg"
    """Bicubic and JPEG."""
    CEL = "cel"
    """Scanned animation cels."""


@dataclass(frozen=True, kw_only=True)
class StageSettings(Strict):
    """One round of blur, resize, noise and JPEG. The defaults are those of the first round."""

    blur: BlurSettings = field(default_factory=BlurSettings)
    resize: Annotated[tuple[float, float, float], Listed, Shares] = (0.2, 0.7, 0.1)
    """Shares of enlarging, shrinking, keeping."""
    resize_range: Resizing = (0.15, 1.5)
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    jpeg_quality: Quality = (30.0, 95.0)


def second_stage() -> StageSettings:
    """The paper's second round: milder in everything but JPEG."""
    return StageSettings(
        blur=BlurSettings(probability=0.8, sigma=(0.2, 1.5)),
        resize=(0.3, 0.4, 0.3),
        resize_range=(0.3, 1.2),
        noise=NoiseSettings(gaussian_sigma=(1.0, 25.0), poisson_scale=(0.05, 2.5)),
    )


@dataclass(frozen=True, kw_only=True)
class SimpleSettings(Strict):
    """Extras of the modes ``bicubic`` (none by default) and ``jpeg`` (which always compresses)."""

    area_probability: Probability = 0.0
    """Reduce by plain averages instead: harder pixels, as renderers and pixel binning give them."""
    blur_probability: Probability = 0.0
    blur_sigma: Range = (0.2, 0.8)
    """Pixels of the degraded picture."""
    noise_probability: Probability = 0.0
    noise_sigma: Range = (0.0, 4.0)
    """Levels of 255."""
    jpeg_probability: Probability = 0.0
    jpeg_quality: Quality = (30.0, 95.0)


@dataclass(frozen=True, kw_only=True)
class DegradationSettings(Strict):
    """The settings of all modes; only those of ``mode`` are used."""

    mode: Mode = Mode.SECOND_ORDER
    first: StageSettings = field(default_factory=StageSettings)
    second: StageSettings = field(default_factory=second_stage)
    final_sinc: FinalSincSettings = field(default_factory=FinalSincSettings)
    sinc_first_probability: Probability = 0.5
    """Probability that the last JPEG compression follows the last resize and sinc filter instead of preceding them."""
    simple: SimpleSettings = field(default_factory=SimpleSettings)
    cel: CelSettings = field(default_factory=CelSettings)
    group: Annotated[int, Field(gt=0)] = 4
    """Number of pictures that share what must be the same within a tensor: intermediate sizes, kind of noise, order of
    steps."""
    codec: Codec = Codec.AUTO


class Pair(NamedTuple):
    """A model's input and its target, both (B, C, H, W) within 0..1."""

    degraded: Tensor
    reference: Tensor


_INTERPOLATIONS = ("area", "bilinear", "bicubic")


def draw_factor(stage: StageSettings, generator: torch.Generator) -> float:
    """How much a stage resizes: over 1, under 1 or exactly 1 with the stage's shares."""
    choice = int(choices(generator, stage.resize, 1))
    low, high = stage.resize_range
    return (one(generator, (1.0, high)), one(generator, (low, 1.0)), 1.0)[choice]


def _resize(picture: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """With area, bilinear or bicubic weights, at random; not antialiased, like much software."""
    mode = _INTERPOLATIONS[int(torch.randint(len(_INTERPOLATIONS), (1,), generator=generator))]
    align = None if mode == "area" else False
    return interpolate(picture, (height, width), mode=mode, align_corners=align)


def _blur_and_resize(
    picture: Tensor, size: tuple[int, int], stage: StageSettings, generator: torch.Generator
) -> Tensor:
    kernels = make_kernels(draw_kernels(stage.blur, len(picture), generator))
    if flip(generator, stage.blur.probability):
        picture = filter_each(picture, kernels)
    factor = draw_factor(stage, generator)
    height, width = (max(round(side * factor), 1) for side in size)
    return add_noise(_resize(picture, height, width, generator), stage.noise, generator)


def _jpeg(picture: Tensor, stage: StageSettings, codec: Codec, generator: torch.Generator) -> Tensor:
    return compress(picture, uniform(generator, stage.jpeg_quality, len(picture)), codec)


def _second_order(reference: Tensor, scale: int, settings: DegradationSettings, generator: torch.Generator) -> Tensor:
    height, width = reference.shape[-2] // scale, reference.shape[-1] // scale
    picture = _blur_and_resize(reference, (reference.shape[-2], reference.shape[-1]), settings.first, generator)
    picture = _jpeg(picture, settings.first, settings.codec, generator)
    picture = _blur_and_resize(picture, (height, width), settings.second, generator)
    sinc = draw_final_sinc(settings.final_sinc, len(picture), generator)
    if flip(generator, settings.sinc_first_probability):
        picture = filter_each(_resize(picture, height, width, generator), sinc)
        return _jpeg(picture, settings.second, settings.codec, generator)
    picture = _jpeg(picture, settings.second, settings.codec, generator)
    return filter_each(_resize(picture, height, width, generator), sinc)


def _reduce(reference: Tensor, scale: int, area: Tensor) -> Tensor:
    """By antialiased bicubic weights, or by plain averages where ``area`` (B, 1, 1, 1)."""
    if scale == 1:
        return reference
    size = reference.shape[-2] // scale, reference.shape[-1] // scale
    cubic = interpolate(reference, size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    return torch.where(area, interpolate(reference, size, mode="area"), cubic)


def _simple(reference: Tensor, scale: int, settings: DegradationSettings, generator: torch.Generator) -> Tensor:
    extras, count = settings.simple, len(reference)

    def chosen(probability: float) -> Tensor:
        return flips(generator, probability, count)[:, None, None, None].to(reference.device)

    picture = _reduce(reference, scale, chosen(extras.area_probability))
    blur, sigma = chosen(extras.blur_probability), uniform(generator, extras.blur_sigma, count)
    if bool(blur.any()):
        picture = torch.where(blur, filter_each(picture, gaussian_kernels(sigma, sigma, torch.zeros(count))), picture)
    noisy, strength = chosen(extras.noise_probability), uniform(generator, extras.noise_sigma, count)
    if bool(noisy.any()):
        noise = gaussian_noise(picture, strength, torch.zeros(count, dtype=torch.bool), generator)
        picture = torch.where(noisy, (picture + noise).clamp(0, 1), picture)
    coded = chosen(1.0 if settings.mode is Mode.JPEG else extras.jpeg_probability)
    quality = uniform(generator, extras.jpeg_quality, count)
    if bool(coded.any()):
        picture = torch.where(coded, compress(picture, quality, settings.codec), picture)
    return picture


def _degrade_group(reference: Tensor, scale: int, settings: DegradationSettings, generator: torch.Generator) -> Pair:
    if settings.mode is Mode.CEL:
        degraded, reference = scan_cel(reference, scale, settings.cel, generator, settings.codec)
    elif settings.mode is Mode.SECOND_ORDER:
        degraded = _second_order(reference, scale, settings, generator)
    else:
        degraded = _simple(reference, scale, settings, generator)
    return Pair((degraded.clamp(0, 1) * 255.0).round() / 255.0, reference)


def degrade(reference: Tensor, scale: int, settings: DegradationSettings, *seed: int) -> Pair:
    """Degraded pictures (B, C, H/scale, W/scale) of (B, C, H, W) references, on the device of the references.

    Degraded samples are rounded to 8 bits, as files are. The same ``seed`` numbers give the same result on the same
    kind of device. The reference comes back with it because ``cel`` may fade both.

    Raises ``InputError`` if a side is no multiple of ``scale``.
    """
    height, width = reference.shape[-2:]
    if height % scale or width % scale:
        raise InputError(
            f"A reference of {width}x{height} cannot be reduced by {scale}; cut it to "
            f"{width // scale * scale}x{height // scale * scale}."
        )
    generator = seeded(*seed)
    with torch.no_grad():
        groups = [
            _degrade_group(reference[start : start + settings.group], scale, settings, generator)
            for start in range(0, len(reference), settings.group)
        ]
    return Pair(*(torch.cat(parts) for parts in zip(*groups, strict=True)))
