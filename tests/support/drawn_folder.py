"""Folders of small pictures of every kind, for tests in several places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from backplate.core.media.picture.read import write_picture
from PIL import Image

SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".tiff", ".gif", ".avif")
BROKEN = ("broken_cut.jpg", "broken_empty.png", "sub/broken_text.webp")


def drawing(height: int, width: int, seed: int) -> np.ndarray:
    """uint8 (H, W, 3): soft waves with a dark box, another for each seed."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [127 + 80 * np.sin((x * (c + 1) + y * (3 - c)) / 9 + seed) for c in range(3)]
    picture = np.stack(waves, axis=-1)
    picture[height // 4 : height // 2, width // 3 : width // 2] = 20
    return picture.round().astype(np.uint8)


def draw_folder(folder: Path, plain: int) -> Path:
    """``plain`` ordinary pictures in seven formats and two folders, one 1x1, one with 16 bits, one CMYK, one turned
    by EXIF, and three that are no whole pictures."""
    (folder / "sub").mkdir(parents=True)
    for index in range(plain):
        suffix = SUFFIXES[index % len(SUFFIXES)]
        path = folder / ("sub" if index % 3 == 2 else "") / f"product {index}{suffix}"
        image = Image.fromarray(drawing(12 + index % 9, 10 + index % 7, index))
        (image.quantize(16) if suffix == ".gif" else image).save(path)
    Image.new("RGB", (1, 1), (200, 100, 50)).save(folder / "single.png")
    deep = torch.from_numpy(drawing(14, 18, 5) / 255).movedim(2, 0)[None].float()
    write_picture(folder / "deep.png", deep, bit_depth=16)
    Image.fromarray(drawing(12, 16, 6)).convert("CMYK").save(folder / "inks.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(drawing(12, 20, 7)).save(folder / "turned.jpg", exif=exif)
    whole = folder / "whole.jpg"
    Image.fromarray(drawing(64, 64, 8)).save(whole)
    (folder / BROKEN[0]).write_bytes(whole.read_bytes()[:700])
    whole.unlink()
    (folder / BROKEN[1]).touch()
    (folder / BROKEN[2]).write_text("this is no picture")
    return folder
