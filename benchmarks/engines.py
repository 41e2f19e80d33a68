"""Every engine available on this machine, with tiles of several sizes: time, memory, difference to PyTorch.

    python benchmarks/engines.py --model compact --weights realesr-general-x4v3.safetensors --picture OST_009.png -o out
    python benchmarks/engines.py --model rrdbnet --picture OST_009.png --side 96 -o out

The same commands serve a machine with a GPU and TensorRT. Without ``--weights`` a Compact model of the shape of
realesr-general-x4v3 with seeded random weights is measured; RRDBNet-23 always has seeded weights, and runs on a corner
of the picture with ``--side`` pixels, because it takes a hundred times as long. Engines take turns within one process,
the fastest of the runs counts. Memory is measured for each engine and tile in a process of its own: the most that was
resident in it while the picture was enlarged (PyTorch and the loaded model included), or, on a GPU, the most that the
card had in use above what it had before the engine was opened. The difference is the largest to PyTorch with the same
tile, and to PyTorch without tiles. Prints a Markdown table and writes it as ``engines-MODEL.md`` and ``.json``, with
machine, versions and commit.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pack import facts_of, load_pack, ours, parser_of, peak_megabytes, run_self, write_results
from seeded_models import save_seeded

TILES = {"compact": (0, 128, 256, 512), "rrdbnet": (0, 64, 128)}
RRDBNET_SIDE = 160
SAMPLING = 0.005
"""Seconds between two readings of a card's memory."""
PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "ncnn", "tensorrt", "tensorrt-rtx")


def read_picture(path: Path | None, side: int) -> torch.Tensor:
    """The picture, or its upper left corner of ``side`` pixels."""
    if path is None:
        draw = ours("core.training.synthetic.pictures").draw_picture
        canvas = draw("leaves", 640, 448, np.random.default_rng(1))
        picture = torch.from_numpy(canvas).movedim(2, 0).unsqueeze(0).float() / 255
    else:
        picture = ours("core.media.picture.read").read_picture(path).picture
    return picture[:, :, :side, :side].contiguous() if side else picture


class Case:
    """One model on one picture, opened in engines on demand."""

    def __init__(self, kind: str, weights: Path, picture: Path | None, side: int, device: str | None) -> None:
        self.kind = kind
        self.model = ours("model_loader.loaded").load_model(weights)
        self.device = ours("model_loader.precision").choose_device(device)
        self.picture = read_picture(picture, side).to(self.device)

    def open(self, engine: str) -> Any:
        """Raises ``RuntimeError`` if the engine cannot run the model."""
        engines = ours("core.engines.registry")
        precision = ours("model_loader.precision").Precision.FP32
        notes: list[str] = []

        class Listening(ours("core.progress").Progress):
            def note(self, sentence: str) -> None:
                notes.append(sentence)

        upscaler = engines.open_upscaler(
            self.model, self.device, precision, engines.Engine(engine), progress=Listening()
        )
        if notes and engine != "pytorch":
            raise RuntimeError(notes[0])
        return upscaler

    def run(self, upscaler: Any, tile: int) -> tuple[torch.Tensor, float]:
        pipeline = ours("core.tiled.pipeline")
        started = time.perf_counter()
        result = pipeline.upscale(self.picture, upscaler, pipeline.TileSettings(size=tile))
        if result.is_cuda:
            torch.cuda.synchronize()
        return result.cpu(), time.perf_counter() - started


def measure(case: Case, engines: list[str], runs: int) -> Iterator[dict[str, Any]]:
    opened: dict[str, Any] = {}
    for engine in engines:
        print(f"opening {case.kind} in {engine}", file=sys.stderr)
        try:
            opened[engine] = case.open(engine)
        except RuntimeError as reason:
            yield {"model": case.kind, "engine": engine, "tile": 0, "reason": str(reason)}
    untiled, _ = case.run(opened["pytorch"], 0)
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for _ in range(runs):
        for tile in TILES[case.kind]:
            results: dict[str, torch.Tensor] = {}
            for engine, upscaler in opened.items():
                results[engine], seconds = case.run(upscaler, tile)
                row = rows.setdefault((engine, tile), {"seconds": seconds})
                row["seconds"] = min(seconds, row["seconds"])
                row["largest_difference"] = float((results[engine] - results["pytorch"]).abs().max())
                row["difference_to_untiled"] = float((results[engine] - untiled).abs().max())
    pixels = case.picture.shape[2] * case.picture.shape[3]
    for (engine, tile), row in rows.items():
        pace = row["seconds"] / pixels * 1e6
        yield {"model": case.kind, "engine": engine, "tile": tile, "seconds_a_megapixel": pace, **row}


def usable() -> list[str]:
    """PyTorch first, which the others are compared with."""
    rows = ours("core.engines.registry").list_engines()
    return [row.engine.value for row in rows if row.reason is None and row.engine.value != "auto"]


