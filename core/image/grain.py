"""Film grain and sensor noise: measured in a source and added to a result that has lost it.

Measured on flat patches only: where a plane fits and the residual has neither direction nor coarse structure, the
residual is noise (the idea of Liu, Tanaka and Okutomi, "Single-Image Noise Level Estimation for Blind Denoising", 2013,
who look for patches of weak texture by the covariance of their gradients). Its strength is kept by brightness, its look
as the correlation between neighbouring pixels, as AV1's film grain does (Norkin and Birkbeck, "Film Grain Synthesis for
AV1 Video Codec", 2018). The added grain has that strength and correlation in pixels of the result: grain as fine as if
the shot had been taken at that size. It is brightness alone, the same in every channel.
"""

# OpenCV publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ..types import FloatBox, size_of
from .dither import Still
from .hash_noise import uniform
from .resize import resize

Floats = npt.NDArray[np.float64]

PATCH, STEP = 16, 8
BINS = 8
"""Number of brightness ranges from 0 to 1, each with its own strength."""
LAGS = 4
"""Largest distance in pixels over which grain is correlated."""
LEAST = 0.5 / 255
"""Weaker noise comes from rounding to 8 bits and is not grain."""
FEWEST, FEWEST_IN_BIN = 24, 12
"""Fewest flat patches for a measurement."""
COARSE = 5.0
"""How many times more than white noise the means of 4x4 pixels of grain may vary; texture varies more."""
ROUND = 0.6
"""Least ratio between how much grain changes across and down, and along the two diagonals; edges and stripes are
below."""
SAME = 1.6
"""Patches whose variance is up to so many times that of the quietest fifth count as equally flat."""
ALIKE = 0.6
"""Least ratio between the variances of the quietest twentieth and fifth of a brightness: noise has a floor shared by
many patches, while the quietest patches of a texture all differ."""
MOST = 12 / 255
"""Stronger noise is texture."""
SPREAD = 2.5
"""How many times stronger noise may be at one brightness than at another."""
FADE = 8 / 255
"""Distance from white and from black over which grain fades out."""
MOST_PIXELS = 4_000_000
"""Of larger sources the middle is measured."""
LUMA = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True)
class Grain:
    """``levels``: the standard deviation for brightness 1/16, 3/16 ... 15/16, with values from 0 to 1. ``kernel``:
    (9, 9) weights whose squares sum to 1; white noise filtered with it is correlated like the grain."""

    levels: tuple[float, ...]
    kernel: tuple[tuple[float, ...], ...]

    @property
    def strength(self) -> float:
        """The largest standard deviation, in levels of 255."""
        return 255 * max(self.levels)


@dataclass(frozen=True)
class _Patches:
    """Flat patches of one picture: brightness and variance of each, their residuals from the fitted planes (N, 16, 16),
    and their positions (indices into the grid of patches)."""

    brightness: Floats
    variance: Floats
    residual: Floats
    chosen: npt.NDArray[np.intp]


def measure_grain(source: torch.Tensor) -> Grain | None:
    """The grain of a picture (1, C, H, W), 0 to 1; None if it has too little to be seen, or no flat patches to see it
    on."""
    return _grain_of(_flat_patches(_brightness(_middle(source))))


def missing_grain(source: torch.Tensor, result: torch.Tensor, box: FloatBox | None = None) -> Grain | None:
    """The grain of a source that a result, which shows ``box`` of it, has lost: its variance minus that of the result
    on the same flat patches, when it is reduced to the source's size."""
    if box is not None:
        x, y = round(box.x), round(box.y)
        source = source[..., y : y + max(1, round(box.height)), x : x + max(1, round(box.width))]
    before = _middle(source)
    patches = _flat_patches(_brightness(before))
    grain = _grain_of(patches)
    if grain is None or patches is None:
        return None
    size = size_of(source)
    after = _middle(resize(result, size) if size.width <= result.shape[3] else source)
    kept, _ = _residuals(_brightness(after))
    left = (kept[patches.chosen] ** 2).sum(axis=(1, 2)) / (PATCH**2 - 3)
    share = float(np.clip(1 - np.median(left / patches.variance), 0, 1))
    weaker = replace(grain, levels=tuple(level * share**0.5 for level in grain.levels))
    return weaker if max(weaker.levels) >= LEAST else None


