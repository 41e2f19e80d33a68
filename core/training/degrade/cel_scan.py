"""What scanning does to an animation cel: blurred ink, bleeding colour, faded paint, grain, dust and hairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ...image.colour import rgb_to_ycbcr, ycbcr_to_rgb
from ...parsed import Strict
from ..synthetic.raster import Canvas, bent_line
from .kernels import filter_each
from .noise import Codec, compress
from .random_draws import Probability, Quality, Range, flips, on_device, one, uniform


@dataclass(frozen=True, kw_only=True)
class CelSettings(Strict):
    """Strengths of a film or tape transfer. Lengths are in pixels of the degraded picture."""

    line_blur: Range = (0.3, 1.1)
    """Standard deviation of the lens and film blur."""
    chroma_bleed: Range = (0.3, 2.5)
    """Standard deviation of the blur of colour along the rows, as tape and early video have it."""
    chroma_shift: Range = (-0.8, 0.8)
    """How far the colour is offset from the ink."""
    grain: Range = (0.5, 6.0)
    """Standard deviation in levels of 255, at mid-grey."""
    grain_size: Range = (0.3, 0.9)
    grey_grain_probability: Probability = 0.5
    dust: Range = (0.0, 150.0)
    """Specks a megapixel."""
    hairs: Range = (0.0, 20.0)
    """Hairs and scratches a megapixel."""
    contrast: Range = (0.75, 1.0)
    lift: Range = (0.0, 0.06)
    """How much black has faded to grey, of 1."""
    tint: Range = (0.93, 1.05)
    """Gain of each colour channel: paint and film stock age unevenly."""
    restore_fading: bool = False
    """Whether the model should undo the fading. If not, the reference fades too: one faded frame does not reveal the
    original colours, and a model trained to guess them shifts the colours of every picture."""
    jpeg_probability: Probability = 0.5
    jpeg_quality: Quality = (60.0, 95.0)


def gaussian_kernels(sigma_x: Tensor, sigma_y: Tensor, shift: Tensor) -> Tensor:
    """(B, K, K) Gaussians with the given spreads, moved ``shift`` pixels to the right; K holds three sigma."""
    widest = float(torch.maximum(sigma_x, sigma_y).max())
    reach = max(math.ceil(3.0 * widest + float(shift.abs().max())), 1)
    axis = torch.arange(-reach, reach + 1, dtype=torch.float32)
    x = (axis[None, None, :] - shift[:, None, None]) / sigma_x[:, None, None].clamp_min(0.05)
    y = axis[None, :, None] / sigma_y[:, None, None].clamp_min(0.05)
    kernels = torch.exp(-0.5 * (x**2 + y**2))
    return kernels / kernels.sum((1, 2), keepdim=True)


def fade(pictures: tuple[Tensor, ...], settings: CelSettings, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Lower contrast, lifted blacks and uneven channel gains, the same for each picture of the tuple."""
    count, channels = pictures[0].shape[:2]
    contrast, lift = uniform(generator, settings.contrast, count), uniform(generator, settings.lift, count)
    gains = uniform(generator, settings.tint, count * channels).reshape(count, channels, 1, 1)
    slope = contrast[:, None, None, None] * gains
    return tuple((each * slope.to(each) + lift[:, None, None, None].to(each)).clamp(0, 1) for each in pictures)


def bleed_chroma(picture: Tensor, settings: CelSettings, generator: torch.Generator) -> Tensor:
    """Smears colour along the rows and shifts it away from the lines; luma is unchanged, and so are grey pictures."""
    spread, shift = (uniform(generator, r, len(picture)) for r in (settings.chroma_bleed, settings.chroma_shift))
    if picture.shape[1] != 3:
        return picture
    planes = rgb_to_ycbcr(picture)
    chroma = filter_each(planes[:, 1:], gaussian_kernels(spread, 0.5 * spread, shift))
    return ycbcr_to_rgb(torch.cat([planes[:, :1], chroma], 1)).clamp(0, 1)


