"""Builds an engine of TensorRT ahead of time: it is kept where ``engine`` looks for it, and written as a file
that ``file`` and other programs run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from ....model_loader.files import in_megabytes
from ....model_loader.loaded import LoadedModel
from ....model_loader.precision import Precision
from ...atomic_write import write_atomic
from ...errors import InputError
from ...progress import Progress
from ..built_cache import read_artifact
from ..export.export import refuse_existing
from ..export.files import record_for, record_path, record_text
from ..onnx import engine as onnx_engine
from ..onnx.export import OnnxSettings, missing_packages
from ..registry import EngineRequest, EngineUnusable
from ..verify import Difference, verify
from .build import Profile
from .engine import (
    TensorRTSettings,
    build,
    engine_artifact,
    open_model,
    plan_profile,
    tile_side,
    untiled_spec,
)
from .file import built_as
from .package import Package, open_package, target_identity


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
                f"{self.file} ({in_megabytes(self.file.stat().st_size)}), as a model of its own where it can be loaded",
                str(record_path(self.file)),
                f"{self.kept}, where the engine tensorrt finds it",
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
    made_by: str = "Backplate",
) -> BuiltEngine:
    """Writes ``output`` and the record beside it. ``tile``: side in input pixels of the tiles that will be run, without
    their context; 0 for 512 with it.

    On a machine with a GPU the engine is run and compared with PyTorch. TensorRT for RTX also builds without one; then
    the ONNX file that the engine is built from is compared, and the report says so. The files appear whole or not at
    all, and only if the comparison is within the bars of ``verify``.

    Raises ``InputError`` in one sentence. ``progress.check`` may end it.
    """
    progress = progress or Progress()
    refuse_existing([output, record_path(output)], overwrite=overwrite)
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    precision = Precision.FP16 if half else Precision.FP32
    request = EngineRequest(model=model, device=device, precision=precision, tile=tile, progress=progress)
    try:
        return export_with(open_package(), request, output, made_by)
    except EngineUnusable as reason:
        raise InputError(f"{model.facts.name} is not exported: {reason}.") from reason


def export_with(package: Package, request: EngineRequest, output: Path, made_by: str) -> BuiltEngine:
    """``export_tensorrt`` with a package of the caller's. Raises ``EngineUnusable``."""
    if reason := missing_packages():
        raise EngineUnusable(reason)
    model, half = request.model, request.precision is Precision.FP16
    settings = TensorRTSettings(tile=tile_side(model, request.tile), half=half)
    profile = plan_profile(model, settings)
    artifact = engine_artifact(package, model, settings, profile, request.device)
    content = read_artifact(artifact, request.progress)
    if content is None:
        content = build(package, request, settings, profile, artifact)
    proof, found = _proof(request, half)
    record = record_for(
        model,
        untiled_spec(model).halo,
        half=half,
        found=found,
        made_by=made_by,
        files={output.name: hashlib.sha256(content).hexdigest()},
        built=built_as(profile, target_identity(package, request.device)),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(record_path(output), record_text(record).encode())
    write_atomic(output, content)
    return BuiltEngine(output, artifact.path, package.name, profile, half, proof)


def _proof(request: EngineRequest, half: bool) -> tuple[str, Difference | None]:
    """What was compared, and the result. Raises ``EngineUnusable`` if it is over the bar."""
    model = request.model
    if request.device.type == "cuda":
        found = verify(open_model(request), model, half=half)
        gpu = torch.cuda.get_device_name(request.device)
        return f"largest difference to PyTorch {found.largest:.1e}, run on {gpu}", found
    if reason := onnx_engine.unusable():
        return f"not compared with PyTorch: there is no GPU to run it, and {reason}", None
    onnx = onnx_engine.exported(request, OnnxSettings(half=half))
    found = verify(onnx_engine.OnnxRuntimeUpscaler(onnx, untiled_spec(model)), model, half=half)
    return (
        "the engine was not run, because PyTorch finds no GPU; the ONNX file it was built from differs from PyTorch by "
        f"up to {found.largest:.1e}"
    ), found
