"""Surface textures: fields of about -1 to 1 around zero, to be added to a colour."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .raster import Floats, bent_line, blur_field, clip, log_uniform

Texture = Callable[[int, int, np.random.Generator], Floats]


def power_noise(height: int, width: int, rng: np.random.Generator) -> Floats:
    """Noise whose amplitude falls as frequency to the minus 0.7 .. 1.8: clouds, stone, bark, skin.

    The spectrum of photographs falls with an exponent near 1 (D. J. Field, 1987); stretching one axis gives grain.
    """
    exponent, stretch = rng.uniform(0.7, 1.8), np.exp(rng.normal(0.0, 0.7))
    vertical = np.fft.fftfreq(height)[:, None] * stretch
    horizontal = np.fft.rfftfreq(width)[None, :]
    frequency = np.sqrt(vertical**2 + horizontal**2)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / frequency**exponent
    field = np.fft.irfft2(spectrum, s=(height, width)).astype(np.float32)
    return np.tanh(field / max(2.0 * float(field.std()), 1e-9)).astype(np.float32)


def _warped_phase(height: int, width: int, rng: np.random.Generator, period: float) -> Floats:
    """A plane wave's phase in radians, bent by a slow random field."""
    angle = rng.uniform(0.0, np.pi)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    coarse = rng.normal(0.0, rng.choice([0.0, 0.6, 2.0]), (4, 4)).astype(np.float32)
    bend = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    phase = np.float32(2.0 * np.pi / period) * (xs * np.float32(np.cos(angle)) + ys * np.float32(np.sin(angle)))
    return phase + bend


def waves(height: int, width: int, rng: np.random.Generator) -> Floats:
    """Smooth bent waves, or hard stripes when cut off: cloth, blinds, water, feathers."""
    period = log_uniform(rng, 5.0, 60.0)
    hardness = float(rng.choice([1.0, 4.0, 12.0]))
    return clip(hardness * np.sin(_warped_phase(height, width, rng, period)), -1.0, 1.0)


def weave(height: int, width: int, rng: np.random.Generator) -> Floats:
    """Two crossing waves: fabric, nets, tiles, windows."""
    first, second = waves(height, width, rng), waves(height, width, rng)
    return first * second if rng.random() < 0.5 else np.minimum(first, second)


def strands(height: int, width: int, rng: np.random.Generator) -> Floats:
    """Many thin curved lines that share a direction: hair, fur, grass, scratches."""
    drawn = np.full((height, width), 128, np.uint8)
    angle, spread = rng.uniform(0.0, np.pi), rng.uniform(0.02, 0.4)
    length = rng.uniform(0.2, 1.0) * max(height, width)
    for _ in range(int(min(400, 6 + height * width / rng.uniform(120.0, 600.0)))):
        line = bent_line(rng, height, width, length, angle + rng.normal(0.0, spread), rng.normal(0.0, 0.25))
        cv2.polylines(drawn, [line], False, (int(rng.integers(256)),), int(rng.integers(1, 4)), cv2.LINE_AA, 4)
    return (drawn.astype(np.float32) - 128.0) / np.float32(128.0)


def grain(height: int, width: int, rng: np.random.Generator) -> Floats:
    """Fine isotropic grain of one size: sand, gravel, foliage from afar."""
    field = blur_field(rng.standard_normal((height, width)).astype(np.float32), rng.uniform(0.8, 4.0))
    return np.tanh(0.6 * field / max(float(field.std()), 1e-9)).astype(np.float32)


_TEXTURES: tuple[Texture, ...] = (power_noise, waves, weave, strands, grain)


def draw_texture(height: int, width: int, rng: np.random.Generator) -> Floats:
    """A random texture, (height, width), within -1..1."""
    choice = int(rng.choice(len(_TEXTURES), p=[0.36, 0.16, 0.12, 0.22, 0.14]))
    return _TEXTURES[choice](height, width, rng)
