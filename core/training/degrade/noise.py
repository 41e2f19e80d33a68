"""Noise and compression of the Real-ESRGAN degradation, on batches, with one strength per picture."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from enum import Enum
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ...image.colour import luma, to_rgb
from ...parsed import Strict
from .random_draws import Probability, Range, flip, flips, on_device, uniform


class Codec(str, Enum):
    """The JPEG encoder."""

    AUTO = "auto"
    """kornia on an accelerator if it is installed, else libjpeg."""
    LIBJPEG = "libjpeg"
    KORNIA = "kornia"


@dataclass(frozen=True, kw_only=True)
class NoiseSettings(Strict):
    """Gaussian or Poisson noise, colour or grey. The defaults are those of the paper's first stage."""

    gaussian_probability: Probability = 0.5
    """Otherwise Poisson."""
    gaussian_sigma: Range = (1.0, 30.0)
    """In levels of 255."""
    poisson_scale: Range = (0.05, 3.0)
    """Factor on Poisson noise; 1 is the noise of one photon per level."""
    grey_probability: Probability = 0.4


def _column(values: Tensor, picture: Tensor) -> Tensor:
    return values.to(picture.device)[:, None, None, None]


def gaussian_noise(picture: Tensor, sigma: Tensor, grey: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of standard deviation ``sigma`` (B,) in levels of 255; equal in all channels where ``grey`` (B,)."""
    dice = on_device(generator, picture.device)
    field = torch.randn(picture.shape, generator=dice, device=picture.device)
    return torch.where(_column(grey, picture), field[:, :1], field) * _column(sigma, picture) / 255.0


def _photons(picture: Tensor, dice: torch.Generator) -> Tensor:
    """Poisson noise of the 8-bit picture, as many photons a unit as it has distinct levels (rounded to 2^n)."""
    values = (picture.clamp(0, 1) * 255.0).round()
    rounded = values / 255.0
    levels = torch.tensor([int((torch.bincount(each.long().flatten()) > 0).sum()) for each in values]).float()
    photons = _column(2.0 ** levels.log2().ceil(), picture)
    return torch.poisson(rounded * photons, generator=dice) / photons - rounded


def poisson_noise(picture: Tensor, scale: Tensor, grey: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson noise times ``scale`` (B,); that of the luma in all channels where ``grey`` (B,)."""
    dice = on_device(generator, picture.device)
    field = _photons(picture, dice)
    if bool(grey.any()):
        field = torch.where(_column(grey, picture), _photons(luma(picture), dice), field)
    return field * _column(scale, picture)


def add_noise(picture: Tensor, settings: NoiseSettings, generator: torch.Generator) -> Tensor:
    """(B, C, H, W) with noise: one kind for the batch, a separate strength for each picture; clamped."""
    count = len(picture)
    grey = flips(generator, settings.grey_probability, count)
    if flip(generator, settings.gaussian_probability):
        noise = gaussian_noise(picture, uniform(generator, settings.gaussian_sigma, count), grey, generator)
    else:
        noise = poisson_noise(picture, uniform(generator, settings.poisson_scale, count), grey, generator)
    return (picture + noise).clamp(0.0, 1.0)


def _libjpeg(picture: Tensor, quality: int) -> Tensor:
    """One picture (C, H, W) through libjpeg (4:2:0), on the CPU."""
    samples = (picture.clamp(0, 1) * 255.0).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    # OpenCV's order is BGR; reversing before and after keeps red in its place in the chroma conversion.
    ok, stream = cv2.imencode(".jpg", samples[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise RuntimeError(f"OpenCV could not encode a {samples.shape} picture as JPEG of quality {quality}.")
    flag = cv2.IMREAD_COLOR if samples.shape[2] == 3 else cv2.IMREAD_GRAYSCALE
    decoded = np.atleast_3d(np.asarray(cv2.imdecode(stream, flag), np.uint8))[..., ::-1]
    return torch.as_tensor(np.ascontiguousarray(decoded)).permute(2, 0, 1).to(picture) / 255.0


def _kornia(picture: Tensor, quality: Tensor) -> Tensor:
    codec: Any = importlib.import_module("kornia.enhance")
    colour = to_rgb(picture.clamp(0, 1))
    result: Tensor = codec.jpeg_codec_differentiable(colour, quality.to(picture))
    return result.clamp(0, 1)[:, : picture.shape[1]]


def compress(picture: Tensor, quality: Tensor, codec: Codec = Codec.AUTO) -> Tensor:
    """(B, C, H, W) through JPEG at ``quality`` (B,), 1 to 100, clamped to 0..1.

    libjpeg rounds to 8 bits and runs on the CPU; kornia's codec (Reich et al. 2024) works on any device and
    stays within about 2 levels of it.
    """
    if codec is Codec.AUTO:
        on_accelerator = picture.device.type != "cpu" and importlib.util.find_spec("kornia") is not None
        codec = Codec.KORNIA if on_accelerator else Codec.LIBJPEG
    if codec is Codec.KORNIA:
        return _kornia(picture, quality)
    return torch.stack([_libjpeg(each, round(float(q))) for each, q in zip(picture, quality, strict=True)])
