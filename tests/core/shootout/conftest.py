"""Pictures with clear edges on smooth ground, as tensors and as files, and functions in the place of models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from backplate.core.types import SizeRule
from backplate.core.upscaler import Halo, UpscalerSpec
from PIL import Image
from torch.nn.functional import avg_pool2d, interpolate


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: a gradient with discs."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    values = np.stack([60 + 90 * x / width, 80 + 60 * y / height, 100 + 50 * (x + y) / (width + height)], axis=-1)
    for _ in range(6):
        radius = random.uniform(0.1, 0.2) * min(height, width)
        inside = np.hypot(x - random.uniform(0, width), y - random.uniform(0, height)) < radius
        values[inside] += random.uniform(40, 80) * random.choice((-1, 1))
    return values.clip(0, 255).round().astype(np.uint8)


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).permute(2, 0, 1)[None].float() / 255


class Enlarger:
    """Bilinear enlargement, sharpened by ``amount``, in the place of a model."""

    def __init__(self, scale: int = 4, amount: float = 0.0) -> None:
        self.amount = amount
        self.spec = UpscalerSpec(
            name="enlarger",
            scale=scale,
            input_channels=3,
            output_channels=3,
            size_rule=SizeRule(),
            halo=Halo(pixels=4, exact=True),
        )

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        plain = interpolate(picture.float(), scale_factor=self.spec.scale, mode="bilinear")
        soft = avg_pool2d(plain, 9, 1, 4, count_include_pad=False)
        return (plain + self.amount * (plain - soft)).clamp(0, 1)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """``write("folder/name.png", (height, width), seed)``: a picture file below the temporary folder."""

    def save(name: str, size: tuple[int, int] = (48, 64), seed: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(*size, seed)).save(path)
        return path

    return save