def add_grain(picture: Tensor, settings: CelSettings, generator: torch.Generator) -> Tensor:
    """Blurred Gaussian grain, strongest in the mid-tones, as the density curve of film has it."""
    count, channels = picture.shape[:2]
    sigma, size = uniform(generator, settings.grain, count), uniform(generator, settings.grain_size, count)
    grey = flips(generator, settings.grey_grain_probability, count)[:, None, None, None].to(picture.device)
    dice = on_device(generator, picture.device)
    field = torch.randn(picture.shape, generator=dice, device=picture.device)
    field = torch.where(grey, field[:, :1].expand(-1, channels, -1, -1), field)
    field = filter_each(field, gaussian_kernels(size, size, torch.zeros(count)))
    field = field / field.std((1, 2, 3), keepdim=True).clamp_min(1e-6)
    tones = 0.3 + 0.7 * 4.0 * picture * (1.0 - picture)
    return (picture + field * tones * sigma[:, None, None, None].to(picture) / 255.0).clamp(0, 1)


def _dirt(height: int, width: int, specks: int, hairs: int, rng: np.random.Generator) -> Canvas:
    """(height, width) of 0..255: how much of each pixel dust and hairs hide."""
    layer = np.zeros((height, width), np.uint8)
    for _ in range(specks):
        centre = int(rng.uniform(0, width) * 16), int(rng.uniform(0, height) * 16)
        axes = int(rng.uniform(0.3, 1.8) * 16), int(rng.uniform(0.3, 1.8) * 16)
        angle, strength = rng.uniform(0, 180), (int(rng.uniform(100, 255)),)
        cv2.ellipse(layer, centre, axes, angle, 0, 360, strength, -1, cv2.LINE_AA, 4)
    for _ in range(hairs):
        length = rng.uniform(6.0, 8.0 + 0.3 * max(height, width))
        line = bent_line(rng, height, width, length, rng.uniform(0.0, np.pi), rng.normal(0.0, 0.4))
        cv2.polylines(layer, [line], False, (int(rng.uniform(90, 230)),), 1, cv2.LINE_AA, 4)
    return layer


def add_dirt(picture: Tensor, settings: CelSettings, generator: torch.Generator) -> Tensor:
    """Specks and hairs, dark (on the cel) or bright (on the negative); about half of the pictures each."""
    batch, _, height, width = picture.shape
    megapixels = height * width / 1e6
    layers: list[Tensor] = []
    for _ in range(batch):
        counts = torch.tensor([one(generator, settings.dust), one(generator, settings.hairs)]) * megapixels
        specks, hairs = (int(count) for count in torch.poisson(counts, generator=generator))
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        layers.append(torch.as_tensor(_dirt(height, width, specks, hairs, rng))[None])
    hidden = torch.stack(layers).to(picture) / 255.0
    bright = flips(generator, 0.5, batch)[:, None, None, None].to(picture)
    return picture + hidden * (0.1 + 0.8 * bright - picture)


def scan_cel(
    reference: Tensor, scale: int, settings: CelSettings, generator: torch.Generator, codec: Codec = Codec.AUTO
) -> tuple[Tensor, Tensor]:
    """(degraded, reference) of a batch of clean cels (B, C, H, W) whose sides are multiples of ``scale``.

    In the order of a real transfer: fading, blur, sampling, colour bleed, grain, dirt, compression.
    """
    count = len(reference)
    faded, kept = fade((reference, reference), settings, generator)
    blur = uniform(generator, settings.line_blur, count) * scale
    blurred = filter_each(faded, gaussian_kernels(blur, blur, torch.zeros(count)))
    small = interpolate(blurred, scale_factor=1 / scale, mode="area") if scale > 1 else blurred
    small = add_dirt(add_grain(bleed_chroma(small, settings, generator), settings, generator), settings, generator)
    quality = uniform(generator, settings.jpeg_quality, count)
    chosen = flips(generator, settings.jpeg_probability, count)[:, None, None, None].to(reference.device)
    small = torch.where(chosen, compress(small, quality, codec), small)
    return small, reference if settings.restore_fading else kept
