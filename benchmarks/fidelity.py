"""How true to their sources results are: as models give them, with colours kept, and locked.

    python benchmarks/fidelity.py PICTURE... --model FILE... [--side 192] [--labels] [-o TABLE.md]

Of each picture the middle is enlarged, ``--side`` pixels at most. The table has for each model the mean (and the worst)
over the pictures of: CIEDE2000 between the means of flat blocks of 8x8 source pixels; PSNR of the result, reduced to
the source's size; edge width against that of the model's own result, and how much softer the source's edges are than
those of that result when both have the source's size; overshoot at edges beyond that of the source itself when it is
enlarged by Lanczos, also of that picture when it is locked, which is what agreeing with the source costs without any
model; what a second lock changes; and the share of the time that keeping colours took. The rows "if
reduced" are of a picture four times as large, reduced first, so that there is a sharp one that the source was.
``--labels`` (extra ``ocr``) counts the words that are read on sixty drawn labels, and how many more in a hundred than
with Lanczos, with the interval that chance gives (95 %, over labels). Ends with 1 if a flat block is off by more than
0.3 on average in a picture, or a locked result is under 45 dB.
"""

# The pack is found by the name it is installed under, which pyright does not follow.
# pyright: reportMissingImports=false, reportUnknownVariableType=false

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from statistics import mean, stdev

import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.image.alpha import bleed
from backplate.core.image.colour import to_rgb
from backplate.core.image.fidelity_lock import LEAST_SIDE, LockSettings, fidelity_lock
from backplate.core.image.filters import local_maximum, local_minimum
from backplate.core.image.keep_colours import keep_colours
from backplate.core.image.protect import magnified
from backplate.core.image.resize import resize
from backplate.core.media.picture.read import read_picture
from backplate.core.metrics.colour_difference import ciede2000, srgb_to_lab
from backplate.core.metrics.edge_width import edge_width
from backplate.core.metrics.errors import NotMeasurable
from backplate.core.metrics.fidelity import fidelity
from backplate.core.metrics.psnr import psnr
from backplate.core.metrics.ringing import overshoot
from backplate.core.types import FloatBox, Size
from backplate.model_loader.loaded import load_model
from labels import label, words_read
from torch.nn.functional import avg_pool2d

BLOCK, FLAT = 8, 10 / 255
"""Side of a block, and the range of values up to which it is flat."""
MOST_DIFFERENCE, LEAST_PSNR = 0.3, 45.0
LABELS = 60

Figures = dict[str, float]


