"""The bundled models against bicubic, Lanczos and realesr-general-x4v3: quality and time.

    python benchmarks/bundled_models.py --set5 FOLDER --photographs FOLDER [--models-dir FOLDER]

Pictures are cut to a multiple of the scale, reduced by antialiased bicubic weights (as MATLAB's imresize does),
rounded to 8 bits, enlarged, rounded again, and compared by PSNR of the BT.601 luma without a border of the scale: the
protocol of the papers. White is put behind transparent pictures. The photographs are also compared after JPEG: the
small picture is saved by Pillow with quality 60 (4:2:0) and read again. FLIP (Andersson et al. 2020; 0 is no visible
difference) is what an eye would see when it switches between result and original; it needs no weights, but
``pip install flip-evaluator``, and is left out without it. Time is seconds a megapixel of result over the
photographs, the better of two rounds. Set5 (Bevilacqua et al. 2012) and the photographs (``PHOTOGRAPHS``, of
Real-ESRGAN's examples) are not part of this package. Ends with 1 if a bundled model is under bicubic on any picture
that was not compressed.
"""

# The pack is found by the name it is installed under, which pyright does not follow.
# pyright: reportMissingImports=false, reportUnknownVariableType=false

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.image.resize import resize
from backplate.core.media.picture.read import read_picture
from backplate.core.metrics.pair import Channel
from backplate.core.metrics.psnr import psnr
from backplate.core.metrics.ssim import ssim
from backplate.core.tiled.pipeline import upscale
from backplate.core.types import Size, size_of
from backplate.model_loader.errors import ModelError
from backplate.model_loader.find import BUNDLED, default_folders, find_model
from backplate.model_loader.loaded import load_model
from PIL import Image

try:
    from flip_evaluator import evaluate as evaluate_flip
except ImportError:
    evaluate_flip = None

SET5 = ("baby.bmp", "bird.bmp", "butterfly.bmp", "head.bmp", "woman.bmp")
PHOTOGRAPHS = (
    "00003.png",
    "00017_gray.png",
    "ADE_val_00000114.jpg",
    "OST_009.png",
    "baboon.png",
    "children-alpha.png",
    "tree_alpha_16bit.png",
    "wolf_gray.jpg",
)
SIZES = ("lite", "standard")
ALSO = {4: ("realesr-general-x4v3",)}
JPEG_QUALITY = 60

Enlarge = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Example:
    """A small picture and what it was made from, (1, 3, H, W) within 0..1."""

    small: torch.Tensor
    reference: torch.Tensor


def to_8_bits(picture: torch.Tensor) -> torch.Tensor:
    return (picture.clamp(0, 1) * 255.0).round() / 255.0


def bicubic(picture: torch.Tensor, size: Size) -> torch.Tensor:
    options = {"mode": "bicubic", "align_corners": False, "antialias": True}
    return torch.nn.functional.interpolate(picture, (size.height, size.width), **options)


def compressed(picture: torch.Tensor) -> torch.Tensor:
    """``picture`` after JPEG."""
    file = io.BytesIO()
    pixels = (picture[0] * 255.0).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    read = np.asarray(Image.open(file).convert("RGB")).copy()
    return torch.as_tensor(read).permute(2, 0, 1)[None].float() / 255.0


def on_white(path: Path) -> torch.Tensor:
    """RGB, (1, 3, H, W), with white behind what is transparent, 8 bits a sample."""
    read = read_picture(path)
    colour = read.picture.expand(-1, 3, -1, -1)
    return to_8_bits(colour if read.alpha is None else colour * read.alpha + (1.0 - read.alpha)).contiguous()


