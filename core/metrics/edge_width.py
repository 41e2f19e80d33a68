"""Edge width: over how many pixels the strong edges of a picture rise."""

from __future__ import annotations

import torch
from torch.nn.functional import max_pool1d

from ..errors import InputError
from ..image.colour import luma
from ..image.validate import check_picture
from ..types import size_of
from .edges import find_edges, sample
from .errors import NotMeasurable

REACH = 16.0
"""Pixels of the profile on each side of an edge."""
STEP = 0.25
"""Pixels between samples of the profile."""
SEARCH = 3.0
"""How far from the guide's edge, in pixels, the steepest place of a profile may be."""
PATIENCE = 1.0
"""A rise continues as long as a higher value follows within this many pixels."""
SLACK = 1e-3
"""A rise ends where it gains less than this within ``PATIENCE``: a quarter of an 8-bit step."""
CONTRAST = 0.1
"""Least rise of luma that counts as a strong edge."""


def edge_width(picture: torch.Tensor, guide: torch.Tensor | None = None) -> list[float]:
    """Median 10-90 % rise distance of the strong edges of each picture (B, C, H, W), in its pixels.

    Edges are where the gradient of the luma is largest along its own direction; the profile is read along that
    direction, from the steepest place outward to where it stops rising. An ideal step blurred by a Gaussian of
    standard deviation s measures 2.563 s (s of 1 pixel and more); a hard pixel step measures 0.8, which is the
    linear interpolation between two pixels. ``guide``: pictures of the same size at whose edges to measure, so
    that several versions of a picture are measured at the same places.

    Raises ``NotMeasurable`` when no edge rises by a tenth of the range within 16 pixels, ``InputError`` for a guide
    of another size.
    """
    check_picture(picture)
    guide = picture if guide is None else guide
    check_picture(guide, "guide")
    if guide.shape[0] != picture.shape[0] or size_of(guide) != size_of(picture):
        raise InputError(
            f"The guide is {len(guide)} of {size_of(guide)} and the picture {len(picture)} of {size_of(picture)}; "
            "give a guide of the same size."
        )
    return [
        _width(plane[None], other[None])
        for plane, other in zip(luma(picture.float()), luma(guide.float()), strict=True)
    ]


def _width(plane: torch.Tensor, guide: torch.Tensor) -> float:
    # Spread over the whole reach, the least contrast that counts still has this slope.
    places, directions = find_edges(guide, CONTRAST / (2 * REACH))
    widths = _rise(_profiles(plane, places, directions)) if len(places) else places.new_empty(0)
    if not len(widths):
        raise NotMeasurable(
            f"The picture of {size_of(plane)} has no edge that rises by {CONTRAST:.0%} within {REACH:.0f} pixels, so "
            "edge width cannot be measured; choose a picture with edges."
        )
    return float(widths.median())


def _profiles(plane: torch.Tensor, places: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """(n, samples) values along each direction, the place in the middle; NaN beyond the picture."""
    steps = torch.arange(-round(REACH / STEP), round(REACH / STEP) + 1, device=plane.device) * STEP
    points = places[:, None] + steps[None, :, None] * directions[:, None]
    limit = points.new_tensor((plane.shape[-1] - 1, plane.shape[-2] - 1))
    inside = ((points >= 0) & (points <= limit)).all(dim=-1)
    return sample(plane, points).masked_fill(~inside, torch.nan)


def _rise(profiles: torch.Tensor) -> torch.Tensor:
    """(m,) 10-90 % distances in pixels of those profiles (n, samples) that hold a whole strong edge."""
    middle, search = profiles.shape[1] // 2, round(SEARCH / STEP)
    near = profiles[:, middle - search : middle + search + 1]
    start = middle - search + near.diff(dim=1).nan_to_num(-1.0).argmax(dim=1)
    # Downhill is uphill in the profile turned round and upside down.
    turned, turned_start = 1 - profiles.flip(1), profiles.shape[1] - 1 - start
    top, arrived = _plateau(profiles, start)
    turned_top, turned_arrived = _plateau(turned, turned_start)
    contrast = top + turned_top - 1
    strong = arrived & turned_arrived & (contrast >= CONTRAST)
    upper = _crossing(profiles[strong], start[strong], (top - 0.1 * contrast)[strong])
    lower = _crossing(turned[strong], turned_start[strong], (turned_top - 0.1 * contrast)[strong])
    return (upper + lower - (profiles.shape[1] - 1)) * STEP


def _plateau(profiles: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n,) the value at which each profile stops rising after ``start``, and whether it does within its reach."""
    patience = round(PATIENCE / STEP)
    unknown = torch.cat((profiles[:, 1:], profiles.new_full((len(profiles), patience), torch.inf)), dim=1)
    ahead = max_pool1d(unknown.nan_to_num(torch.inf)[:, None], patience, stride=1)[:, 0]
    stops = (ahead <= profiles + SLACK) & _from(profiles, start)
    level = profiles.gather(1, stops.int().argmax(dim=1, keepdim=True))[:, 0]
    return level, stops.any(dim=1)


def _crossing(profiles: torch.Tensor, start: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """(n,) where, in samples, each profile first reaches ``level`` at or after ``start``; it is known to."""
    reached = (profiles >= level[:, None]) & _from(profiles, start)
    after = reached.int().argmax(dim=1, keepdim=True)
    before = (after - 1).clamp(min=0)
    low, high = profiles.gather(1, before)[:, 0], profiles.gather(1, after)[:, 0]
    part = ((level - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    return before[:, 0] + part


def _from(profiles: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    return torch.arange(profiles.shape[1], device=profiles.device)[None] >= start[:, None]
