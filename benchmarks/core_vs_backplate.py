"""ComfyUI's own upscaler against Backplate, in one process, alternating; and peak memory in a process each.

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
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
CASES = [
    ("compact", "512x384", ""),
    ("compact", "1024x768", ""),
    ("compact", "1024x768", "2000x1500"),
    ("rrdbnet", "256x256", ""),
]


def load_pack() -> None:
    """The pack under its own name, as ComfyUI loads it: from the path of its root file."""
    spec = importlib.util.spec_from_file_location(
        "backplate", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["backplate"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def load_comfyui(cpu: bool) -> None:
    home = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
    sys.path.insert(0, str(home))
    sys.argv = ["main.py", *(["--cpu"] if cpu else [])]
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("comfy.cli_args")


def size_of(text: str) -> tuple[int, int]:
    width, height = text.split("x")
    return int(width), int(height)


def seeded_weights(kind: str, folder: Path) -> Path:
    from safetensors.torch import save_file

    torch.manual_seed(20)
    if kind == "compact":
        network = importlib.import_module("spandrel.architectures.Compact.__arch.SRVGG").SRVGGNetCompact(num_conv=32)
    else:
        rrdb = importlib.import_module("spandrel.architectures.ESRGAN.__arch.RRDB")
        network = rrdb.RRDBNet(in_nc=3, out_nc=3, num_filters=64, num_blocks=23, scale=4)
    path = folder / f"{kind}.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return path


Work = Callable[[], torch.Tensor]


def contestants(path: Path, size: str, target: str) -> dict[str, Work]:
    """The same job for both, each taking an image and giving one as (1, H, W, 3)."""
    mm = importlib.import_module("comfy.model_management")
    core = importlib.import_module("comfy_extras.nodes_upscale_model").ImageUpscaleWithModel
    core_nodes = importlib.import_module("nodes")
    patcher = importlib.import_module("comfy.model_patcher")
    eager = importlib.import_module("backplate.core.backends.eager")
    pipeline = importlib.import_module("backplate.core.pipeline")
    targets = importlib.import_module("backplate.core.image.target")
    model = importlib.import_module("backplate.model_loader.loaded").load_model(path)
    descriptor: Any = model.descriptor
    wrapper = getattr(patcher, "CoreModelPatcher", patcher.ModelPatcher)
    devices = {"load_device": mm.get_torch_device(), "offload_device": mm.unet_offload_device()}
    descriptor.patcher = wrapper(descriptor.model, **devices)
    upscaler = eager.EagerUpscaler(model, mm.get_torch_device())
    width, height = size_of(size)
    image = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(1))

    def with_core() -> torch.Tensor:
        (result,) = core.execute(descriptor, image).result
        if target:
            (result,) = core_nodes.ImageScale().upscale(result, "lanczos", *size_of(target), "disabled")
        return result

    def with_backplate() -> torch.Tensor:
        picture = image.movedim(-1, 1)
        if not target:
            return pipeline.upscale(picture, upscaler).movedim(1, -1)
        wish = targets.Target(fit=targets.Fit.COVER, width=size_of(target)[0], height=size_of(target)[1])
        return pipeline.upscale_to(picture, None, upscaler, wish).picture.movedim(1, -1)

    def untiled() -> torch.Tensor:
        return descriptor(image.movedim(-1, 1).to(devices["load_device"])).movedim(1, -1).cpu()

    return {"core": with_core, "backplate": with_backplate, "untiled": untiled}


def measure(path: Path, size: str, target: str, runs: int) -> dict[str, Any]:
    works = contestants(path, size, target)
    seconds: dict[str, list[float]] = {"core": [], "backplate": []}
    results: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        for index in range(runs + 1):
            for name in seconds:
                started = time.perf_counter()
                results[name] = works[name]()
                if index:
                    seconds[name].append(time.perf_counter() - started)
        reference = None if target else works["untiled"]()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    row: dict[str, Any] = {"seconds": medians, "ratio": medians["core"] / medians["backplate"]}
    if reference is not None:
        row["difference to untiled"] = {n: float((r.cpu() - reference).abs().max()) for n, r in results.items()}
    return row


def peak_memory(name: str, path: Path, case: tuple[str, str, str], cpu: bool) -> float:
    """Peak resident megabytes of a fresh process that does the job once."""
    command = [sys.executable, __file__, "--once", name, "--weights", str(path), "--case", *case]
    done = subprocess.run(command + ([] if cpu else ["--gpu"]), capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def once(name: str, path: Path, case: list[str]) -> None:
    work = contestants(path, case[1], case[2])[name]
    with torch.inference_mode():
        work()
    # Not getrusage: its peak is carried over from the process that started this one.
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def machine(cpu: bool) -> dict[str, str]:
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    version = importlib.import_module("comfyui_version").__version__
    device = f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return {
        "device": device if cpu else torch.cuda.get_device_name(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "torch": torch.__version__,
        "ComfyUI": version,
        "commit": commit.stdout.strip(),
    }


def table(rows: list[dict[str, Any]], facts: dict[str, str]) -> str:
    lines = [
        "; ".join(f"{key} {value}" for key, value in facts.items()),
        "",
        "| model | source | target | core, s | Backplate, s | ratio | core, MB | Backplate, MB | core, difference to "
        "untiled | Backplate |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        seconds, memory = row["seconds"], row["peak MB"]
        difference = row.get("difference to untiled")
        differences = f"{difference['core']:.1e} | {difference['backplate']:.1e}" if difference else "- | -"
        lines.append(
            f"| {row['model']} | {row['size']} | {row['target'] or 'x4'} | {seconds['core']:.2f} | "
            f"{seconds['backplate']:.2f} | {row['ratio']:.2f} | {memory['core']:.0f} | {memory['backplate']:.0f} | "
            f"{differences} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a Compact model; seeded random weights without")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each, after one that is not counted")
    parser.add_argument("--gpu", action="store_true", help="let ComfyUI choose its device instead of the CPU")
    parser.add_argument("-o", "--output", type=Path, help="folder for the table")
    parser.add_argument("--once", choices=["core", "backplate"], help=argparse.SUPPRESS)
    parser.add_argument("--case", nargs=3, default=["", "", ""], help=argparse.SUPPRESS)
    options = parser.parse_args()
    load_comfyui(cpu=not options.gpu)
    load_pack()
    if options.once:
        once(options.once, options.weights, options.case)
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, size, target in CASES:
            given = options.weights if kind == "compact" else None
            path = given or seeded_weights(kind, Path(folder))
            row = measure(path, size, target, options.runs)
            names = ("core", "backplate")
            memory = {name: peak_memory(name, path, (kind, size, target), not options.gpu) for name in names}
            rows.append({"model": path.stem, "size": size, "target": target, **row, "peak MB": memory})
            print(rows[-1], file=sys.stderr)
    facts = machine(cpu=not options.gpu)
    text = table(rows, facts)
    print(text)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "core_vs_backplate.md").write_text(text)
        (options.output / "core_vs_backplate.json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
