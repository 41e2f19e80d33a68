"""What the known architectures cost per pixel, and how much of the machine they use.

    python benchmarks/roofline.py [--device cuda] [-o FOLDER]

For each architecture, with seeded weights: operations (two for a multiply-add) and bytes moved for an input pixel,
counted on a small picture by PyTorch's own dispatcher; then the time on this device against its ceilings, which are
measured: matrix product and copy. "Fused" bytes leave out all but the convolutions' inputs and results, as TensorRT
or torch.compile would.

The last table projects 720p frames on an NVIDIA T4 (65 TFLOP/s in half precision, 320 GB/s, from its data sheet): the
larger of the two times that its ceilings allow, over the part of the ceiling that the same model got on the device
measured here, at most all of it; and again for a card that gets 30 % only, as small convolutions on a T4 may. It is
a projection, not a measurement, and copies, decoding and encoding come on top. On a CPU convolutions can get more than
all of the ceiling, which is that of a matrix product.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pack import facts_of, load_pack, parser_of, write_results
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

COUNT_SIDE = 64
T4_FLOPS, T4_BYTES = 65e12, 320e9
FRAME = 1280 * 720
ROUNDS = 5
CAUTIOUS = 0.3
NVIDIA_VSR_MS = 19.9
"""NVIDIA RTX Video Super Resolution, 720p to 1080p on a T4, as NVIDIA publishes it."""


def compact(**options: int) -> nn.Module:
    return importlib.import_module("spandrel.architectures.Compact.__arch.SRVGG").SRVGGNetCompact(**options)


def rrdbnet(blocks: int, **options: int) -> nn.Module:
    module = importlib.import_module("spandrel.architectures.ESRGAN.__arch.RRDB")
    return module.RRDBNet(**{"in_nc": 3, "out_nc": 3, "num_filters": 64, "num_blocks": blocks, "scale": 4, **options})


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "backplate-lite-x2": (lambda: compact(num_feat=32, num_conv=8, upscale=2), 256),
    "backplate-lite-x4": (lambda: compact(num_feat=32, num_conv=8, upscale=4), 256),
    "realesr-animevideov3": (lambda: compact(num_feat=64, num_conv=16, upscale=4), 192),
    "realesr-general-x4v3": (lambda: compact(num_feat=64, num_conv=32, upscale=4), 192),
    "RealESRGAN_x4plus, 4x-UltraSharp": (lambda: rrdbnet(23), 64),
    "RealESRGAN_x2plus": (lambda: rrdbnet(23, in_nc=12, shuffle_factor=2), 128),
    "RealESRGAN_x4plus_anime_6B": (lambda: rrdbnet(6), 96),
}
"""Builders, and the side of the picture that is timed on a CPU; on a GPU it is four times that."""

VIDEO = ("backplate-lite-x2", "realesr-animevideov3", "realesr-general-x4v3")


@dataclass(frozen=True)
class Cost:
    """For one input pixel; ``values`` are numbers read and written, of which ``fused`` by convolutions."""

    operations: float
    values: float
    fused: float


@dataclass(frozen=True)
class Ceiling:
    """Operations and bytes a second that this device reaches at best."""

    operations: float
    bytes: float


class CountValues(TorchDispatchMode):
    """Adds up the values that operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.all = self.convolutions = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            flat = tree_leaves((args, kwargs, result))
            moved = sum(value.numel() for value in flat if isinstance(value, torch.Tensor))
            self.all += moved
            self.convolutions += moved if "convolution" in str(func) else 0
        return result


def cost_of(network: nn.Module) -> Cost:
    picture = torch.rand(1, 3, COUNT_SIDE, COUNT_SIDE)
    pixels = COUNT_SIDE**2
    with torch.inference_mode(False), torch.no_grad():
        with FlopCounterMode(display=False) as operations:
            network(picture)
        with CountValues() as values:
            network(picture)
    return Cost(operations.get_total_flops() / pixels, values.all / pixels, values.convolutions / pixels)


