"""What the tests of TensorRT share: a model, the stand-in for TensorRT, and the way to open one in the other."""

from __future__ import annotations

from pathlib import Path

import torch
from backplate.core.engines.built_cache import artifact_folder
from backplate.core.engines.export.files import read_record
from backplate.core.engines.registry import EngineRequest
from backplate.core.engines.tensorrt import engine as tensorrt_engine
from backplate.core.engines.tensorrt import export as tensorrt_export
from backplate.core.engines.tensorrt import file as tensorrt_file
from backplate.core.engines.tensorrt.export import BuiltEngine
from backplate.core.engines.tensorrt.package import package_of
from backplate.core.upscaler import Upscaler
from backplate.model_loader.loaded import LoadedModel
from backplate.model_loader.precision import Precision
from recorder import Recorder

from .fake_tensorrt import FakeStream, FakeTensorRT

CPU = torch.device("cpu")


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(5))


class House:
    """A model, the stand-in for TensorRT, and the way to open one in the other."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.fake = FakeTensorRT(model.descriptor.model, model.facts.scale)
        self.package = package_of(self.fake, rtx=False)
        self.lane = FakeStream()
        self.progress = Recorder()

    def open(self, **options: object) -> Upscaler:
        request = EngineRequest(**{"model": self.model, "device": CPU, "progress": self.progress, **options})
        return tensorrt_engine.open_with(self.package, request, lambda: self.lane)

    def export(self, output: Path, *, half: bool = False, tile: int = 32) -> BuiltEngine:
        precision = Precision.FP16 if half else Precision.FP32
        request = EngineRequest(model=self.model, device=CPU, precision=precision, tile=tile, progress=self.progress)
        return tensorrt_export.export_with(self.package, request, output, "tests")

    def open_file(self, main: Path) -> Upscaler:
        """As ``open_engine_file`` does, once it has checked the file."""
        record = read_record(main)
        assert record is not None
        return tensorrt_file.open_with(self.package, main, record.spec(), CPU, lambda: self.lane)


def files(kind: str) -> list[Path]:
    return sorted(artifact_folder().glob(f"*.{kind}"))
