"""What dither and grain do, in figures: ``python benchmarks/finish.py [--model NAME] [PICTURE...]``.

Dither: a gradient of 16 bits over so many levels of 255, as a file of 8 bits: the longest run of equal values along a
row, the rounding error that is left after averaging over 15x15 pixels (what the eye sees of bands from a distance), and
the bytes of a PNG and of a JPEG. Grain: noise of known strength on each picture, enlarged by the model: strength in the
source, in the result, and in the result with ``--grain keep``.
"""

# The pack is found by the name it is installed under, which pyright does not follow.
# pyright: reportMissingImports=false, reportUnknownVariableType=false

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import torch
from backplate.core.image.dither import Dither, to_levels
from backplate.core.image.grain import Grain, add_grain, measure_grain, missing_grain
from backplate.core.jobs.library import load_model, upscale
from backplate.core.media.picture.read import read_picture
from pack import parser_of
from PIL import Image

WIDTH, HEIGHT = 2000, 500
STRENGTHS = (2.0, 4.0, 8.0)


def longest_run(row: np.ndarray) -> int:
    steps = np.flatnonzero(np.diff(row.astype(int)))
    return int(np.diff(np.concatenate([[-1], steps, [len(row) - 1]])).max())


def bytes_of(levels: np.ndarray, kind: str) -> int:
    data = io.BytesIO()
    Image.fromarray(levels).save(data, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return data.tell()


def dither_table() -> None:
    print("| levels over 2000 px | dither | longest run, px | error over 15x15, levels | PNG, kB | JPEG, kB |")
    print("|---:|---|---:|---:|---:|---:|")
    for levels in (4, 16, 64):
        ramp = torch.linspace(100, 100 + levels, WIDTH).div(255).mul(65535).round().div(65535)
        picture = ramp.expand(1, 3, HEIGHT, WIDTH).contiguous()
        for dither in (Dither.OFF, Dither.AUTO):
            result = to_levels(picture, dither, 0, HEIGHT)
            error = cv2.blur(result[..., 0].astype(np.float32) - picture[0, 0].numpy() * 255, (15, 15))
            runs = np.median([longest_run(row) for row in result[::25, :, 0]])
            sizes = [bytes_of(result, kind) / 1000 for kind in ("PNG", "JPEG")]
            figures = f"{runs:.0f} | {np.sqrt(np.mean(error**2)):.3f} | {sizes[0]:.0f} | {sizes[1]:.0f}"
            print(f"| {levels} | {dither.value} | {figures} |")


def grainy(picture: torch.Tensor, strength: float) -> torch.Tensor:
    noise = np.random.default_rng(0).standard_normal(tuple(picture.shape[2:])).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.6)
    noise *= strength / 255 / noise.std()
    return (picture + torch.from_numpy(noise)).clamp(0, 1).mul(255).round().div(255)


def said(grain: Grain | None) -> str:
    return "none" if grain is None else f"{255 * float(np.median(grain.levels)):.1f}"


def grain_table(pictures: list[Path], model: str) -> None:
    upscaler = load_model(model)
    print("| picture | added to it | found in it | in the result | given back | in the result then |")
    print("|---|---:|---:|---:|---:|---:|")
    for path in pictures:
        clean = read_picture(path).picture[..., :256, :256].contiguous()
        for strength in (0.0, *STRENGTHS):
            source = grainy(clean, strength) if strength else clean
            result = upscale(source, upscaler).clamp(0, 1)
            missing = missing_grain(source, result)
            after = measure_grain(add_grain(result, missing)) if missing else measure_grain(result)
            row = (f"{strength:g}", *map(said, (measure_grain(source), measure_grain(result), missing, after)))
            print(f"| {path.name} | {' | '.join(row)} |", flush=True)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE")
    parser.add_argument("--model", default="backplate-lite-x2", help="a name or a path")
    wanted = parser.parse_args()
    dither_table()
    if wanted.pictures:
        print()
        grain_table(wanted.pictures, wanted.model)


if __name__ == "__main__":
    main()
