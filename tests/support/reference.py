"""What a model gives for a whole picture, straight from Spandrel; and pictures to give it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from spandrel import ImageModelDescriptor, ModelLoader

PNG_TOLERANCE = 1.01
"""In levels of 255. ComfyUI cuts values off when it writes PNG, so even equal pictures differ by up to 1."""


def drawing(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """uint8 (H, W, C): a gradient with shapes and a little grain, so that no two places look the same."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [127 + 90 * np.sin((x * (c + 1) + y * (3 - c)) / 7 + seed) for c in range(channels)]
    picture = np.stack(waves, axis=-1) + random.normal(0, 6, (height, width, channels))
    picture[height // 4 : height // 2, width // 3 : width // 2] = 20
    return picture.clip(0, 255).round().astype(np.uint8)


def untiled(model_file: Path, picture: np.ndarray) -> np.ndarray:
    """float (H*scale, W*scale, 3), 0 to 255: one pass of the model over the whole picture."""
    descriptor = ModelLoader().load_from_file(model_file)
    assert isinstance(descriptor, ImageModelDescriptor)
    values = torch.from_numpy(picture.astype(np.float32) / 255).movedim(2, 0)[None]
    with torch.inference_mode():
        result = descriptor.eval()(values).clamp(0, 1)
    return result[0].movedim(0, 2).numpy() * 255


def largest_difference(picture: np.ndarray, expected: np.ndarray) -> float:
    """In levels of 255; the shapes must agree."""
    assert picture.shape == expected.shape
    return float(np.abs(picture.astype(np.float64) - expected).max())
