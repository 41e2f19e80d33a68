"""Labels with small print, drawn from seeds, and how many of their words an OCR engine reads."""

# The OCR engine publishes no types.
# pyright: reportMissingImports=false, reportUnknownVariableType=false

from __future__ import annotations

import random
from functools import cache
from typing import Any

import numpy as np
import torch
from backplate.core.image.resize import resize
from backplate.core.types import Size
from PIL import Image, ImageDraw, ImageFont

SCALE = 4
LETTERS = (9, 11, 13, 16, 20)
"""Heights of the type in source pixels, largest letters with their descenders."""
WORDS = [
    "ORIGINAL", "HERBAL", "BALSAM", "organic", "Lavender", "Extract", "250ml", "contains", "Glycerin", "Vitamin",
    "natural", "Origin", "shake", "before", "use", "keep", "away", "from", "children", "Batch", "L4827", "best",
    "before", "03/2027", "Recycle", "Bottle", "SENSITIVE", "SKIN", "Rosemary", "Almond", "Oil",
]  # fmt: skip


def label(seed: int) -> tuple[torch.Tensor, list[str]]:
    """A picture (1, 3, h, w) of four lines in one of five sizes, dark on light or light on dark, and its words."""
    random_words = random.Random(seed)
    height = SCALE * LETTERS[seed % len(LETTERS)]
    font = ImageFont.load_default(height)
    lines = [random_words.sample(WORDS, 3) for _ in range(4)]
    width = max(int(font.getlength(" ".join(line))) for line in lines) + 2 * height
    size = (-(-width // SCALE) * SCALE, -(-8 * height // SCALE) * SCALE)
    colours = [tuple(random_words.randrange(*span) for _ in range(3)) for span in ((190, 250), (10, 90))]
    if seed % 3 == 2:
        colours.reverse()
    image = Image.new("RGB", size, colours[0])
    draw = ImageDraw.Draw(image)
    for index, line in enumerate(lines):
        draw.text((height, (1 + 1.5 * index) * height), " ".join(line), font=font, fill=colours[1])
    drawn = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
    small = resize(drawn, Size(size[0] // SCALE, size[1] // SCALE)).clamp(0, 1)
    return (255 * small).round() / 255, [word for line in lines for word in line]


def words_read(picture: torch.Tensor, words: list[str]) -> int:
    """How many of the words the recognised text contains, letter by letter; spaces do not count."""
    pixels = (255 * picture[0].clamp(0, 1)).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
    found, _ = _engine()(np.ascontiguousarray(pixels))
    text = "".join(line[1] for line in found or []).replace(" ", "")
    return sum(word in text for word in words)


@cache
def _engine() -> Any:
    """Raises ``ImportError`` without the extra ``ocr``."""
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR()
