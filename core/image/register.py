"""Finds a global shift and colour change between an enlarged picture and its source, and removes them.

The shift starts from the peak of the phase correlation (Kuglin and Hines, 1975) of the picture, reduced to the source's
size, and is refined to sub-pixel precision by least squares (Lucas and Kanade, 1981). The colour is a 3x3 matrix and an
offset, fitted by iteratively reweighted least squares, so that other differences have little influence.
"""

# torch publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..errors import InputError
from ..types import FloatBox, Size, size_of
from .colour import luma
from .filters import gaussian
from .resize import resize

MOST_SHIFT = 2.0
"""Source pixels."""
SEEN_SHIFT = 0.05
"""Source pixels; a smaller shift is left alone, because moving costs sharpness."""
SEARCH = 8
"""Search range in source pixels, larger than what is corrected, so that the error can state the size of a larger
shift."""
SEEN_COLOUR = 2 / 255
"""Smallest mean change worth removing; removing it must also reduce the error by ``SEEN_GAIN``."""
SEEN_GAIN = 0.15
LEAST_CORRELATION = 0.7
"""Correlation of brightness below which the two do not show the same thing."""
FLAT = 2 / 255
"""Standard deviation of brightness below which there is nothing to compare."""
ROBUST = 4 / 255
"""Error at which a pixel's weight in the colour fit is halved."""
ROUNDS = 8


@dataclass(frozen=True)
class Found:
    """``shift``: source pixels (right, down) by which the picture was offset; ``colour``: mean colour change removed,
    in levels of 255. 0 if nothing was removed."""

    shift: tuple[float, float] = (0.0, 0.0)
    colour: float = 0.0

    @property
    def note(self) -> str:
        parts = [f"a shift of {self.shift[0]:.2f}, {self.shift[1]:.2f} source pixels"] if any(self.shift) else []
        parts += [f"a change of all colours by {self.colour:.1f} levels of 255"] if self.colour else []
        return f"taken off first: {' and '.join(parts)}" if parts else ""


def registered(result: Tensor, source: Tensor) -> tuple[Tensor, Found]:
    """``result`` (1, C, H, W) moved to the position and colours of ``source`` (1, C, h, w).

    Raises ``InputError`` with the figure for a shift of more than two source pixels and for a picture of something
    else.
    """
    size = size_of(source)
    small = resize(result, size)
    shift = find_shift(small, source)
    if max(map(abs, shift)) > MOST_SHIFT + 0.25:
        raise InputError(
            f"The result is shifted by {shift[0]:.1f}, {shift[1]:.1f} source pixels, and at most {MOST_SHIFT:g} can be "
            "taken off; align it with its source first."
        )
    if max(map(abs, shift)) < SEEN_SHIFT:
        shift = (0.0, 0.0)
    else:
        result = moved(result, shift[0] * result.shape[3] / size.width, shift[1] * result.shape[2] / size.height)
        small = resize(result, size)
    matrix, offset = find_colour(small, source)
    recoloured = _apply(small, matrix, offset)
    before, after = (float((each - source).square().mean().sqrt()) for each in (small, recoloured))
    change = float((recoloured - small).abs().mean())
    if change < SEEN_COLOUR or after > (1 - SEEN_GAIN) * before:
        _check_same(small, source)
        return result, Found(shift)
    _check_same(recoloured, source)
    return _apply(result, matrix, offset).clamp_(0, 1), Found(shift, 255 * change)


def find_shift(picture: Tensor, source: Tensor) -> tuple[float, float]:
    """Pixels (right, down) by which ``picture`` (1, C, h, w) is offset from ``source`` of the same size."""
    first, second = (gaussian(luma(each.float()), 1.0) for each in (source, picture))
    if min(float(each.std()) for each in (first, second)) < FLAT:
        return 0.0, 0.0
    x, y = map(float, _peak(first, second))
    for _ in range(ROUNDS):
        step = _refinement(first, moved(second, x, y))
        x, y = x + step[0], y + step[1]
        if not math.hypot(x, y) < 2 * SEARCH:
            return 0.0, 0.0
        if max(map(abs, step)) < 1e-3:
            break
    return x, y


