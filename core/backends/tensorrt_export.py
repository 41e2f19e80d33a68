"""Builds an engine of TensorRT ahead of time: it is kept where ``tensorrt_engine`` looks for it, and a copy is written
for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ...model_loader.files import in_megabytes
from ...model_loader.loaded import LoadedModel
from ...model_loader.precision import Precision
from ..progress import Progress
from ..upscaler import InputError
from ..whole_file import write_whole
from . import onnx_engine
from .artifacts import read_artifact
from .engines import EngineRequest, EngineUnusable
from .onnx_export import OnnxSettings, missing_packages
from .spec import model_spec
from .tensorrt_builder import Profile
from .tensorrt_engine import TensorRTSettings, build, engine_artifact, open_model, plan_profile, tile_side
from .tensorrt_package import Package, open_package
from .verify import verify

SUFFIX = ".engine"


@dataclass(frozen=True)
class BuiltEngine:
    """``kept``: the file that the engine ``tensorrt`` finds. ``proof``: what was compared with PyTorch, in words."""

    file: Path
    kept: Path
    package: str
    profile: Profile
    half: bool
    proof: str

    def text(self) -> str:
        """A few lines for a person."""
        precision = "half" if self.half else "single"
        return "\n".join(
            [
                f"{self.file} ({in_megabytes(self.file.stat().st_size)}), for other programs",
                f"{self.kept}, where --engine tensorrt finds it",
                f"built by {self.package} for tiles of up to {self.profile.tile} pixels, {precision} precision",
                self.proof,
            ]
        )


def export_tensorrt(
    model: LoadedModel,
    output: Path,
    progress: Progress | None = None,
    *,
    tile: int = 0,
    half: bool = False,
    overwrite: bool = False,
) -> BuiltEngine:
    """``tile``: side in input pixels of the tiles that will be run, without their context; 0 for 512 with it.

    On a machine with a GPU the engine is run and compared with PyTorch. TensorRT for RTX also builds without one; then
    the ONNX file that the engine is built from is compared, and the report says so. The file appears whole or not at
    all, and only if the comparison is within the bars of ``verify``.

    Raises ``InputError`` in one sentence. ``progress.check`` may end it.
    """
    progress = progress or Progress()
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists already; let it be overwritten, or choose another name.")
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    precision = Precision.FP16 if half else Precision.FP32
    request = EngineRequest(model=model, device=device, precision=precision, tile=tile, progress=progress)
    try:
        return _built(open_package(), request, output, half)
    except EngineUnusable as reason:
        raise InputError(f"{model.facts.name} is not exported: {reason}.") from reason


def _built(package: Package, request: EngineRequest, output: Path, half: bool) -> BuiltEngine:
    if reason := missing_packages():
        raise EngineUnusable(reason)
    model = request.model
    settings = TensorRTSettings(tile=tile_side(model, request.tile), half=half)
    profile = plan_profile(model, settings)
    artifact = engine_artifact(package, model, settings, profile, request.device)
    content = read_artifact(artifact, request.progress)
    if content is None:
        content = build(package, request, settings, profile, artifact)
    proof = _proof(request, half)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, content)
    return BuiltEngine(output, artifact.path, package.name, profile, half, proof)


def _proof(request: EngineRequest, half: bool) -> str:
    """What was compared, and the result. Raises ``EngineUnusable`` if it is over the bar."""
    model = request.model
    if request.device.type == "cuda":
        found = verify(open_model(request), model, half=half)
        return f"largest difference to PyTorch {found.largest:.1e}, run on {torch.cuda.get_device_name(request.device)}"
    if reason := onnx_engine.unusable():
        return f"not compared with PyTorch: there is no GPU to run it, and {reason}"
    spec = model_spec(model.facts, model.descriptor.model, model.descriptor, pixel_budget=0)
    onnx = onnx_engine.exported(request, OnnxSettings(half=half))
    found = verify(onnx_engine.OnnxRuntimeUpscaler(onnx, spec), model, half=half)
    return (
        "the engine was not run, because PyTorch finds no GPU; the ONNX file it was built from differs from PyTorch by "
        f"up to {found.largest:.1e}"
    )