def add_grain(picture: torch.Tensor, grain: Grain, seed: int = 0, still: Still | None = None) -> torch.Tensor:
    """A picture (1, C, H, W), 0 to 1, with grain that depends only on the position and ``seed``. White and black get
    none, nor does what is ``still``: where the source is of one colour."""
    result = torch.empty_like(picture)
    for top in range(0, picture.shape[2], 256):
        bottom = min(top + 256, picture.shape[2])
        result[:, :, top:bottom] = _with_grain(picture[:, :, top:bottom], grain, top, seed, still)
    return result


def _with_grain(rows: torch.Tensor, grain: Grain, top: int, seed: int, still: Still | None) -> torch.Tensor:
    height, width = rows.shape[2:]
    brightness = _weighted(rows).numpy(force=True)[0, 0]
    strength = np.interp(brightness, (np.arange(BINS) + 0.5) / BINS, grain.levels).astype(np.float32)
    lightest, darkest = (getattr(rows[0], name)(dim=0).numpy(force=True) for name in ("amin", "amax"))
    strength *= np.clip((1 - 0.5 / 255 - lightest) / FADE, 0, 1) * np.clip((darkest - 0.5 / 255) / FADE, 0, 1)
    if still is not None:
        strength[still.between(top, top + height)] = 0
    noise = grain_field(grain, range(top, top + height), width, seed)
    added = torch.from_numpy(strength * noise).to(rows)
    return (rows + added).clamp(0, 1)


def grain_field(grain: Grain, rows: range, width: int, seed: int) -> npt.NDArray[np.float32]:
    """(rows, width) of grain with a standard deviation of 1: normal numbers, filtered."""
    margin = len(grain.kernel) // 2
    numbers = uniform(range(rows.start - margin, rows.stop + margin), range(-margin, width + margin), seed)
    # The middle of each of the 2**24 steps: the inverse of the normal distribution is finite there.
    white = torch.erfinv(torch.from_numpy(numbers).mul_(2).sub_(1 - 2**-24)).mul_(2**0.5).numpy()
    kernel = np.array(grain.kernel, np.float32)
    whole = np.asarray(cv2.filter2D(white, cv2.CV_32F, kernel), np.float32)
    return whole[margin : margin + len(rows), margin : margin + width]


def _weighted(picture: torch.Tensor) -> torch.Tensor:
    if picture.shape[1] == 1:
        return picture
    return (picture * torch.tensor(LUMA).to(picture)[None, :, None, None]).sum(dim=1, keepdim=True)


def _brightness(picture: torch.Tensor) -> Floats:
    return _weighted(picture.detach().to("cpu", torch.float32))[0, 0].double().numpy()


