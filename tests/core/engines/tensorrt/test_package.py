"""Which TensorRT is there, what it serves, and PyTorch in its place."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.engines.registry import Engine, EngineUnusable, open_upscaler
from backplate.core.engines.tensorrt import engine as tensorrt_engine
from backplate.core.engines.tensorrt import package as tensorrt_package
from backplate.core.engines.tensorrt.package import Package, package_of, target_identity
from backplate.model_loader.loaded import LoadedModel
from recorder import Recorder

from .fake_tensorrt import FakeTensorRT
from .tensorrt_house import CPU, House


def test_pytorch_takes_over_with_one_sentence(build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch):
    progress = Recorder()
    monkeypatch.setattr(tensorrt_engine, "unusable", lambda: None)
    upscaler = open_upscaler(build("compact"), CPU, engine=Engine.TENSORRT, progress=progress)
    assert isinstance(upscaler, EagerUpscaler)
    (note,) = progress.notes
    assert note.startswith("compact runs in PyTorch instead of tensorrt: TensorRT runs on NVIDIA GPUs")


def test_missing_packages_and_gpus_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace())
    assert tensorrt_engine.unusable() == "PyTorch finds no NVIDIA GPU, on which TensorRT runs"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install tensorrt, or tensorrt-rtx" in str(tensorrt_engine.unusable())


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (SimpleNamespace(__version__="10.9.0"), "TensorRT 10.9.0 is too old"),
        (ImportError("libnvonnxparser.so.11: cannot open shared object file"), "does not start.*libnvonnxparser"),
    ],
)
def test_packages_that_do_not_work_are_named(monkeypatch: pytest.MonkeyPatch, module: object, said: str):
    def load(name: str) -> object:
        if isinstance(module, ImportError):
            raise module
        return module

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setattr(importlib, "import_module", load)
    with pytest.raises(EngineUnusable, match=said):
        tensorrt_package.open_package.__wrapped__()


def rtx(names: str) -> Package:
    members = {name: SimpleNamespace(name=name) for name in names.split()}
    trt = SimpleNamespace(__version__="1.7.1", ComputeCapability=SimpleNamespace(__members__=members))
    return Package(trt, True, tensorrt_package.Messages(), None)


def test_targets_are_gpus_or_generations(house: Callable[[str], House], monkeypatch: pytest.MonkeyPatch):
    native = package_of(FakeTensorRT(torch.nn.Identity(), 1), rtx=False)
    with pytest.raises(EngineUnusable, match="builds for the GPU it runs on, and PyTorch finds none"):
        target_identity(native, None)
    portable = rtx("CURRENT NONE SM75 SM89")
    assert target_identity(portable, None)["targets"] == ["SM75", "SM89"]
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    cuda = torch.device("cuda")
    assert target_identity(native, cuda)["capability"] == "9.0"
    with pytest.raises(EngineUnusable, match=r"does not serve NVIDIA H100 \(compute capability 9\.0; it serves SM75"):
        target_identity(portable, cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    assert target_identity(portable, cuda) == target_identity(portable, None)
