"""Seams: do the borders between tiles show?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import NamedTuple

import torch
from torch.nn.functional import avg_pool2d

from ..errors import InputError
from ..image.validate import check_picture
from .errors import NotMeasurable
from .pair import size_of

NEIGHBOURS = tuple(k for k in range(-10, 11) if abs(k) >= 3)
"""Lines a border is compared with, in pixels from it; nearer ones already feel a step at the border."""
FEWEST_NEIGHBOURS = 4
SEGMENT = 128
"""Pixels of a border over which one step is estimated: seams come and go along a border."""
FLOOR = 0.05 / 255
"""Steps that do not count even in a perfectly smooth picture."""
QUIET = 0.22 / 255
"""Roughness under which places along a border are trusted alike."""
SMOOTHING = 7


class Border(NamedTuple):
    """A border between tiles: ``axis`` "column" or "row", and the first pixel after it."""

    axis: str
    position: int
    score: float


@dataclass(frozen=True)
class Seams:
    """``score``: geometric mean over all borders; near 1 when borders look like any other line."""

    score: float
    borders: tuple[Border, ...]

    @property
    def worst(self) -> Border:
        return max(self.borders, key=lambda border: border.score)


def seam_score(picture: torch.Tensor, columns: Sequence[int], rows: Sequence[int]) -> list[Seams]:
    """How much each picture (B, C, H, W) jumps at given tile borders, relative to the lines beside them.

    ``columns`` and ``rows`` are the first pixel after each border. The jump at a place is the difference across
    the line less the mean of the differences just before and after it (a slope is no jump). Along each stretch of
    a border between two tiles the jumps are averaged, smooth places counting most because a seam shows there; the
    energy of that average is divided by that of the lines 3 to 10 pixels away. The score is the geometric mean of
    the square roots of those ratios: near 1 without seams, growing with their height. Real edges that happen to
    lie on a border count as well, so judge by pictures with several borders, or by several pictures.

    Raises ``InputError`` without borders or for one outside the picture, ``NotMeasurable`` when tiles are so small
    that no undisturbed lines lie between the borders.
    """
    check_picture(picture)
    if not columns and not rows:
        raise InputError("No tile border was given; one tile has no seam to measure.")
    found: list[list[Border]] = [[] for _ in range(len(picture))]
    ways = (("column", columns, rows, picture), ("row", rows, columns, picture.transpose(2, 3)))
    for axis, borders, crossing, turned in ways:
        if not borders:
            continue
        jumps = _jumps(turned.float())
        for position in borders:
            if not 2 <= position <= turned.shape[3] - 2:
                raise InputError(
                    f"There is no {axis} border at pixel {position} of a picture of {size_of(picture)}; borders lie "
                    f"between 2 and {turned.shape[3] - 2}."
                )
            beside = _undisturbed(position, borders, turned.shape[3])
            ratios = _amplitude_ratios(jumps, position, beside, _segments(turned.shape[2], crossing))
            for each, ratio in zip(found, ratios, strict=True):
                each.append(Border(axis, position, float(ratio)))
    return [Seams(geometric_mean([border.score for border in each]), tuple(each)) for each in found]


def _jumps(picture: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B, C, H, W - 3): the jump before each column from 2 on."""
    steps = picture.diff(dim=3)
    return steps[..., 1:-1] - (steps[..., :-2] + steps[..., 2:]) / 2


def _undisturbed(position: int, borders: Sequence[int], length: int) -> list[int]:
    lines = [position + k for k in NEIGHBOURS]
    lines = [line for line in lines if 2 <= line <= length - 2 and all(abs(line - border) > 2 for border in borders)]
    if len(lines) < FEWEST_NEIGHBOURS:
        raise NotMeasurable(
            f"Only {len(lines)} of {len(NEIGHBOURS)} lines around the tile border at {position} are undisturbed; "
            "seams need tiles of at least 8 pixels."
        )
    return lines


def _segments(length: int, crossing: Sequence[int]) -> list[slice]:
    """Stretches of a border that have the same two tiles on their sides, and are not much longer than SEGMENT."""
    ends = sorted({0, length, *(position for position in crossing if 0 < position < length)})
    found: list[slice] = []
    for start, stop in zip(ends, ends[1:], strict=False):
        pieces = max(1, round((stop - start) / SEGMENT))
        cuts = [start + index * (stop - start) // pieces for index in range(pieces + 1)]
        found += [slice(*cut) for cut in zip(cuts, cuts[1:], strict=False)]
    return found


def _amplitude_ratios(
    jumps: torch.Tensor, position: int, beside: Sequence[int], segments: Sequence[slice]
) -> torch.Tensor:
    """(B,) how large the border's steps are compared with those of the lines beside it."""
    lines = jumps[..., [line - 2 for line in (position, *beside)]]
    roughness = lines[..., 1:].square().mean(dim=3, keepdim=True)
    reach = min(SMOOTHING, (roughness.shape[2] - 1) // 2 * 2 + 1)
    smooth = avg_pool2d(roughness, (reach, 1), 1, (reach // 2, 0), count_include_pad=False)
    weights = 1 / (smooth + QUIET**2)
    ratios: list[torch.Tensor] = []
    for segment in segments:
        part, weight = lines[:, :, segment], weights[:, :, segment]
        energy = ((part * weight).sum(dim=2) / weight.sum(dim=2)).square() + FLOOR**2
        size = energy.log() / 2
        ratios.append(size[..., 0] - size[..., 1:].mean(dim=2))
    return torch.stack(ratios).mean(dim=(0, 2)).exp()