def examples(folder: Path, names: Sequence[str], scale: int, *, jpeg: bool = False) -> list[Example]:
    made: list[Example] = []
    for name in names:
        picture = on_white(folder / name)
        height, width = (side // scale * scale for side in picture.shape[-2:])
        reference = picture[..., :height, :width]
        small = to_8_bits(bicubic(reference, Size(width // scale, height // scale)))
        made.append(Example(compressed(small) if jpeg else small, reference))
    return made


def by_model(file: Path) -> Enlarge:
    upscaler = EagerUpscaler(load_model(file), torch.device("cpu"))
    return lambda picture: upscale(picture, upscaler)


def methods(scale: int, models_dir: Path | None) -> dict[str, Enlarge]:
    """The methods compared at a scale, by name; bicubic first."""

    def times(picture: torch.Tensor) -> Size:
        return size_of(picture).scaled(scale)

    compared: dict[str, Enlarge] = {
        "bicubic": lambda picture: bicubic(picture, times(picture)),
        "Lanczos": lambda picture: resize(picture, times(picture)),
    }
    for size in SIZES:
        file = BUNDLED / f"backplate-{size}-x{scale}.safetensors"
        if file.is_file():
            compared[file.stem] = by_model(file)
    for name in ALSO.get(scale, ()):
        try:
            compared[name] = by_model(find_model(name, default_folders(models_dir)))
        except ModelError as error:
            print(f"without {name}: {error}", file=sys.stderr)
    return compared


def seconds(enlarge: Enlarge, pictures: Sequence[Example]) -> float:
    """Per megapixel of result, the better of two rounds."""
    rounds: list[float] = []
    for _ in range(2):
        started = time.perf_counter()
        for each in pictures:
            enlarge(each.small)
        rounds.append(time.perf_counter() - started)
    return min(rounds) / (sum(each.reference.shape[-1] * each.reference.shape[-2] for each in pictures) / 1e6)


@dataclass(frozen=True)
class Scores:
    """Scores on the luma of each picture; ``flip`` on the colours, empty without the package."""

    psnr: list[float]
    ssim: list[float]
    flip: list[float]


def scores(enlarge: Enlarge, pictures: Sequence[Example], scale: int) -> Scores:
    results = [(to_8_bits(enlarge(each.small)), each.reference) for each in pictures]
    return Scores(
        [psnr(ours, theirs, channel=Channel.Y, border=scale)[0] for ours, theirs in results],
        [ssim(ours, theirs, channel=Channel.Y, border=scale)[0] for ours, theirs in results],
        [flip(ours, theirs) for ours, theirs in results] if evaluate_flip else [],
    )


def flip(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Mean FLIP at the package's viewing distance (0.7 m before a 4K display 0.7 m wide)."""
    reference, test = (each[0].permute(1, 2, 0).numpy() for each in (theirs, ours))
    assert evaluate_flip is not None
    return float(evaluate_flip(reference, test, "LDR")[1])


def compare(title: str, pictures: Sequence[Example], compared: Mapping[str, Enlarge], scale: int) -> float:
    """Print a table; the least gain over bicubic of a bundled model on any picture."""
    print(f"\n{title}\n{'':<24}{'PSNR-Y':>9}{'gain':>8}{'worst':>8}{'SSIM-Y':>9}{'FLIP':>8}  gain of each picture")
    base: list[float] = []
    least = float("inf")
    for name, enlarge in compared.items():
        found = scores(enlarge, pictures, scale)
        base = base or found.psnr
        gains = [ours - theirs for ours, theirs in zip(found.psnr, base, strict=True)]
        each = " ".join(f"{gain:+.2f}" for gain in gains)
        seen = f"{fmean(found.flip):8.4f}" if found.flip else f"{'':8}"
        figures = f"{fmean(found.psnr):9.2f}{fmean(gains):+8.2f}{min(gains):+8.2f}{fmean(found.ssim):9.4f}{seen}"
        print(f"{name:<24}{figures}  {each}")
        if name.startswith("backplate"):
            least = min(least, *gains)
    return least


def print_times(pictures: Sequence[Example], compared: Mapping[str, Enlarge]) -> None:
    """Seconds a megapixel, and as a share of the slowest method's."""
    taken = {name: seconds(enlarge, pictures) for name, enlarge in compared.items()}
    slowest = max(taken, key=lambda name: taken[name])
    for name, value in taken.items():
        print(f"{name:<24}{value:9.3f} s/MP, {value / taken[slowest]:.3f} of {slowest}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--set5", type=Path, required=True, help="folder of baby, bird, butterfly, head and woman")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of Real-ESRGAN's example pictures")
    parser.add_argument("--models-dir", type=Path, help="folder of realesr-general-x4v3, if it is to be compared")
    given = parser.parse_args(arguments)
    least = float("inf")
    for scale in (2, 4):
        compared = methods(scale, given.models_dir)
        photographs = examples(given.photographs, PHOTOGRAPHS, scale)
        least = min(least, compare(f"Set5, x{scale}", examples(given.set5, SET5, scale), compared, scale))
        least = min(least, compare(f"Eight photographs, x{scale}", photographs, compared, scale))
        coded = examples(given.photographs, PHOTOGRAPHS, scale, jpeg=True)
        compare(f"Eight photographs, x{scale}, JPEG quality {JPEG_QUALITY}", coded, compared, scale)
        print_times(photographs, compared)
    print(f"\nleast gain over bicubic of a bundled model on a clean picture: {least:+.2f} dB")
    return 0 if least >= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