def _middle(picture: torch.Tensor) -> torch.Tensor:
    height, width = picture.shape[2:]
    rows = min(height, max(PATCH, MOST_PIXELS // width // STEP * STEP))
    top = (height - rows) // 2
    return picture[:, :, top : top + rows]


def _residuals(brightness: Floats) -> tuple[Floats, Floats]:
    """The residuals of all patches from their fitted planes (N, 16, 16), and the patches themselves."""
    if min(brightness.shape) < PATCH:
        empty = np.empty((0, PATCH, PATCH))
        return empty, empty
    views = np.lib.stride_tricks.sliding_window_view(brightness, (PATCH, PATCH))[::STEP, ::STEP]
    patches = views.reshape(-1, PATCH, PATCH)
    slope = np.arange(PATCH) - (PATCH - 1) / 2
    energy = (slope**2).sum() * PATCH
    residual = patches - patches.mean(axis=(1, 2), keepdims=True)
    across, down = (residual * slope).sum(axis=(1, 2)) / energy, (residual * slope[:, None]).sum(axis=(1, 2)) / energy
    residual -= across[:, None, None] * slope + down[:, None, None] * slope[:, None]
    return residual, patches


def _flat_patches(brightness: Floats) -> _Patches | None:
    residual, patches = _residuals(brightness)
    if not len(patches):
        return None
    variance = (residual**2).sum(axis=(1, 2)) / (PATCH**2 - 3)
    unclipped = (patches.max(axis=(1, 2)) < 254.5 / 255) & (patches.min(axis=(1, 2)) > 0.5 / 255)
    still = variance < (LEAST / 4) ** 2
    chosen = np.flatnonzero(unclipped & (still | _looks_like_noise(residual, variance)))
    if len(chosen) < FEWEST:
        return None
    return _Patches(patches[chosen].mean(axis=(1, 2)), variance[chosen], residual[chosen], chosen)


def _looks_like_noise(residual: Floats, variance: Floats) -> npt.NDArray[np.bool_]:
    """Neither coarse nor directed."""
    means = residual.reshape(-1, PATCH // 4, 4, PATCH // 4, 4).mean(axis=(2, 4))
    coarse = (means**2).mean(axis=(1, 2)) * 16
    steps = (
        residual[:, :, 1:] - residual[:, :, :-1],
        residual[:, 1:] - residual[:, :-1],
        residual[:, 1:, 1:] - residual[:, :-1, :-1],
        residual[:, 1:, :-1] - residual[:, :-1, 1:],
    )
    across, down, falling, rising = ((step**2).mean(axis=(1, 2)) for step in steps)
    round_enough = (np.minimum(across, down) >= ROUND * np.maximum(across, down)) & (
        np.minimum(falling, rising) >= ROUND * np.maximum(falling, rising)
    )
    return (coarse < COARSE * variance) & round_enough


def _grain_of(patches: _Patches | None) -> Grain | None:
    if patches is None:
        return None
    bins = np.clip((patches.brightness * BINS).astype(int), 0, BINS - 1)
    centres: list[float] = []
    levels: list[float] = []
    quiet = np.zeros(len(bins), bool)
    for number in range(BINS):
        inside = bins == number
        if inside.sum() < FEWEST_IN_BIN:
            continue
        quietest, quiet_fifth = np.quantile(patches.variance[inside], (0.05, 0.2))
        if quietest < ALIKE * quiet_fifth and quiet_fifth > LEAST**2:
            continue
        same = inside & (patches.variance <= SAME * quiet_fifth)
        quiet |= same
        centres.append((number + 0.5) / BINS)
        levels.append(float(np.median(patches.variance[same])) ** 0.5)
    levels, centres = _plausible(levels, centres)
    if quiet.sum() < FEWEST or not LEAST <= max(levels) <= MOST:
        return None
    everywhere = np.interp((np.arange(BINS) + 0.5) / BINS, centres, levels)
    return Grain(tuple(map(float, everywhere)), _kernel_of(patches.residual[quiet]))


def _plausible(levels: list[float], centres: list[float]) -> tuple[list[float], list[float]]:
    """Drops brightnesses with far more noise than the quietest one: that is texture."""
    most = SPREAD * max(min(levels, default=0.0), 1 / 255)
    kept = [(level, centre) for level, centre in zip(levels, centres, strict=True) if level <= most]
    return [level for level, _ in kept] or [0.0], [centre for _, centre in kept] or [0.5]


def _kernel_of(residual: Floats) -> tuple[tuple[float, ...], ...]:
    """The filter whose output has the mean correlation of the patches: the root of its spectrum, whose negative values
    come from truncating the sequence and are dropped."""
    residual = residual / np.maximum(residual.std(axis=(1, 2), keepdims=True), 1e-6)
    side = 2 * LAGS + 1
    correlation = np.zeros((side, side))
    for down in range(LAGS + 1):
        for across in range(-LAGS, LAGS + 1):
            first = residual[:, : PATCH - down, max(0, -across) : PATCH - max(0, across)]
            second = residual[:, down:, max(0, across) : PATCH - max(0, -across)]
            correlation[LAGS + down, LAGS + across] = correlation[LAGS - down, LAGS - across] = (first * second).mean()
    spectrum = np.fft.fft2(np.fft.ifftshift(correlation)).real.clip(0)
    kernel = np.fft.fftshift(np.fft.ifft2(np.sqrt(spectrum)).real)
    kernel /= np.sqrt((kernel**2).sum())
    return tuple(tuple(map(float, row)) for row in kernel)