def middle(path: Path, side: int) -> torch.Tensor:
    file = read_picture(path)
    picture = file.picture if file.alpha is None else bleed(file.picture, file.alpha)
    height, width = picture.shape[-2:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    return to_rgb(picture)[..., top : top + side, left : left + side].contiguous()


def flat_difference(source: torch.Tensor, result: torch.Tensor) -> float:
    """Mean CIEDE2000 between the means of flat blocks. Raises ``NotMeasurable`` if there is none."""
    height, width = (side // BLOCK * BLOCK for side in source.shape[-2:])
    source = source[..., :height, :width]
    scale = result.shape[3] // width if width else 1
    small = avg_pool2d(result, scale)[..., :height, :width]
    reach = BLOCK // 2
    spread = (local_maximum(source, reach) - local_minimum(source, reach)).amax(dim=1)
    flat = spread[:, reach::BLOCK, reach::BLOCK] < FLAT
    first, second = (srgb_to_lab(avg_pool2d(each, BLOCK).double()) for each in (source, small))
    if not flat.any():
        raise NotMeasurable("no block of the picture is flat")
    return float(ciede2000(first, second)[flat].mean())


def measured(source: torch.Tensor, upscaler: EagerUpscaler) -> Figures:
    started = time.perf_counter()
    own = upscaler(source)
    ran = time.perf_counter()
    kept = torch.cat(list(keep_colours(iter([own]), source, upscaler.spec.scale)), dim=2)
    done = time.perf_counter()
    locked = fidelity_lock(kept, source, LockSettings(register=False)).picture
    again = fidelity_lock(locked, source, LockSettings(register=False)).picture
    found: Figures = {"time of colours, %": 100 * (done - ran) / (ran - started)}
    results = {"own": own, "kept": kept, "locked": locked}
    with suppress(NotMeasurable):
        found |= {f"flat CIEDE2000, {name}": flat_difference(source, each) for name, each in results.items()}
    found |= {f"LR-PSNR, {name}": fidelity(source, each)[0].lr_psnr for name, each in results.items()}
    found |= of_edges(source, own, locked)
    found["second lock, levels"] = 255 * float((again - locked).abs().max())
    return found


def reduced_first(truth: torch.Tensor, upscaler: EagerUpscaler) -> Figures:
    """Of a picture that was reduced before it is enlarged: edge width, and PSNR to what it was."""
    scale = upscaler.spec.scale
    height, width = (side // scale for side in truth.shape[-2:])
    if min(height, width) < LEAST_SIDE:
        return {}
    truth = truth[..., : scale * height, : scale * width]
    source = (255 * resize(truth, Size(width, height)).clamp(0, 1)).round() / 255
    own = upscaler(source)
    kept = torch.cat(list(keep_colours(iter([own]), source, scale)), dim=2)
    locked = fidelity_lock(kept, source, LockSettings(register=False)).picture
    found = {
        f"PSNR to the truth, {name}, if reduced": psnr(each, truth)[0]
        for name, each in (("own", own), ("locked", locked))
    }
    with suppress(NotMeasurable):
        ratio = edge_width(locked, own)[0] / edge_width(own)[0]
        found["edge width, locked to own, if reduced, %"] = 100 * (ratio - 1)
    return found


def of_edges(source: torch.Tensor, own: torch.Tensor, locked: torch.Tensor) -> Figures:
    found: Figures = {}
    try:
        found["edge width, locked to own, %"] = 100 * (edge_width(locked, own)[0] / edge_width(own)[0] - 1)
        size = Size(own.shape[3], own.shape[2])
        plain = resize(source, size).clamp(0, 1)
        again = resize(resize(own, Size(source.shape[3], source.shape[2])), size).clamp(0, 1)
        found["edge width, source to own reduced, %"] = 100 * (
            edge_width(plain, own)[0] / edge_width(again, own)[0] - 1
        )
        base = overshoot(source, plain)[0]
        neutral = fidelity_lock(plain, source, LockSettings(register=False)).picture
        for name, result in (("own", own), ("locked", locked), ("Lanczos locked", neutral)):
            found[f"overshoot beyond the source's, {name}, %"] = overshoot(source, result)[0] - base
    except NotMeasurable:
        pass
    return found


def worst(name: str, values: list[float]) -> float:
    if "PSNR" in name:
        return min(values)
    return max(values) if "overshoot" in name else max(values, key=abs)


def of_labels(upscalers: dict[str, EagerUpscaler]) -> str:
    """How many words on the drawn labels are read correctly."""
    counts: dict[str, list[int]] = defaultdict(list)
    drawn: list[int] = []
    for seed in range(LABELS):
        source, words = label(seed)
        size = Size(4 * source.shape[3], 4 * source.shape[2])
        box = FloatBox(0, 0, source.shape[3], source.shape[2])
        plain = resize(source, size)
        results = {
            "Lanczos": plain,
            "Lanczos, locked": fidelity_lock(plain.clamp(0, 1), source, LockSettings(register=False)).picture,
            "protected": torch.cat(list(magnified(source, box, size)), dim=2),
        }
        for name, upscaler in upscalers.items():
            results[name] = torch.cat(list(keep_colours(iter([upscaler(source)]), source, 4)), dim=2)
            results[f"{name}, locked"] = fidelity_lock(results[name], source, LockSettings(register=False)).picture
        drawn.append(len(words))
        for name, result in results.items():
            counts[name].append(words_read(result, words))
    lines = [f"| of {sum(drawn)} words | read | more in a hundred than Lanczos |", "|---|---|---|"]
    for name, count in counts.items():
        more, chance = difference(count, counts["Lanczos"], drawn)
        lines.append(f"| {name} | {sum(count)} | {more:+.1f} \u00b1 {chance:.1f} |")
    return "\n".join(lines)


def difference(counts: list[int], others: list[int], drawn: list[int]) -> tuple[float, float]:
    """How many more words are read in a hundred, and half the 95 % interval of that mean over the labels."""
    by_label = [100 * (one - other) / words for one, other, words in zip(counts, others, drawn, strict=True)]
    return mean(by_label), 1.96 * stdev(by_label) / len(by_label) ** 0.5


def table(by_model: dict[str, dict[str, list[float]]]) -> str:
    names = list(next(iter(by_model.values())))
    lines = ["| mean (worst) | " + " | ".join(by_model) + " |", "|---|" + "---|" * len(by_model)]
    for name in names:
        cells = [
            f"{sum(values) / len(values):.2f} ({worst(name, values):.2f})" if (values := found[name]) else "-"
            for found in by_model.values()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@torch.inference_mode()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="*")
    parser.add_argument("--model", type=Path, nargs="+", required=True)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--labels", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    if options.labels:
        print(of_labels({path.stem: EagerUpscaler(load_model(path), torch.device("cpu")) for path in options.model}))
    if not options.pictures:
        return 0
    by_model: dict[str, dict[str, list[float]]] = {}
    for path in options.model:
        upscaler = EagerUpscaler(load_model(path), torch.device("cpu"))
        found = by_model.setdefault(path.stem, defaultdict(list))
        for picture in options.pictures:
            figures = measured(middle(picture, options.side), upscaler)
            figures |= reduced_first(middle(picture, upscaler.spec.scale * options.side), upscaler)
            for name, value in figures.items():
                found[name].append(value)
            print(path.stem, picture.name, file=sys.stderr, flush=True)
    text = table(by_model)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    found = list(by_model.values())
    off = any(each > MOST_DIFFERENCE for one in found for each in one["flat CIEDE2000, kept"])
    return int(off or any(each < LEAST_PSNR for one in found for each in one["LR-PSNR, locked"]))


if __name__ == "__main__":
    sys.exit(main())