def moved(picture: Tensor, x: float, y: float) -> Tensor:
    """The picture with what lies (x, y) pixels to the right and below moved back; the border is repeated outward."""
    height, width = picture.shape[-2:]
    margin = math.ceil(max(abs(x), abs(y))) + 4
    larger = pad(picture, (margin,) * 4, mode="replicate")
    return resize(larger, Size(width, height), FloatBox(margin + x, margin + y, width, height))


def _peak(first: Tensor, second: Tensor) -> tuple[int, int]:
    """Whole pixels (right, down) from the first to the second, within ``SEARCH``."""
    height, width = first.shape[-2:]
    window = torch.outer(torch.hann_window(height, periodic=False), torch.hann_window(width, periodic=False))
    window = window.to(first)
    spectra = [torch.fft.rfft2((each - each.mean()) * window) for each in (first, second)]
    cross = spectra[1] * spectra[0].conj()
    surface = torch.fft.irfft2(cross / cross.abs().clamp(min=1e-9).sqrt(), s=(height, width))[0, 0]
    reach_x, reach_y = min(SEARCH, width // 4), min(SEARCH, height // 4)
    near = torch.roll(surface, (reach_y, reach_x), (0, 1))[: 2 * reach_y + 1, : 2 * reach_x + 1]
    best = int(near.argmax())
    return best % near.shape[1] - reach_x, best // near.shape[1] - reach_y


def _refinement(first: Tensor, second: Tensor) -> tuple[float, float]:
    """The remaining sub-pixel offset of ``second``."""
    inner = slice(2, -2)
    across = ((second[..., 2:] - second[..., :-2]) / 2)[..., inner, 1:-1].double()
    down = ((second[..., 2:, :] - second[..., :-2, :]) / 2)[..., 1:-1, inner].double()
    difference = (first - second)[..., inner, inner].double()
    # Mean and contrast may have changed; their share of the difference is not a shift.
    shown = (second - second.mean())[..., inner, inner].double()
    difference = difference - difference.mean()
    difference = difference - shown * (difference * shown).sum() / shown.square().sum().clamp(min=1e-12)
    xx, yy, xy = (float((a * b).sum()) for a, b in ((across, across), (down, down), (across, down)))
    x, y = (float((each * difference).sum()) for each in (across, down))
    determinant = xx * yy - xy * xy
    if determinant <= 1e-9 * (xx + yy) ** 2:
        return 0.0, 0.0
    return (yy * x - xy * y) / determinant, (xx * y - xy * x) / determinant


def find_colour(picture: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """The matrix (C, C) and offset (C,) that bring the colours of ``picture`` (1, C, h, w) nearest to the source's."""
    channels = picture.shape[1]
    colours = [each[0].flatten(1).T.double().cpu() for each in (picture, source)]
    step = max(1, len(colours[0]) // 100_000)
    given, wanted = (each[::step] for each in colours)
    terms = torch.cat([given, torch.ones_like(given[:, :1])], dim=1)
    identity = torch.eye(channels + 1, channels, dtype=torch.float64)
    # Regularised towards no change, for pictures of few colours.
    faith = 1e-4 * len(terms) * torch.eye(channels + 1, dtype=torch.float64)
    fitted = identity
    for _ in range(ROUNDS):
        errors = (terms @ fitted - wanted).square().sum(dim=1, keepdim=True).sqrt()
        scale = max(ROBUST, float(errors.median()))
        weights = 1 / (1 + (errors / scale) ** 2)
        normal = terms.T @ (weights * terms) + faith
        change = torch.linalg.solve(normal, terms.T @ (weights * (wanted - terms @ identity)))
        fitted = identity + change
    return fitted[:-1].T.to(picture), fitted[-1].to(picture)


def _apply(picture: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    planes = [
        sum((picture[:, column] * matrix[row, column] for column in range(len(matrix))), offset[row])
        for row in range(len(matrix))
    ]
    return torch.stack(planes, dim=1)  # pyright: ignore[reportArgumentType]


def _check_same(picture: Tensor, source: Tensor) -> None:
    first, second = (luma(each).double().flatten().cpu() for each in (picture, source))
    if float(second.std()) < FLAT:
        return
    correlation = float(torch.corrcoef(torch.stack([first, second]))[0, 1])
    if not correlation >= LEAST_CORRELATION:
        raise InputError(
            f"The result does not show its source: reduced to its size their brightness correlates by "
            f"{correlation:.2f}, and {LEAST_CORRELATION} is the least; connect the picture it was made of."
        )
