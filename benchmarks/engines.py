"""Every engine that this machine can use, with tiles of several sizes: time, memory, difference to PyTorch.

    python benchmarks/engines.py --weights realesr-general-x4v3.safetensors --picture OST_009.png -o results

The same command serves a machine with a GPU and TensorRT. Without ``--weights`` a Compact model of the shape of
realesr-general-x4v3 with seeded random weights is measured; RRDBNet-23 always has seeded weights, and runs on a corner
of the picture. Engines take turns within one process, the fastest of the runs counts; peak memory is that of a process
of its own above what it had before the model ran. Prints a Markdown table and writes it as ``engines.md`` and
``engines.json``, with machine, versions and commit.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pack import commit, load_pack, ours

TILES = {"compact": (0, 128, 256, 512), "rrdbnet": (0, 64, 128)}
RRDBNET_SIDE = 160
PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "ncnn", "tensorrt", "tensorrt-rtx")


def seeded(kind: str, folder: Path) -> Path:
    """A file of random weights, the same every time."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    if kind == "compact":
        module = importlib.import_module("spandrel.architectures.Compact.__arch.SRVGG")
        network = module.SRVGGNetCompact(num_feat=64, num_conv=32, upscale=4)
    else:
        module = importlib.import_module("spandrel.architectures.ESRGAN.__arch.RRDB")
        network = module.RRDBNet(in_nc=3, num_filters=64, num_blocks=23, scale=4)
    path = folder / f"{kind}.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return path


def read_picture(path: Path | None, kind: str) -> torch.Tensor:
    if path is None:
        draw = ours("core.training.synthetic").draw_picture
        canvas = draw("leaves", 640, 448, np.random.default_rng(1))
        picture = torch.from_numpy(canvas).movedim(2, 0).unsqueeze(0).float() / 255
    else:
        picture = ours("core.media.picture_file").read_picture(path).picture
    return picture if kind == "compact" else picture[:, :, :RRDBNET_SIDE, :RRDBNET_SIDE].contiguous()


class Case:
    """One model on one picture, opened in engines on demand."""

    def __init__(self, kind: str, weights: Path, picture: Path | None, device: str | None) -> None:
        self.kind = kind
        self.model = ours("model_loader.loaded").load_model(weights)
        self.device = ours("model_loader.precision").choose_device(device)
        self.picture = read_picture(picture, kind).to(self.device)

    def open(self, engine: str) -> Any:
        """Raises ``RuntimeError`` if the engine cannot run the model."""
        engines = ours("core.backends.engines")
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
        pipeline = ours("core.pipeline")
        started = time.perf_counter()
        result = pipeline.upscale(self.picture, upscaler, pipeline.TileSettings(size=tile))
        if result.is_cuda:
            torch.cuda.synchronize()
        return result.cpu(), time.perf_counter() - started


def measure(case: Case, runs: int) -> Iterator[dict[str, Any]]:
    opened: dict[str, Any] = {}
    for engine in usable():
        try:
            opened[engine] = case.open(engine)
        except RuntimeError as reason:
            yield {"model": case.kind, "engine": engine, "tile": 0, "reason": str(reason)}
    reference, _ = case.run(opened["pytorch"], 0)
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for _ in range(runs):
        for tile in TILES[case.kind]:
            for engine, upscaler in opened.items():
                result, seconds = case.run(upscaler, tile)
                row = rows.setdefault((engine, tile), {"seconds": seconds})
                row["seconds"] = min(seconds, row["seconds"])
                row["largest_difference"] = float((result - reference).abs().max())
    pixels = case.picture.shape[2] * case.picture.shape[3]
    for (engine, tile), row in rows.items():
        pace = row["seconds"] / pixels * 1e6
        yield {"model": case.kind, "engine": engine, "tile": tile, "seconds_a_megapixel": pace, **row}


def usable() -> list[str]:
    rows = ours("core.backends.engines").list_engines()
    return [row.engine.value for row in rows if row.reason is None and row.engine.value != "auto"]


def peak_memory(arguments: argparse.Namespace, kind: str, engine: str, weights: Path) -> float | None:
    """MB above what the process had before the model ran, measured in a process of its own; None if it failed."""
    command = [sys.executable, __file__, "--one", kind, engine, str(weights)]
    command += ["--picture", str(arguments.picture)] if arguments.picture else []
    command += ["--device", arguments.device] if arguments.device else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def print_peak(arguments: argparse.Namespace) -> None:
    kind, engine, weights = arguments.one
    case = Case(kind, Path(weights), arguments.picture, arguments.device)
    upscaler = case.open(engine)
    before = _resident()
    case.run(upscaler, 0)
    print(_resident() - before)


def _resident() -> float:
    """Peak MB; of the card where the model is on one."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return (total - free) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def machine() -> dict[str, Any]:
    def version(package: str) -> str | None:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    return {
        "device": ours("core.backends.plan").device_name(ours("model_loader.precision").choose_device(None)),
        "processor": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {name: found for name in PACKAGES if (found := version(name))},
        "commit": commit(),
    }


def markdown(rows: list[dict[str, Any]], where: dict[str, Any]) -> str:
    lines = [
        "| model | engine | tile | seconds a megapixel | against PyTorch | largest difference | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "reason" in row:
            lines.append(f"| {row['model']} | {row['engine']} | - | {row['reason']} | | | |")
            continue
        same = [other for other in rows if other["model"] == row["model"] and "reason" not in other]
        best = min(other["seconds"] for other in same if other["engine"] == "pytorch")
        tile = str(row["tile"]) if row["tile"] else "automatic"
        memory = f"{row['memory_mb']:.0f} MB" if row.get("memory_mb") is not None else ""
        lines.append(
            f"| {row['model']} | {row['engine']} | {tile} | {row['seconds_a_megapixel']:.1f} |"
            f" {best / row['seconds']:.2f} times | {row['largest_difference']:.1e} | {memory} |"
        )
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    lines += ["", f"{where['device']}; {versions}; commit {where['commit']}. Against PyTorch at its best tile."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a Compact model")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--model", choices=["compact", "rrdbnet"], help="only this one")
    parser.add_argument("--device")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    load_pack()
    if arguments.one:
        print_peak(arguments)
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in [arguments.model] if arguments.model else ["compact", "rrdbnet"]:
            given = arguments.weights if kind == "compact" else None
            weights = given or seeded(kind, Path(folder))
            found = list(measure(Case(kind, weights, arguments.picture, arguments.device), arguments.runs))
            for row in found:
                if row["tile"] == 0 and "reason" not in row and not arguments.no_memory:
                    row["memory_mb"] = peak_memory(arguments, kind, row["engine"], weights)
            rows += found
    where = machine()
    table = markdown(rows, where)
    print(table)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "engines.md").write_text(table)
        (arguments.output / "engines.json").write_text(json.dumps({"machine": where, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
