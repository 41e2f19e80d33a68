"""Pieces of photographs in the public domain or under CC0 that scikit-image ships in its package.

They show what no painter here imitates fully: hair, cloth, earth, bark, faces. None is copied into
this package; they are read from the installed scikit-image, whose documentation of ``skimage.data`` names the origin
and licence of each.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ...errors import InputError
from .raster import Canvas, clip


@dataclass(frozen=True)
class Photograph:
    """One picture of ``skimage.data``."""

    file: str
    licence: str
    """As the documentation of scikit-image 0.26 states it."""
    reduction: float = 1.0
    """Least reduction; it removes the traces of its camera and its JPEG compression."""
    share: float = 1.0
    """Relative weight in the choice: less for mostly uniform pictures."""


PHOTOGRAPHS = (
    Photograph("astronaut.png", "public domain (NASA)", share=2.0),
    Photograph("camera.png", "CC0 (Lav Varshney)"),
    Photograph("chelsea.png", "CC0 (Stefan van der Walt)", share=1.5),
    Photograph("coffee.png", "CC0 (Rachel Michetti)", share=2.0),
    Photograph("rocket.jpg", "public domain (SpaceX)", 1.4),
    Photograph("brick.png", "CC0 (CC0Textures)"),
    Photograph("grass.png", "CC0 (linolafett)", share=1.5),
    Photograph("gravel.png", "CC0 (CC0Textures)"),
    Photograph("retina.jpg", "CC0 (Mikael Haggstrom)", 2.0, share=0.3),
    Photograph("hubble_deep_field.jpg", "public domain (NASA)", 1.5, share=0.4),
)
LARGEST_REDUCTION = 1.7
"""How much more than its least reduction a photograph is reduced at most: finer structure from the same pixels."""


def photograph_folder() -> Path:
    """Where scikit-image keeps its pictures. Raises ``InputError`` if it is not installed."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise InputError(
            "The kind 'photograph' takes its pictures from scikit-image, which is missing; run: "
            "python -m pip install scikit-image"
        )
    return Path(found.origin).parent / "data"


@lru_cache(maxsize=len(PHOTOGRAPHS))
def read_photograph(file: str) -> Canvas:
    """(H, W, 3) RGB of a file of ``skimage.data``. Raises ``InputError`` if scikit-image lacks it."""
    path = photograph_folder() / file
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{path} is missing or damaged; install scikit-image 0.22 to 0.26 again.")
    return np.ascontiguousarray(picture[..., ::-1], np.uint8)


def draw_photograph(height: int, width: int, rng: np.random.Generator) -> Canvas:
    """A piece of a photograph, (height, width, 3): reduced at random, mirrored where it is too small, in other light.

    Light means an exponent on the values and a gain per channel, as exposure and white balance change pictures.
    """
    chances = np.array([each.share for each in PHOTOGRAPHS])
    chosen = PHOTOGRAPHS[int(rng.choice(len(PHOTOGRAPHS), p=chances / chances.sum()))]
    picture = read_photograph(chosen.file)
    reduction = chosen.reduction * float(rng.uniform(1.0, LARGEST_REDUCTION) ** int(rng.integers(0, 2)))
    if reduction > 1.0:
        size = (round(picture.shape[1] / reduction), round(picture.shape[0] / reduction))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    below, beside = max(height - picture.shape[0], 0), max(width - picture.shape[1], 0)
    picture = np.asarray(cv2.copyMakeBorder(picture, 0, below, 0, beside, cv2.BORDER_REFLECT), np.uint8)
    spare: tuple[int, int] = picture.shape[0] - height, picture.shape[1] - width
    top, left = int(rng.integers(spare[0] + 1)), int(rng.integers(spare[1] + 1))
    piece = picture[top : top + height, left : left + width]
    exponent, gains = np.exp(rng.normal(0.0, 0.2)), rng.uniform(0.85, 1.0, 3)
    levels = clip((np.linspace(0.0, 1.0, 256)[:, None] ** exponent) * gains, 0.0, 1.0)
    tables = np.round(levels * 255.0).astype(np.uint8)
    return np.stack([tables[piece[..., channel], channel] for channel in range(3)], axis=-1)
