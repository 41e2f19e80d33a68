"""Training pictures drawn by this package, or cut from free photographs, so that trained models are free of third-party
licences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import torch

from ...errors import InputError
from .dead_leaves import draw_leaves
from .drawings import draw_cel, draw_gradient, draw_line_art, draw_text
from .palette import draw_palette
from .photographs import draw_photograph
from .raster import Canvas, Floats, blur, to_canvas
from .scenes import draw_scene
from .textures import draw_texture

SUPERSAMPLING = 2
"""Pictures are drawn this many times larger and averaged down, which antialiases every edge and texture."""

Painter = Callable[[int, int, np.random.Generator], Canvas]


def draw_surface(height: int, width: int, rng: np.random.Generator) -> Canvas:
    """One or two textures that fill the picture, (height, width, 3)."""
    picture: Floats = draw_gradient(height, width, rng) / np.float32(255.0)
    for _ in range(int(rng.integers(1, 3))):
        tint = draw_palette(rng, 1)[0] - np.float32(0.5) if rng.random() < 0.3 else np.ones(3, np.float32)
        picture = picture + draw_texture(height, width, rng)[..., None] * tint * np.float32(rng.uniform(0.03, 0.4))
    return to_canvas(picture)


PAINTERS: Mapping[str, Painter] = MappingProxyType(
    {
        "leaves": draw_leaves,
        "surface": draw_surface,
        "gradient": draw_gradient,
        "text": draw_text,
        "line-art": draw_line_art,
        "cel": draw_cel,
        "scene": draw_scene,
        "photograph": draw_photograph,
    }
)
MIXTURE: Mapping[str, float] = MappingProxyType(
    {"leaves": 0.56, "surface": 0.12, "gradient": 0.04, "text": 0.1, "line-art": 0.1, "cel": 0.08}
)
"""Shares of the kinds in general training: dead leaves carry it, the rest teaches what they lack."""


def draw_picture(kind: str, height: int, width: int, rng: np.random.Generator) -> Canvas:
    """One picture of ``kind`` (a key of ``PAINTERS``), (height, width, 3) RGB; determined by ``rng`` alone.

    Raises ``InputError`` for a photograph without scikit-image.
    """
    if kind == "photograph":
        return draw_photograph(height, width, rng)
    canvas = PAINTERS[kind](height * SUPERSAMPLING, width * SUPERSAMPLING, rng)
    small = np.asarray(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    if kind != "scene" and rng.random() < 0.5:
        # Because of lenses and demosaicing, no photograph is as sharp as a drawing.
        small = blur(small, rng.uniform(0.3, 1.1))
    return small


class SyntheticPictures:
    """A fixed sequence of ``count`` square drawn pictures: number i depends on ``seed`` and i alone.

    Pictures are drawn when first asked for and kept, 3 bytes a pixel. Raises ``InputError`` for an unknown kind.
    """

    def __init__(self, count: int, size: int, seed: int, mixture: Mapping[str, float] = MIXTURE) -> None:
        unknown = sorted(set(mixture) - set(PAINTERS))
        if unknown:
            raise InputError(
                f"There is no kind of drawn picture called {unknown[0]!r}; there are {', '.join(PAINTERS)}."
            )
        self._count, self._size, self._seed = count, size, seed
        self._kinds = list(mixture)
        self._shares = [mixture[kind] / sum(mixture.values()) for kind in self._kinds]
        self._drawn: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> torch.Tensor:
        """Picture ``index`` as a (3, size, size) uint8 tensor."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index not in self._drawn:
            rng = np.random.default_rng([self._seed, index])
            kind = str(rng.choice(self._kinds, p=self._shares))
            drawn = draw_picture(kind, self._size, self._size, rng)
            self._drawn[index] = torch.as_tensor(drawn).permute(2, 0, 1).contiguous()
        return self._drawn[index]
