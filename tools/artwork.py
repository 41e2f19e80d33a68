"""Draws what the registry and the dialog of templates show: ``python tools/artwork.py``.

``docs/icon.png`` (400 x 400), ``docs/banner.png`` (21:9), and the cards beside the templates, all of one shape. Cards
that show results are cut to it; the others are drawn.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

ROOT = Path(__file__).resolve().parents[1]
CARD = (600, 400)
NIGHT, GLOW, PLATE = (24, 30, 44), (246, 190, 92), (236, 240, 246)


def sky(size: tuple[int, int], turns: float = 1.0) -> Image.Image:
    """A soft evening sky that wraps around at its left and right side."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 2 * math.pi * turns, width, endpoint=False), np.linspace(0, 1, height))
    wave = 0.5 + 0.25 * np.sin(x) + 0.25 * np.sin(2 * x + 1 + 3 * y)
    mix = np.clip(1.15 * y - 0.3 + 0.35 * wave, 0, 1)[..., None]
    colours = (1 - mix) * np.array(NIGHT) + mix * np.array(GLOW)
    return Image.fromarray(colours.round().astype(np.uint8))


def steps(picture: Image.Image, split: float) -> Image.Image:
    """Left of ``split`` (0 to 1) as coarse pixels, right of it as it is, with a line between."""
    width, height = picture.size
    cut, cell = round(split * width), max(2, width // 24)
    small = picture.resize((width // cell, height // cell), Image.Resampling.BOX)
    shown = picture.copy()
    shown.paste(small.resize(picture.size, Image.Resampling.NEAREST).crop((0, 0, cut, height)), (0, 0))
    ImageDraw.Draw(shown).rectangle((cut - 2, 0, cut + 1, height), fill=PLATE)
    return shown


def scene(size: tuple[int, int]) -> Image.Image:
    """A bottle before a backplate."""
    picture = sky((size[0] * 4, size[1] * 4))
    draw, (width, height) = ImageDraw.Draw(picture), (size[0] * 4, size[1] * 4)
    middle, floor, tall = width * 0.5, height * 0.86, height * 0.6
    draw.rectangle((0, floor, width, height), fill=(70, 60, 62))
    wide = tall * 0.22
    draw.rounded_rectangle((middle - wide, floor - tall * 0.7, middle + wide, floor), wide * 0.4, fill=PLATE)
    draw.rectangle((middle - wide * 0.35, floor - tall, middle + wide * 0.35, floor - tall * 0.65), fill=PLATE)
    draw.rectangle((middle - wide, floor - tall * 0.45, middle + wide, floor - tall * 0.2), fill=(196, 84, 62))
    return picture.resize(size, Image.Resampling.LANCZOS)


def texture(size: tuple[int, int]) -> Image.Image:
    """Tiles that continue across every border."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    period = width / 6
    value = 0.5 + 0.5 * np.sin(2 * math.pi * x / period) * np.sin(2 * math.pi * y / period)
    colours = value[..., None] * np.array(GLOW) + (1 - value[..., None]) * np.array(NIGHT)
    return Image.fromarray(colours.round().astype(np.uint8))


def main() -> None:
    steps(scene((400, 400)), 0.5).save(ROOT / "docs" / "icon.png", optimize=True)
    steps(scene((1050, 450)), 0.42).save(ROOT / "docs" / "banner.png", optimize=True)
    drawn = {
        "Quick start - upscale any picture (Backplate)": steps(scene(CARD), 0.5),
        "Upscale 360 panorama without a seam (Backplate)": steps(sky(CARD, 2.0), 0.5),
        "Upscale seamless texture (Backplate)": steps(texture(CARD), 0.5),
        "Generate background and upscale to 4K (Backplate)": steps(sky(CARD), 0.5),
    }
    for workflow in sorted((ROOT / "workflows").glob("*.json")):
        card = workflow.with_suffix(".jpg")
        if workflow.stem in drawn:
            picture = drawn[workflow.stem]
        else:
            with Image.open(card) as found:
                if found.size == CARD:
                    continue
                picture = ImageOps.fit(found.convert("RGB"), CARD, Image.Resampling.LANCZOS)
        picture.save(card, quality=88)


if __name__ == "__main__":
    main()
