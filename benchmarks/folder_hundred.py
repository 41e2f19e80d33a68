"""A hundred product pictures to 2000x2000, killed three times on the way and resumed; then every file is checked.

    python benchmarks/folder_hundred.py --source FOLDER_OF_PICTURES --work FOLDER_TO_WORK_IN

Builds 100 pictures from those in and below the source: seven formats, sub-folders, transparency, 16 bits, CMYK with a
profile (if one is given with --cmyk-profile), one turned by EXIF, one of 1x1, and three that are damaged. Runs
`backplate upscale` on them, kills it with SIGKILL after 25, 50 and 75 lines of the manifest, runs it to the end, and
compares each result with the same picture made alone. Exit code 0: 97 done, 3 listed, all equal.
"""

# The pack is found by the name it is installed under, which pyright does not follow.
# pyright: reportMissingImports=false, reportUnknownVariableType=false

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".tiff", ".gif", ".avif")
READABLE = (*SUFFIXES, ".jpeg", ".tif")
BROKEN = ("broken/cut.jpg", "broken/empty.png", "broken/text.webp")
ORDINARY = 92
SIZE = 2000


def build(source: Path, folder: Path, profile: Path | None) -> None:
    """100 pictures, each another crop of one of the source's, 120 to 500 pixels wide."""
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in READABLE)
    if not found:
        raise SystemExit(f"{source}: no pictures.")
    for name in ("shoes", "bags/summer", "broken"):
        (folder / name).mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(ORDINARY):
        suffix = SUFFIXES[index % len(SUFFIXES)]
        image = _crop(found[index % len(found)], random, keep_alpha=suffix in (".png", ".webp", ".tiff"))
        image = image.quantize(128) if suffix == ".gif" else image
        image.save(folder / ("", "shoes", "bags/summer")[index % 3] / f"item {index}{suffix}")
    _build_special(folder, _crop(found[0], random, keep_alpha=False), profile)


def _crop(path: Path, random: np.random.Generator, *, keep_alpha: bool) -> Image.Image:
    with Image.open(path) as opened:
        image = opened.convert("RGBA" if keep_alpha and "A" in opened.getbands() else "RGB")
    width, height = (int(random.integers(120, min(side, 500) + 1)) if side > 120 else side for side in image.size)
    left, top = int(random.integers(image.width - width + 1)), int(random.integers(image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def _build_special(folder: Path, image: Image.Image, profile: Path | None) -> None:
    from backplate.core.media.picture.read import write_picture
    from torch import from_numpy

    deep = from_numpy(np.asarray(image) / 255).movedim(2, 0)[None].float()
    write_picture(folder / "deep.png", deep, bit_depth=16)
    icc = profile.read_bytes() if profile else None
    image.convert("CMYK").save(folder / "inks.jpg", icc_profile=icc)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    Image.new("RGB", (1, 1), (200, 100, 50)).save(folder / "single.png")
    Image.new("LA", (150, 90), (120, 128)).save(folder / "see through.png")
    image.save(folder / BROKEN[0])
    (folder / BROKEN[0]).write_bytes((folder / BROKEN[0]).read_bytes()[:2000])
    (folder / BROKEN[1]).touch()
    (folder / BROKEN[2]).write_text("this is no picture")


def command(pictures: Path, output: Path, model: str) -> list[str]:
    words = ["upscale", str(pictures), "-o", str(output), "--model", model, "--size", f"{SIZE}x{SIZE}", "--recursive"]
    words += ["--fit", "pad", "--background", "white", "--resume", "--report"]
    return [sys.executable, "-m", "backplate.cli", *words]


def lines_of(manifest: Path) -> list[str]:
    return manifest.read_text().splitlines() if manifest.is_file() else []


def run_with_kills(words: Sequence[str], output: Path, kills: Sequence[int]) -> int:
    """The exit code of the last of ``len(kills) + 1`` runs; each of the others is killed when the manifest has so
    many lines."""
    for wanted in kills:
        run = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        while len(lines_of(output / "manifest.jsonl")) < wanted and run.poll() is None:
            time.sleep(0.02)
        run.kill()
        run.wait()
        files = sum(path.is_file() for path in output.rglob("*.*"))
        print(f"killed after {len(lines_of(output / 'manifest.jsonl'))} lines, {files} files", flush=True)
    return subprocess.run(words, check=False).returncode


def check(pictures: Path, output: Path, model: str) -> list[str]:
    """The faults of the results; each is compared with a result made from its source alone."""
    entries = {each["source"]: each for each in map(json.loads, lines_of(output / "manifest.jsonl"))}
    failed = sorted(name for name, entry in entries.items() if entry["status"] == "failed")
    problems = [f"failed: {failed}"] if failed != sorted(BROKEN) else []
    problems += [f"{len(entries)} pictures in the manifest"] if len(entries) != 100 else []
    problems += [f"left over: {path}" for path in output.rglob(".*.part")]
    for name, entry in entries.items():
        if entry["status"] != "failed":
            problems += _compared(pictures / name, output / entry["output"], output.parent, model)
    return problems


def _compared(source: Path, result: Path, work: Path, model: str) -> list[str]:
    from backplate.core.engines.registry import open_upscaler
    from backplate.core.image.canvas import Background, Fill
    from backplate.core.image.fit import Fit, Target
    from backplate.core.jobs.picture import PictureSettings, enlarge, read_source, write_enlarged
    from backplate.core.progress import Progress
    from backplate.model_loader.find import default_folders, find_model
    from backplate.model_loader.loaded import load_model
    from backplate.model_loader.precision import choose_device

    # As the command runs it: a different portion of rows may round a value the other way.
    upscaler = open_upscaler(load_model(find_model(model, default_folders(None))), choose_device(None))
    target = Target(fit=Fit.PAD, width=SIZE, height=SIZE)
    settings = PictureSettings(target=target, background=Background(Fill.COLOUR, "white"))
    alone = work / f"alone{result.suffix}"
    picture = read_source(source, alone, settings, upscaler.spec.scale)
    write_enlarged(alone, enlarge(picture, upscaler, settings, Progress()), picture, settings)
    with Image.open(result) as first, Image.open(alone) as second:
        problems = [] if first.size == (SIZE, SIZE) else [f"{result}: {first.size}"]
        if first.size != second.size or not np.array_equal(np.asarray(first), np.asarray(second)):
            problems.append(f"{result} differs from the one made alone")
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--work", type=Path, required=True, help="folder to work in; must not exist")
    parser.add_argument("--model", default="backplate-lite-x4")
    parser.add_argument("--cmyk-profile", type=Path, help="an ICC profile of a press, for the CMYK picture")
    options = parser.parse_args()
    pictures, output = options.work / "in", options.work / "out"
    build(options.source, pictures, options.cmyk_profile)
    code = run_with_kills(command(pictures, output, options.model), output, (25, 50, 75))
    problems = check(pictures, output, options.model)
    print("\n".join([f"exit code {code}", *problems, "all as made alone" if not problems else "not as it should be"]))
    raise SystemExit(bool(problems) or code != 2)


if __name__ == "__main__":
    main()
