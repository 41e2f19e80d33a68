"""ComfyUI's own upscaler against Backplate, in one process, alternating; and peak memory in a process each.

Backplate runs twice: in PyTorch, and in the engine that ``auto`` finds to be the fastest here (ncnn and ONNX Runtime
take part where they are installed). The last rows: what Backplate adds to a small picture over calling the model
directly, and the memory for a picture whose magnified version is large.

    COMFYUI_PATH=~/ComfyUI ~/ComfyUI/.venv/bin/python benchmarks/core_vs_backplate.py \
        --weights realesr-general-x4v3.safetensors -o benchmarks/results

Run it with the interpreter of that ComfyUI, which needs this pack's requirements. Without ``--weights`` a Compact
model of the same shape with seeded random weights is measured; RRDBNet always has seeded weights. Prints a Markdown
table and writes it as ``core_vs_backplate.md`` and ``.json``, with machine, versions and commit.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pack import (
    ROOT,
    comfyui_model,
    facts_of,
    line_of,
    load_comfyui,
    load_pack,
    ours,
    parser_of,
    peak_megabytes,
    run_self,
    size_of,
    write_results,
)
from seeded_models import save_seeded

CASES = [
    ("compact", "512x384", ""),
    ("compact", "1024x768", ""),
    ("compact", "1024x768", "2000x1500"),
    ("rrdbnet", "256x256", ""),
]
LARGE = ("lite", "3000x3000", "4000x4000")
SMALL = "64x64"
NAMES = ("core", "pytorch", "auto")


def weights_for(kind: str, given: Path | None, folder: Path) -> Path:
    if kind == "lite":
        return ROOT / "model_loader" / "bundled" / "backplate-lite-x4.safetensors"
    return given if kind == "compact" and given else save_seeded(kind, folder)


Work = Callable[[], torch.Tensor]


def entries(path: Path, size: str, target: str) -> dict[str, Work]:
    """The same job for both, each taking an image and giving one as (1, H, W, 3)."""
    core = importlib.import_module("comfy_extras.nodes_upscale_model").ImageUpscaleWithModel
    core_nodes = importlib.import_module("nodes")
    engines = ours("core.engines.registry")
    pipeline = ours("core.tiled.pipeline")
    targets = ours("core.image.fit")
    model, descriptor = ours("model_loader.loaded").load_model(path), comfyui_model(path)
    device = importlib.import_module("comfy.model_management").get_torch_device()
    opened: dict[str, Any] = {}
    width, height = size_of(size)
    image = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(1))

    def with_core() -> torch.Tensor:
        (result,) = core.execute(descriptor, image).result
        if target:
            (result,) = core_nodes.ImageScale().upscale(result, "lanczos", *size_of(target), "disabled")
        return result

    def with_backplate(engine: str) -> torch.Tensor:
        if engine not in opened:
            opened[engine] = engines.open_upscaler(model, device, engine=engines.Engine(engine))
        picture, upscaler = image.movedim(-1, 1), opened[engine]
        if not target:
            return pipeline.upscale(picture, upscaler).movedim(1, -1)
        target_ = targets.Target(fit=targets.Fit.COVER, width=size_of(target)[0], height=size_of(target)[1])
        return pipeline.upscale_to(picture, None, upscaler, target_).picture.movedim(1, -1)

    def untiled() -> torch.Tensor:
        return descriptor(image.movedim(-1, 1).to(device)).movedim(1, -1).cpu()

    with_pack: dict[str, Work] = {engine: partial(with_backplate, engine) for engine in NAMES[1:]}
    return {"core": with_core, **with_pack, "untiled": untiled}


class Measured:
    """One case: the time of each entry in every round, and its result."""

    def __init__(self, path: Path, size: str, target: str) -> None:
        self.works, self.target = entries(path, size, target), target
        self.seconds: dict[str, list[float]] = {name: [] for name in NAMES}
        self.results: dict[str, torch.Tensor] = {}

    def round(self) -> None:
        for name, seconds in self.seconds.items():
            started = time.perf_counter()
            self.results[name] = self.works[name]()
            seconds.append(time.perf_counter() - started)

    def row(self) -> dict[str, Any]:
        """The first round is not counted."""
        medians = {name: statistics.median(seconds[1:]) for name, seconds in self.seconds.items()}
        row: dict[str, Any] = {"seconds": medians}
        if not self.target:
            exact = self.works["untiled"]()
            changes = {name: float((made.cpu() - exact).abs().max()) for name, made in self.results.items()}
            row["difference to untiled"] = changes
        return row


def measure(cases: list[tuple[Path, str, str]], runs: int) -> list[dict[str, Any]]:
    """Rounds over all cases, so that a busy minute of the machine does not affect a single case."""
    measured = [Measured(*case) for case in cases]
    with torch.inference_mode():
        for index in range(runs + 1):
            for case in measured:
                case.round()
            print(f"round {index} of {runs}", [case.seconds for case in measured], file=sys.stderr)
        return [case.row() for case in measured]


def peak_memory(name: str, path: Path, case: tuple[str, str, str], cpu: bool) -> float:
    """Peak resident megabytes of a fresh process that does the job once."""
    words = ["--once", name, "--weights", str(path), "--case", *case]
    return float(run_self(__file__, words + ([] if cpu else ["--gpu"])))


def once(name: str, path: Path, case: list[str]) -> None:
    work = entries(path, case[1], case[2])[name]
    with torch.inference_mode():
        work()
    print(peak_megabytes())


def small_picture(path: Path, runs: int) -> float:
    """The time that Backplate takes for a small picture divided by that of the model alone, in PyTorch; median of
    pairs."""
    works = entries(path, SMALL, "")
    ratios: list[float] = []
    with torch.inference_mode():
        for index in range(5 * runs + 2):
            times: list[float] = []
            for name in ("pytorch", "untiled"):
                started = time.perf_counter()
                works[name]()
                times.append(time.perf_counter() - started)
            if index > 1:
                ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def table(rows: list[dict[str, Any]], facts: dict[str, str], small: dict[str, float]) -> str:
    head = ["model", "source", "target", "core, s", "pytorch, s", "auto, s", "times as fast", "core, MB", "pytorch, MB",
            "auto, MB", "core, difference to untiled", "pytorch", "auto"]  # fmt: skip
    lines = ["; ".join(f"{key} {value}" for key, value in facts.items()), "", line_of(head), "|---" * len(head) + "|"]
    for row in rows:
        seconds, memory, change = row.get("seconds"), row["peak MB"], row.get("difference to untiled")
        ratio = f"{seconds['core'] / min(seconds[name] for name in NAMES[1:]):.2f}" if seconds else "-"
        cells = [row["model"], row["size"], row["target"] or "x4"]
        cells += [f"{seconds[name]:.2f}" if seconds else "-" for name in NAMES] + [ratio]
        cells += [f"{memory[name]:.0f}" for name in NAMES]
        cells += [f"{change[name]:.1e}" if change else "-" for name in NAMES]
        lines.append(line_of(cells))
    lines += ["", *(f"{name}, {SMALL}: {ratio:.2f} times the model alone" for name, ratio in small.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--weights", type=Path, help="a Compact model; seeded random weights without")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each, after one that is not counted")
    parser.add_argument("--gpu", action="store_true", help="let ComfyUI choose its device instead of the CPU")
    parser.add_argument("-o", "--output", type=Path, help="folder for the table")
    parser.add_argument("--only", choices=["compact", "rrdbnet", "lite"], help="only the cases of this model")
    parser.add_argument("--once", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--case", nargs=3, default=["", "", ""], help=argparse.SUPPRESS)
    options = parser.parse_args()
    load_comfyui(cpu=not options.gpu)
    load_pack()
    if options.once:
        once(options.once, options.weights, options.case)
        return
    with tempfile.TemporaryDirectory() as folder:
        chosen = [case for case in [*CASES, LARGE] if options.only in (None, case[0])]
        paths = {kind: weights_for(kind, options.weights, Path(folder)) for kind, _, _ in chosen}
        timed = [case for case in chosen if case != LARGE]
        found = dict(zip(timed, measure([(paths[kind], *case) for kind, *case in timed], options.runs), strict=True))
        rows: list[dict[str, Any]] = []
        for case in chosen:
            path = paths[case[0]]
            memory = {name: peak_memory(name, path, case, not options.gpu) for name in NAMES}
            rows.append(
                {"model": path.stem, "size": case[1], "target": case[2], **found.get(case, {}), "peak MB": memory}
            )
        small = {
            paths[kind].stem: small_picture(paths[kind], options.runs)
            for kind in dict.fromkeys(kind for kind, *_ in timed)
        }
    facts = facts_of(torch.device("cuda" if options.gpu else "cpu"))
    facts["ComfyUI"] = importlib.import_module("comfyui_version").__version__
    text = table(rows, facts, small)
    print(text)
    write_results(options.output, "core_vs_backplate", text, {**facts, "rows": rows, "small": small})


if __name__ == "__main__":
    main()
