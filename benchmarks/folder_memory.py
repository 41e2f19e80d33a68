"""Does the memory of a folder job grow with the folder? Peak resident memory for 20 and for 100 pictures.

    python benchmarks/folder_memory.py --model realesr-animevideov3 --source FOLDER_OF_PICTURES --size 1000

The pictures of the folder are linked under as many names as are needed. Each run is a process of its own. Without
--model, a model of a few hundred weights is made, so that only reading, fitting and writing are seen.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

from pack import load_pack, ours, peak_megabytes, run_self
from seeded_models import save_seeded

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
COUNTS = (20, 100)
ALLOWED = 1.10

ONE = "--one"
"""Stands before the words of a single run."""


def linked(source: Path, folder: Path, count: int) -> Path:
    """A folder with ``count`` links to the pictures in and below ``source``, over and over."""
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"{source}: no pictures.")
    folder.mkdir(parents=True)
    for number, path in zip(range(count), itertools.cycle(found), strict=False):
        (folder / f"{number:04d}_{path.name}").symlink_to(path.resolve())
    return folder


def peak(pictures: Path, output: Path, options: argparse.Namespace, model: str) -> float:
    """Peak resident megabytes of ``backplate upscale`` over the folder."""
    words = ["upscale", str(pictures), "-o", str(output), "--model", model, "--size", f"{options.size}x{options.size}"]
    words += ["--fit", "pad", "--background", "white", "--jobs", str(options.jobs), "--format", options.format]
    return float(run_self(__file__, [ONE, *words]))


def print_peak(words: list[str]) -> None:
    """Does what ``backplate`` does with these words, then prints the memory it took."""
    load_pack()
    sys.argv = ["backplate", *words]
    try:
        ours("cli").app()
    except SystemExit as end:
        # 2: a picture failed or should be looked at.
        if end.code not in (0, 2):
            raise
    print(peak_megabytes())


def main() -> None:
    if sys.argv[1:2] == [ONE]:
        print_peak(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description="Peak memory of a folder job.")
    parser.add_argument("--source", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--model", help="name or path; default: a tiny one with random weights")
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--format", default="jpg")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = options.model or str(save_seeded("tiny compact x2", work))
        peaks: list[float] = []
        for count in COUNTS:
            pictures = linked(options.source, work / f"in{count}", count)
            peaks.append(peak(pictures, work / f"out{count}", options, model))
            print(f"{count:4d} pictures: peak {peaks[-1]:.0f} MiB")
    ratio = peaks[1] / peaks[0]
    print(f"ratio {ratio:.3f} (at most {ALLOWED:.2f} is flat)")
    raise SystemExit(ratio > ALLOWED)


if __name__ == "__main__":
    main()