def peak_memory(arguments: argparse.Namespace, kind: str, row: dict[str, Any], weights: Path) -> float | None:
    """MB that a process of its own needs for the picture, see ``print_peak``; None if it failed."""
    print(f"memory of {kind} in {row['engine']}, tile {row['tile']}", file=sys.stderr)
    words = ["--one", kind, row["engine"], str(row["tile"]), str(weights)]
    words += ["--picture", str(arguments.picture)] if arguments.picture else []
    words += ["--side", str(arguments.side)] if arguments.side is not None else []
    words += ["--device", arguments.device] if arguments.device else []
    try:
        return float(run_self(__file__, words))
    except subprocess.CalledProcessError as error:
        print(f"no memory for {row['engine']}, tile {row['tile']}: {error}", file=sys.stderr)
        return None


def print_peak(arguments: argparse.Namespace) -> None:
    kind, engine, tile, weights = arguments.one
    on_card = torch.cuda.is_available() and not str(arguments.device).startswith("cpu")
    before = card_memory() if on_card else 0.0
    case = Case(kind, Path(weights), arguments.picture, side_of(kind, arguments.side), arguments.device)
    upscaler = case.open(engine)
    if on_card:
        print(most_on_card(lambda: case.run(upscaler, int(tile))) - before)
    else:
        print(most_resident(lambda: case.run(upscaler, int(tile))))


def side_of(kind: str, side: int | None) -> int:
    return side if side is not None else RRDBNET_SIDE if kind == "rrdbnet" else 0


def most_resident(work: Callable[[], object]) -> float:
    """Peak MB of this process during ``work``. Linux forgets an earlier peak when asked to; elsewhere that of
    opening the engine counts too."""
    gc.collect()
    forgets = Path("/proc/self/clear_refs")
    if forgets.exists():
        forgets.write_text("5")
    work()
    return peak_megabytes()


def most_on_card(work: Callable[[], object]) -> float:
    """Peak MB in use on the card during ``work``, by all processes."""
    most, stop = card_memory(), threading.Event()

    def look() -> None:
        nonlocal most
        while not stop.wait(SAMPLING):
            most = max(most, card_memory())

    watcher = threading.Thread(target=look)
    watcher.start()
    work()
    stop.set()
    watcher.join()
    return max(most, card_memory())


def card_memory() -> float:
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20


def machine() -> dict[str, Any]:
    version = ours("core.engines.json_cache").package_version
    return {
        **facts_of(ours("model_loader.precision").choose_device(None)),
        "versions": {name: found for name in PACKAGES if (found := version(name))},
    }


def markdown(rows: list[dict[str, Any]], where: dict[str, Any]) -> str:
    lines = [
        "| model | engine | tile | seconds a megapixel | against PyTorch | difference | to untiled | memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "reason" in row:
            lines.append(f"| {row['model']} | {row['engine']} | - | {row['reason']} | | | | |")
            continue
        same = [other for other in rows if other["model"] == row["model"] and "reason" not in other]
        best = min(other["seconds"] for other in same if other["engine"] == "pytorch")
        tile = str(row["tile"]) if row["tile"] else "automatic"
        memory = f"{row['memory_mb']:.0f} MB" if row.get("memory_mb") is not None else ""
        lines.append(
            f"| {row['model']} | {row['engine']} | {tile} | {row['seconds_a_megapixel']:.1f} |"
            f" {best / row['seconds']:.2f} times | {row['largest_difference']:.1e} |"
            f" {row['difference_to_untiled']:.1e} | {memory} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    lines += [
        "",
        f"{where['device']}, {where['system']}; {versions}; commit {where['commit']}. {where['pictures']}. Speed"
        " against PyTorch at its best tile; difference to PyTorch with the same tile, and without tiles.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--weights", type=Path, help="a Compact model")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--side", type=int, help="of the corner of the picture; 0 for all of it")
    parser.add_argument("--model", choices=list(TILES), help="only this one")
    parser.add_argument("--engines", help="only these beside pytorch, such as ncnn,onnxruntime")
    parser.add_argument("--device")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    load_pack()
    if arguments.one:
        print_peak(arguments)
        return
    rows: list[dict[str, Any]] = []
    kinds = [arguments.model] if arguments.model else list(TILES)
    engines = usable()
    if arguments.engines is not None:
        engines = [engine for engine in engines if engine in ("pytorch", *arguments.engines.split(","))]
    sizes: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            given = arguments.weights if kind == "compact" else None
            weights = given or save_seeded(kind, Path(folder))
            side = side_of(kind, arguments.side)
            case = Case(kind, weights, arguments.picture, side, arguments.device)
            sizes.append(f"{kind} on {case.picture.shape[3]}x{case.picture.shape[2]} pixels")
            found = list(measure(case, engines, arguments.runs))
            for row in found:
                if "reason" not in row and not arguments.no_memory:
                    row["memory_mb"] = peak_memory(arguments, kind, row, weights)
            rows += found
    where = {**machine(), "pictures": ", ".join(sizes), "runs": arguments.runs}
    table = markdown(rows, where)
    print(table)
    name = f"engines-{arguments.model}" if arguments.model else "engines"
    write_results(arguments.output, name, table, {"machine": where, "rows": rows})


if __name__ == "__main__":
    main()
