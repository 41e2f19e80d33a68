"""The bundled models against bicubic, Lanczos and realesr-general-x4v3 on Set5: quality and time.

    python benchmarks/lite_models.py --set5 FOLDER_WITH_THE_FIVE_PICTURES [--models-dir FOLDER]

Pictures are cut to a multiple of the scale, reduced by antialiased bicubic weights (as MATLAB's imresize does),
rounded to 8 bits, enlarged, rounded again, and compared by PSNR of the BT.601 luma without a border of the scale: the
protocol of the papers. Set5 (Bevilacqua et al. 2012) is not part of this package. Ends with 1 if a bundled model
misses its bar: +1.5 dB (x2) or +0.8 dB (x4) over bicubic on average, and no picture under bicubic.
"""

# The pack is found by the name it is installed under, which pyright does not follow.
# pyright: reportMissingImports=false, reportUnknownVariableType=false

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.image.resize import resize
from backplate.core.media.picture.read import READABLE_SUFFIXES, read_picture
from backplate.core.metrics.pair import Channel
from backplate.core.metrics.psnr import psnr
from backplate.core.tiled.pipeline import upscale
from backplate.core.types import Size
from backplate.model_loader.errors import ModelError
from backplate.model_loader.find import BUNDLED, default_folders, find_model
from backplate.model_loader.loaded import load_model

BARS = {2: 1.5, 4: 0.8}
ALSO = {4: ("realesr-general-x4v3",)}

Enlarge = Callable[[torch.Tensor], torch.Tensor]


def to_8_bits(picture: torch.Tensor) -> torch.Tensor:
    return (picture.clamp(0, 1) * 255.0).round() / 255.0


def bicubic(picture: torch.Tensor, size: Size) -> torch.Tensor:
    options = {"mode": "bicubic", "align_corners": False, "antialias": True}
    return torch.nn.functional.interpolate(picture, (size.height, size.width), **options)


def pairs(folder: Path, scale: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """(small, reference) of every picture, by name."""
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in READABLE_SUFFIXES:
            continue
        picture = read_picture(path).picture
        height, width = (side // scale * scale for side in picture.shape[-2:])
        reference = picture[..., :height, :width].expand(-1, 3, -1, -1)
        found[path.stem] = to_8_bits(bicubic(reference, Size(width // scale, height // scale))), reference
    return found


def by_model(file: Path) -> Enlarge:
    upscaler = EagerUpscaler(load_model(file), torch.device("cpu"))
    return lambda picture: upscale(picture, upscaler)


def methods(scale: int, models_dir: Path | None) -> dict[str, Enlarge]:
    """What is compared at a scale, by name; bicubic first."""

    def times(picture: torch.Tensor) -> Size:
        return Size(picture.shape[-1], picture.shape[-2]).scaled(scale)

    compared: dict[str, Enlarge] = {
        "bicubic": lambda picture: bicubic(picture, times(picture)),
        "Lanczos": lambda picture: resize(picture, times(picture)),
        f"backplate-lite-x{scale}": by_model(BUNDLED / f"backplate-lite-x{scale}.safetensors"),
    }
    for name in ALSO.get(scale, ()):
        try:
            compared[name] = by_model(find_model(name, default_folders(models_dir)))
        except ModelError as error:
            print(f"without {name}: {error}", file=sys.stderr)
    return compared


def measure(enlarge: Enlarge, pictures: dict[str, tuple[torch.Tensor, torch.Tensor]], scale: int) -> list[float]:
    """PSNR of each picture, then seconds a megapixel of result (the better of two rounds)."""
    values = [
        psnr(to_8_bits(enlarge(small)), reference, channel=Channel.Y, border=scale)[0]
        for small, reference in pictures.values()
    ]
    rounds: list[float] = []
    for _ in range(2):
        started = time.perf_counter()
        for small, _reference in pictures.values():
            enlarge(small)
        rounds.append(time.perf_counter() - started)
    megapixels = sum(reference.shape[-1] * reference.shape[-2] for _, reference in pictures.values()) / 1e6
    return [*values, min(rounds) / megapixels]


def compare(folder: Path, scale: int, models_dir: Path | None) -> bool:
    """Print the table of a scale; whether the bundled model meets its bar."""
    pictures = pairs(folder, scale)
    rows = {name: measure(run, pictures, scale) for name, run in methods(scale, models_dir).items()}
    print(
        f"\nSet5 x{scale}, PSNR-Y in dB"
        + " " * 8
        + " ".join(f"{name:>9}" for name in [*pictures, "mean", "gain", "s/MP"])
    )
    base = rows["bicubic"][:-1]
    for name, (*values, seconds) in rows.items():
        mean = sum(values) / len(values)
        cells = [*values, mean, mean - sum(base) / len(base)]
        print(f"{name:<28}" + " ".join(f"{cell:9.2f}" for cell in cells) + f" {seconds:9.2f}")
    gains = [ours - theirs for ours, theirs in zip(rows[f"backplate-lite-x{scale}"][:-1], base, strict=True)]
    mean_gain = sum(gains) / len(gains)
    met = mean_gain >= BARS[scale] and min(gains) >= 0
    print(
        f"backplate-lite-x{scale}: {mean_gain:+.2f} dB over bicubic on average (bar {BARS[scale]:+.1f}), "
        f"{min(gains):+.2f} dB at worst (bar 0): {'met' if met else 'MISSED'}"
    )
    return met


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--set5", type=Path, required=True, help="folder of baby, bird, butterfly, head and woman")
    parser.add_argument("--models-dir", type=Path, help="folder of realesr-general-x4v3, if it is to be compared")
    given = parser.parse_args(arguments)
    results = [compare(given.set5, scale, given.models_dir) for scale in BARS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
