"""How different two colours look: CIELAB and CIEDE2000."""

from __future__ import annotations

import math

import torch

SRGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""ITU-R BT.709 primaries, D65."""
D65 = (0.95047, 1.0, 1.08883)
"""White point for the 2 degree observer."""
POWER = 25.0**7


def srgb_to_lab(picture: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) sRGB, 0 to 1 -> (B, 3, H, W) CIELAB of D65, 2 degrees: L 0 to 100, a and b about -110 to 110.

    Values outside 0..1 are clamped: they have no colour.
    """
    encoded = picture.clamp(0, 1)
    linear = torch.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    white = linear.new_tensor(D65)[:, None]
    relative = linear.new_tensor(SRGB_TO_XYZ) / white
    x, y, z = (_lab_curve(plane) for plane in torch.einsum("rc,bchw->rbhw", relative, linear))
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def _lab_curve(ratio: torch.Tensor) -> torch.Tensor:
    return torch.where(ratio > 0.008856, ratio.clamp(min=0.008856) ** (1 / 3), 7.787 * ratio + 16 / 116)


def ciede2000(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) CIELAB pairs -> (B, H, W) colour difference; about 1 is just noticeable side by side.

    Sharma, Wu, Dalal: "The CIEDE2000 color-difference formula: implementation notes, supplementary test data, and
    mathematical observations" (2005), with all three weights 1.
    """
    lightness1, a1, b1 = first.unbind(1)
    lightness2, a2, b2 = second.unbind(1)
    mean_chroma7 = ((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * torch.sqrt(mean_chroma7 / (mean_chroma7 + POWER))
    chroma1, chroma2 = torch.hypot(a1 * stretch, b1), torch.hypot(a2 * stretch, b2)
    hue1, hue2 = _hue(a1 * stretch, b1), _hue(a2 * stretch, b2)
    turn, mean_hue = _hue_terms(hue1, hue2, chroma1 * chroma2 == 0)

    delta_chroma = chroma2 - chroma1
    delta_hue = 2 * torch.sqrt(chroma1 * chroma2) * torch.sin(turn / 2)
    mean_lightness, mean_chroma = (lightness1 + lightness2) / 2, (chroma1 + chroma2) / 2
    offset = (mean_lightness - 50) ** 2
    scaled_lightness = (lightness2 - lightness1) / (1 + 0.015 * offset / torch.sqrt(20 + offset))
    scaled_chroma = delta_chroma / (1 + 0.045 * mean_chroma)
    scaled_hue = delta_hue / (1 + 0.015 * mean_chroma * _hue_weight(mean_hue))
    squares = scaled_lightness**2 + scaled_chroma**2 + scaled_hue**2
    squares = squares + _rotation(mean_hue, mean_chroma) * scaled_chroma * scaled_hue
    return torch.sqrt(squares.clamp(min=0))


def _hue(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angle in 0 to 2 pi."""
    return torch.atan2(b, a) % (2 * math.pi)


def _hue_terms(hue1: torch.Tensor, hue2: torch.Tensor, grey: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn from one hue to the other the short way round, and the hue half way. ``grey``: one has no hue."""
    difference, total = hue2 - hue1, hue1 + hue2
    far = difference.abs() > math.pi
    turn = torch.where(far, difference - 2 * math.pi * difference.sign(), difference)
    wrapped = torch.where(total < 2 * math.pi, total + 2 * math.pi, total - 2 * math.pi)
    mean = torch.where(far, wrapped, total) / 2
    return torch.where(grey, 0.0, turn), torch.where(grey, total, mean)


def _hue_weight(hue: torch.Tensor) -> torch.Tensor:
    return (
        1
        - 0.17 * torch.cos(hue - math.radians(30))
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )


def _rotation(hue: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
    """The interaction of chroma and hue among the blues."""
    angle = math.radians(30) * torch.exp(-(((torch.rad2deg(hue) - 275) / 25) ** 2))
    return -torch.sin(2 * angle) * 2 * torch.sqrt(chroma**7 / (chroma**7 + POWER))
