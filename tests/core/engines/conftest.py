"""Small seeded networks, loaded the way a file of a user is."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from backplate.core.engines.tensorrt import engine as tensorrt_engine
from backplate.core.engines.tensorrt import export as tensorrt_export
from backplate.core.engines.tensorrt import file as tensorrt_file
from backplate.core.engines.tensorrt.package import Package
from backplate.model_loader.loaded import LoadedModel, load_model
from safetensors.torch import save_file
from seeded_models import save_seeded

from .tensorrt.tensorrt_house import House


def compact(**options: int) -> torch.nn.Module:
    module = importlib.import_module("spandrel.architectures.Compact.__arch.SRVGG")
    return module.SRVGGNetCompact(**{"num_feat": 8, "num_conv": 3, "upscale": 2, **options})


def rrdbnet(**options: int) -> torch.nn.Module:
    module = importlib.import_module("spandrel.architectures.ESRGAN.__arch.RRDB")
    return module.RRDBNet(**{"in_nc": 3, "out_nc": 3, "num_filters": 8, "num_blocks": 1, "scale": 4, **options})


def span(**options: object) -> torch.nn.Module:
    module = importlib.import_module("spandrel.architectures.SPAN.__arch.span")
    network = module.SPAN(**{"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 2, **options})
    # Its pictures are 0 to 255 inside; random weights would give 40 where trained ones give 1.
    network.upsampler[0].weight.data.mul_(0.02)
    return network


BUILDERS: dict[str, Callable[[], torch.nn.Module]] = {
    "compact": compact,
    "rrdbnet": rrdbnet,
    "rrdbnet wide": lambda: rrdbnet(num_blocks=6),
    "rrdbnet x2": lambda: rrdbnet(in_nc=12, scale=4, shuffle_factor=2),
    "rrdbnet x1": lambda: rrdbnet(in_nc=48, scale=4, shuffle_factor=4),
    "span": span,
    "span without mean": lambda: span(norm=False, img_range=1.0),
}


@pytest.fixture
def build(tmp_path: Path) -> Callable[[str], LoadedModel]:
    """A loaded model by its name in ``BUILDERS``; the same weights every time."""

    def make(name: str) -> LoadedModel:
        torch.manual_seed(3)
        state = {key: value.contiguous() for key, value in BUILDERS[name]().state_dict().items()}
        path = tmp_path / f"{name}.safetensors"
        save_file(state, path)
        return load_model(path)

    return make


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured halos go to a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("backplate.core.engines.spec._sights", {})


@pytest.fixture
def house(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], House]:
    monkeypatch.setenv("BACKPLATE_ENGINES", str(tmp_path / "engines"))
    monkeypatch.setattr(tensorrt_engine, "exported", lambda request, options: b"onnx")
    monkeypatch.setattr(tensorrt_engine, "onnx_identity", lambda model, options: {"weights": model.facts.sha256})

    def target(package: Package, device: torch.device | None) -> dict[str, object]:
        return {
            "package": package.name, "system": "Linux", "machine": "x86_64", "gpu": "NVIDIA T4", "capability": "7.5"
        }  # fmt: skip

    for module in (tensorrt_engine, tensorrt_export, tensorrt_file):
        monkeypatch.setattr(module, "target_identity", target)
    return lambda name: House(build(name))


@pytest.fixture
def seeded(tmp_path: Path) -> Callable[[str], LoadedModel]:
    """A small model of any architecture by its name in ``benchmarks/seeded_models.py``."""
    return lambda name: load_model(save_seeded(name, tmp_path))
