"""Ringing: how far an enlarged picture overshoots the edges of its source."""

from __future__ import annotations

import torch

from ..image.colour import luma
from ..types import size_of
from .edges import find_edges, sample
from .errors import NotMeasurable
from .fidelity import check_source

REACH = 3.0
"""Source pixels looked at on each side of an edge: three lobes of a Lanczos kernel."""
ALONG = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Source pixels along the edge over which profiles are averaged: a halo runs along an edge, texture does not."""
STEP = 0.25
"""Source pixels between samples of the source's profile; the result is sampled twice as densely."""
CONTRAST = 0.1
"""Least height of an edge, in luma."""
PLATEAU = 1.0
"""Source pixels at each end of a profile that must be flat ..."""
FLATNESS = 0.15
"""... to this share of the edge's height, across and along it."""
FEWEST_EDGES = 5


def overshoot(source: torch.Tensor, result: torch.Tensor) -> list[float]:
    """Overshoot of each result (B, C, H, W) at the edges of its source (B, C, h, w), in percent of their height.

    Measured at edges of the source's luma that stand alone: at least a tenth of the range high, and flat on both
    sides from two to three source pixels away. There, the profile of the result across the edge has no reason to
    leave the range of the source's profile; how far it does, relative to the height, is the overshoot, and the
    figure is the median over the edges. Both profiles are means over two source pixels along the edge, so that
    texture that a model adds, or that a true picture has, counts little. 0: no overshoot.

    Raises ``NotMeasurable`` when a source has fewer than five such edges, ``InputError`` where ``fidelity`` does.
    """
    check_source(source, result)
    return [
        _overshoot(small[None], large[None])
        for small, large in zip(luma(source.float()), luma(result.float()), strict=True)
    ]


def _overshoot(source: torch.Tensor, result: torch.Tensor) -> float:
    places, directions = find_edges(source, CONTRAST / (2 * REACH))
    before = _profiles(source, source, places, directions, STEP)
    alone = _stand_alone(before)
    if int(alone.sum()) < FEWEST_EDGES:
        raise NotMeasurable(
            f"The source of {size_of(source)} has {int(alone.sum())} edges that are {CONTRAST:.0%} high and flat on "
            f"both sides, and ringing is measured at {FEWEST_EDGES} or more; choose a picture with clear edges."
        )
    mean = before[:, alone].mean(dim=0)
    low, high = mean.amin(dim=1), mean.amax(dim=1)
    after = _profiles(source, result, places[alone], directions[alone], STEP / 2).mean(dim=0)
    excursion = torch.maximum(after.amax(dim=1) - high, low - after.amin(dim=1)).clamp(min=0)
    return 100 * float((excursion / (high - low)).median())


def _profiles(
    source: torch.Tensor, plane: torch.Tensor, places: torch.Tensor, directions: torch.Tensor, step: float
) -> torch.Tensor:
    """(len(ALONG), n, samples) values of ``plane``, which shows ``source`` at its own size, across each edge; NaN
    beyond the picture."""
    count = round(REACH / step)
    across = torch.arange(-count, count + 1, device=plane.device)[None, None, :, None] * step
    along = torch.tensor(ALONG, device=plane.device)[:, None, None, None]
    tangents = torch.stack((-directions[:, 1], directions[:, 0]), dim=1)
    points = places[None, :, None] + across * directions[None, :, None] + along * tangents[None, :, None]
    size, shown = size_of(source), size_of(plane)
    limit = points.new_tensor((size.width - 1, size.height - 1))
    inside = ((points >= 0) & (points <= limit)).all(dim=-1)
    scale = points.new_tensor((shown.width / size.width, shown.height / size.height))
    return sample(plane, (points + 0.5) * scale - 0.5).masked_fill(~inside, torch.nan)


def _stand_alone(profiles: torch.Tensor) -> torch.Tensor:
    """(n,) which edges are high enough and have flat sides; those that reach beyond the picture do not."""
    mean = profiles.mean(dim=0)
    low, high = mean.amin(dim=1), mean.amax(dim=1)
    ends = round(PLATEAU / STEP) + 1
    below, above = mean[:, :ends], mean[:, -ends:]
    slack = FLATNESS * (high - low)
    flat = (below.amax(dim=1) - low < slack) & (high - above.amin(dim=1) < slack)
    spread = profiles.amax(dim=0) - profiles.amin(dim=0)
    even = (spread[:, :ends].amax(dim=1) < slack) & (spread[:, -ends:].amax(dim=1) < slack)
    return flat & even & (high - low >= CONTRAST)
