"""Pictures that look a little like photographs, drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch


def draw(height: int, width: int, seed: int = 0, *, channels: int = 3, falloff: float = 1.6) -> torch.Tensor:
    """(1, channels, height, width) float32, 8-bit values: clouds whose spectrum falls with the power ``falloff``
    of frequency, discs with hard edges, fine grain."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]) + 1 / 256
    planes = []
    for _ in range(channels):
        noise = np.fft.fft2(random.normal(size=(height, width))) / frequency**falloff
        cloud = np.fft.ifft2(noise).real
        planes.append(0.5 + 0.12 * (cloud - cloud.mean()) / max(cloud.std(), 1e-9))
    picture = np.stack(planes)
    for _ in range(12):
        radius = random.uniform(0.04, 0.15) * min(height, width)
        inside = np.hypot(x - random.uniform(0, width), y - random.uniform(0, height)) < radius
        picture[:, inside] += random.uniform(-0.3, 0.3, (channels, 1))
    picture += random.normal(0, 1 / 255, picture.shape)
    return torch.from_numpy((picture.clip(0, 1) * 255).round() / 255).float()[None]


@pytest.fixture(scope="session")
def drawn() -> Callable[..., torch.Tensor]:
    return draw


@pytest.fixture(scope="session")
def spoiled() -> Callable[..., torch.Tensor]:
    """A picture with noise of the given strength, in 8-bit values."""

    def spoil(picture: torch.Tensor, strength: float = 0.05, seed: int = 1) -> torch.Tensor:
        noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(seed))
        return ((picture + strength * noise).clamp(0, 1) * 255).round() / 255

    return spoil
