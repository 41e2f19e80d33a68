"""Small upscale models with seeded random weights, in the file layouts that users have on disk."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from safetensors.torch import save_file

COMPACT = "tiny_compact_x4.pth"
COMPACT_OTHER = "other/tiny_compact_x4_b.pth"
RRDB_OLD = "tiny_rrdb_old_x4.pth"
RRDB_NEW = "tiny_rrdb_new_x2.safetensors"
RRDB_DEEP = "tiny_rrdb_deep_x4.safetensors"
TRUNCATED = "truncated.pth"
HIDDEN = ("tiny_ncnn.bin", "tiny_ncnn.param.json", "tiny_pickle.pkl")


def write_tiny_models(folder: Path) -> None:
    """All of them, a file that breaks off in the middle, and files that are no models for us."""
    (folder / "other").mkdir(parents=True, exist_ok=True)
    torch.save({"params": compact(seed=1)}, folder / COMPACT)
    torch.save({"params": compact(seed=2)}, folder / COMPACT_OTHER)
    torch.save(old_layout(rrdb(seed=3, scale=4)), folder / RRDB_OLD)
    save_file(rrdb(seed=4, scale=2), folder / RRDB_NEW)
    save_file(rrdb(seed=5, scale=4, blocks=23), folder / RRDB_DEEP)
    whole = (folder / COMPACT).read_bytes()
    (folder / TRUNCATED).write_bytes(whole[: len(whole) // 2])
    for name in HIDDEN:
        (folder / name).write_bytes(b"\0" * 64)


def compact(seed: int, features: int = 8, convolutions: int = 2, scale: int = 4) -> dict[str, torch.Tensor]:
    """State of a Compact (SRVGGNet) model: a nearest-neighbour enlargement plus a small random texture."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    for index in range(convolutions + 1):
        convolution(state, f"body.{2 * index}", features, 3 if index == 0 else features, generator)
        state[f"body.{2 * index + 1}.weight"] = torch.full((features,), 0.2)
    convolution(state, f"body.{2 * convolutions + 2}", 3 * scale**2, features, generator, gain=0.2)
    return state


def rrdb(seed: int, scale: int, blocks: int = 1, features: int = 8, growth: int = 32) -> dict[str, torch.Tensor]:
    """State of an RRDBNet in the layout of Real-ESRGAN; x2 reads 2x2 pixels as channels."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    convolution(state, "conv_first", features, 3 * (4 // scale) ** 2, generator)
    for block, dense, index in itertools.product(range(blocks), (1, 2, 3), range(1, 6)):
        channels = features if index == 5 else growth
        name = f"body.{block}.rdb{dense}.conv{index}"
        convolution(state, name, channels, features + growth * (index - 1), generator)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        convolution(state, name, features, features, generator, gain=1.5)
    convolution(state, "conv_last", 3, features, generator)
    state["conv_last.bias"] += 0.5
    return state


def convolution(
    state: dict[str, torch.Tensor],
    name: str,
    outputs: int,
    inputs: int,
    generator: torch.Generator,
    gain: float = 1.0,
) -> None:
    spread = gain / (9 * inputs) ** 0.5
    state[f"{name}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * spread
    state[f"{name}.bias"] = torch.randn(outputs, generator=generator) * 0.02


OLD_NAMES = {
    "conv_first": "model.0",
    "conv_body": "model.1.sub.1",
    "conv_up1": "model.3",
    "conv_up2": "model.6",
    "conv_hr": "model.8",
    "conv_last": "model.10",
}


def old_layout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names that ESRGAN files of the first generation use (4x-UltraSharp is one)."""
    return {old_name(key): weights for key, weights in state.items()}


def old_name(key: str) -> str:
    module, kind = key.rsplit(".", 1)
    if module in OLD_NAMES:
        return f"{OLD_NAMES[module]}.{kind}"
    _, block, dense, inner = module.split(".")
    return f"model.1.sub.{block}.{dense.upper()}.{inner}.0.{kind}"
