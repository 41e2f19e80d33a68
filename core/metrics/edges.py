"""Where a picture has edges, and its values along lines across them."""

from __future__ import annotations

import torch
from torch.nn.functional import grid_sample, pad

from ..image.filters import gaussian

MOST_EDGES = 20_000


def find_edges(plane: torch.Tensor, slope: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 2) pixels (x, y) where the gradient of a plane (1, 1, H, W), blurred by one pixel, is largest along its own
    direction and above ``slope`` (values per pixel), and (n, 2) unit directions uphill. At most 20,000, evenly
    chosen. Edges as in Canny, "A computational approach to edge detection" (1986), without the linking."""
    smooth = pad(gaussian(plane, 1.0), (1, 1, 1, 1), mode="replicate")
    across = (smooth[..., 1:-1, 2:] - smooth[..., 1:-1, :-2]) / 2
    down = (smooth[..., 2:, 1:-1] - smooth[..., :-2, 1:-1]) / 2
    strength = torch.hypot(across, down)
    unit = torch.cat((across, down), dim=1) / strength.clamp(min=1e-6)
    height, width = plane.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=plane.device), torch.arange(width, device=plane.device), indexing="ij"
    )
    grid = torch.stack((columns, rows), dim=-1).float()
    uphill = unit[0].permute(1, 2, 0)
    ahead, behind = sample(strength, grid + uphill), sample(strength, grid - uphill)
    here = strength[0, 0]
    crest = (here > ahead) & (here >= behind) & (here > slope)
    places, directions = grid[crest], uphill[crest]
    every = max(1, -(-len(places) // MOST_EDGES))
    return places[::every], directions[::every]


def sample(plane: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Linear interpolation of (1, 1, H, W) at (..., 2) pixel positions (x, y), clamped to the picture."""
    limit = points.new_tensor((max(plane.shape[-1] - 1, 1), max(plane.shape[-2] - 1, 1)))
    flat = (points / limit * 2 - 1).reshape(1, 1, -1, 2)
    return grid_sample(plane, flat, align_corners=True, padding_mode="border").reshape(points.shape[:-1])
