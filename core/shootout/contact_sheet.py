"""One PNG with the most telling crops of all models side by side, labelled."""

# Pillow publishes partial types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont

from .results import SOURCE, Crop, ShootoutResult

VIEW = 200
"""Side of one crop in the sheet, in pixels."""
GAP = 6
LINE = 20
LABEL_WIDTH = 24
"""Characters of a label that fit above a view."""
MOST_ROWS = 8
PAPER, INK = (250, 250, 250), (20, 20, 20)


def contact_sheet(result: ShootoutResult) -> Image.Image:
    """A row for each picture, at most eight, with the crop in which the models differ most. Columns are the source,
    plain Lanczos, the models and the reference. Pixels are enlarged without smoothing."""
    rows = first_of_each_picture(result.crops)[:MOST_ROWS]
    labels = list(dict.fromkeys(label for crop in rows for label in crop.views))
    labels.sort(key=lambda label: label != SOURCE)
    columns = max(len(labels), 3)
    height = LINE + max(len(rows), 1) * (LINE + VIEW + GAP)
    sheet = Image.new("RGB", (GAP + columns * (VIEW + GAP), height + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    if not rows:
        draw.text((GAP, GAP), "No picture was enlarged by two models.", INK, font)
    for index, label in enumerate(labels):
        draw.text((GAP + index * (VIEW + GAP), GAP // 2), _shortened(label, LABEL_WIDTH), INK, font)
    for number, crop in enumerate(rows):
        top = LINE + number * (LINE + VIEW + GAP)
        place = f"{crop.picture}, {crop.box.size} at ({crop.box.x}, {crop.box.y})"
        draw.text((GAP, top + GAP // 2), _shortened(place, columns * LABEL_WIDTH), INK, font)
        for index, label in enumerate(labels):
            if label in crop.views:
                sheet.paste(_enlarged(crop.views[label]), (GAP + index * (VIEW + GAP), top + LINE))
    return sheet


def first_of_each_picture(crops: Sequence[Crop]) -> list[Crop]:
    """The most telling crop of each picture, most telling first."""
    found: dict[str, Crop] = {}
    for crop in sorted(crops, key=lambda each: -each.spread):
        found.setdefault(crop.picture, crop)
    return list(found.values())


def as_image(view: torch.Tensor) -> Image.Image:
    """(3, h, w) uint8."""
    return Image.fromarray(view.permute(1, 2, 0).contiguous().numpy())


def _enlarged(view: torch.Tensor) -> Image.Image:
    image = as_image(view)
    scale = VIEW / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 10]}...{text[-7:]}"