def best_of(work: Callable[[], object], device: torch.device, rounds: int = ROUNDS) -> float:
    """Seconds of the fastest run; the first does not count."""
    best = float("inf")
    for index in range(rounds + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if index:
            best = min(best, time.perf_counter() - started)
    return best


def ceiling_of(device: torch.device, dtype: torch.dtype) -> Ceiling:
    side = 8192 if device.type == "cuda" else 1536
    left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    operations = 2 * side**3 / best_of(lambda: left @ right, device)
    source = torch.rand(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    return Ceiling(operations, moved / best_of(lambda: target.copy_(source), device))


def time_of(network: nn.Module, side: int, device: torch.device, dtype: torch.dtype) -> float:
    """Seconds for an input pixel."""
    layout: Any = torch.channels_last
    placed = network.to(device=device, dtype=dtype).to(memory_format=layout)
    picture = torch.rand(1, 3, side, side).to(device, dtype, memory_format=layout)
    with torch.inference_mode():
        return best_of(lambda: placed(picture), device, 3) / side**2


def measure(name: str, device: torch.device, dtype: torch.dtype, ceiling: Ceiling) -> dict[str, Any]:
    torch.manual_seed(20)
    build, side = MODELS[name]
    network = build().eval()
    cost = cost_of(network)
    seconds = time_of(network, side * 4 if device.type == "cuda" else side, device, dtype)
    size = torch.finfo(dtype).bits // 8
    least = max(cost.operations / ceiling.operations, cost.fused * size / ceiling.bytes)
    return {"model": name, **asdict(cost), "seconds": seconds, "part of ceiling": least / seconds}


def project(row: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds for a 720p frame on a T4 in half precision."""
    compute, memory = row["operations"] * FRAME / T4_FLOPS, row["fused"] * 2 * FRAME / T4_BYTES
    least = max(compute, memory)
    part = min(row["part of ceiling"], 1.0)
    return {"model": row["model"], "compute": 1e3 * compute, "memory": 1e3 * memory, "part": part,
            "projected": 1e3 * least / part, "cautious": 1e3 * least / CAUTIOUS}  # fmt: skip


def tables(rows: list[dict[str, Any]], ceiling: Ceiling, facts: dict[str, str]) -> str:
    lines = [
        "; ".join(f"{key} {value}" for key, value in facts.items()),
        f"measured ceilings: {ceiling.operations / 1e9:.0f} GFLOP/s, {ceiling.bytes / 1e9:.1f} GB/s",
        "",
        "| model | MFLOP a pixel | values a pixel | of them fused | us a pixel | part of the ceiling |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['model']} | {row['operations'] / 1e6:.3f} | {row['values']:.0f} | {row['fused']:.0f} | "
        f"{row['seconds'] * 1e6:.2f} | {row['part of ceiling']:.0%} |"
        for row in rows
    ]
    lines += [
        "",
        "720p frames on a T4, projected (fp16, fused, the part of the ceiling measured here):",
        "",
        "| model | compute alone, ms | memory alone, ms | part of the ceiling | projected, ms | "
        f"at {CAUTIOUS:.0%}, ms |",
        "|---|---|---|---|---|---|",
    ]
    for row in (project(row) for row in rows if row["model"] in VIDEO):
        lines.append(
            f"| {row['model']} | {row['compute']:.1f} | {row['memory']:.1f} | {row['part']:.0%} | "
            f"{row['projected']:.1f} | {row['cautious']:.1f} |"
        )
    return "\n".join([*lines, "", f"NVIDIA publishes {NVIDIA_VSR_MS} ms for its own, 720p to 1080p."]) + "\n"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("-o", "--output", type=Path, help="folder for the table")
    options = parser.parse_args()
    load_pack()
    device = torch.device(options.device)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    ceiling = ceiling_of(device, dtype)
    rows = [measure(name, device, dtype, ceiling) for name in MODELS]
    facts = {"precision": str(dtype).removeprefix("torch."), **facts_of(device)}
    text = tables(rows, ceiling, facts)
    print(text)
    content = {**facts, "ceiling": asdict(ceiling), "rows": rows, "T4": [project(row) for row in rows]}
    write_results(options.output, "roofline", text, content)


if __name__ == "__main__":
    main()
