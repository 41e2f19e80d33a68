"""Runs a model in TensorRT on an NVIDIA GPU, through an engine that is built on first use and kept.

One path for TensorRT 10.12 and later, 11, and TensorRT for RTX; see ``package``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ....model_loader.loaded import LoadedModel
from ....model_loader.precision import Precision
from ...image.tiling import MINIMUM_TILE
from ...progress import Progress
from ...upscaler import Upscaler, UpscalerSpec
from ..built_cache import Artifact, drop_artifact, keep_artifact, read_artifact
from ..onnx.engine import exported
from ..onnx.export import OnnxSettings, missing_packages, onnx_identity
from ..plan import Placer
from ..pytorch.eager import EagerUpscaler, usable_dtype
from ..pytorch.half_check import blacklist_dtype
from ..registry import EngineRequest, EngineUnusable
from ..spec import model_spec
from ..verify import SAMPLE_SIDE, verify
from .build import BuildSettings, Profile, build_engine, profile_for
from .package import Package, missing_package, no_gpu, open_package, refuse_other_devices, target_identity
from .runtime import CudaStream, EngineRunner, load_engine
from .upscaler import TensorRTUpscaler, tiled_spec

TILE = 512
"""Side of the largest tile, context included, where none was asked for."""


@dataclass(frozen=True, kw_only=True)
class TensorRTSettings:
    """``tile``: side of the largest tile in input pixels, context included. ``batch``: tiles in one run. ``half``:
    half precision inside. ``build``: see ``BuildSettings``."""

    tile: int = TILE
    batch: int = 1
    half: bool = True
    build: BuildSettings = BuildSettings()


def unusable() -> str | None:
    """See ``EngineModule``."""
    return missing_package() or no_gpu() or missing_packages()


def open_model(request: EngineRequest) -> Upscaler:
    """See ``EngineModule``. The engine is kept and found again next time."""
    refuse_other_devices(request.device)
    return open_with(open_package(), request, lambda: CudaStream(request.device))


def open_with(package: Package, request: EngineRequest, lane: Callable[[], Any]) -> Upscaler:
    """``open_model`` with a package and a stream of the caller's."""
    settings = settings_for(request)
    model, profile = request.model, plan_profile(request.model, settings)
    loaded = load_or_build(package, request, settings, profile)
    facts = model.facts
    runner = EngineRunner(package, loaded, facts.scale, facts.output_channels, request.device, lane())
    fallback = _in_pytorch(model, request.device, request.place) if settings.half else None
    upscaler = TensorRTUpscaler(runner, tiled_spec(untiled_spec(model), profile), profile, request.device, fallback)
    verify(upscaler, model, half=settings.half or settings.build.tf32)
    return upscaler


def settings_for(request: EngineRequest) -> TensorRTSettings:
    """The tile that will be run, and half precision where PyTorch would take it; bfloat16 becomes single precision,
    with a note."""
    dtype, note = usable_dtype(request.precision, request.model, request.device)
    if dtype == torch.bfloat16:
        note = f"{request.model.facts.name} runs in fp32: engines of TensorRT are built in fp16 or fp32 here."
    if note:
        request.progress.note(note)
    return TensorRTSettings(
        tile=tile_side(request.model, request.tile),
        half=dtype == torch.float16,
        build=BuildSettings(tf32=request.precision is Precision.TF32),
    )


def tile_side(model: LoadedModel, tile: int) -> int:
    """Longest side of what is read for tiles of ``tile`` pixels; 0 for what suits the model."""
    spec = untiled_spec(model)
    context = 2 * spec.aligned_halo
    if tile:
        return tile + context
    return max(TILE, max(MINIMUM_TILE, spec.alignment, 2 * spec.aligned_halo) + context)


def plan_profile(model: LoadedModel, settings: TensorRTSettings) -> Profile:
    """Raises ``EngineUnusable`` for a model that cannot run in tiles: an engine takes no larger picture than it was
    built for."""
    facts, spec = model.facts, untiled_spec(model)
    if not spec.tileable:
        raise EngineUnusable(
            f"the architecture {facts.architecture} needs the whole picture at once, and an engine has a maximum size"
        )
    return profile_for(facts.input_channels, spec.size_rule, max(settings.tile, SAMPLE_SIDE), settings.batch)


def engine_artifact(
    package: Package, model: LoadedModel, settings: TensorRTSettings, profile: Profile, device: torch.device | None
) -> Artifact:
    """The file of an engine, under the hash of all that shaped it. Raises ``EngineUnusable``."""
    parts = {
        **onnx_identity(model, OnnxSettings(half=settings.half)),
        **target_identity(package, device),
        "profile": asdict(profile),
        "build": asdict(settings.build),
    }
    return Artifact(kind="engine", label=f"{model.facts.name}-{profile.tile}", parts=parts)


def load_or_build(
    package: Package, request: EngineRequest, settings: TensorRTSettings, profile: Profile
) -> tuple[Any, Any]:
    """The engine, loaded. One on disk that was changed, or that this GPU and this version do not take, is built again
    once, and that is said. Raises ``EngineUnusable``."""
    artifact = engine_artifact(package, request.model, settings, profile, request.device)
    kept = read_artifact(artifact, request.progress)
    if kept is not None:
        if loaded := load_engine(package, kept):
            return loaded
        request.progress.note(
            f"The engine {artifact.path.name} cannot be loaded ({package.messages.reason}); it is built again."
        )
        drop_artifact(artifact)
    loaded = load_engine(package, build(package, request, settings, profile, artifact))
    if loaded is None:
        drop_artifact(artifact)
        raise EngineUnusable(
            f"{package.name} built an engine and then could not load it ({package.messages.reason}); update the driver"
        )
    return loaded


def build(
    package: Package, request: EngineRequest, settings: TensorRTSettings, profile: Profile, artifact: Artifact
) -> bytes:
    """Exports the model, builds the engine and keeps both, and what was learnt about kernels on this GPU."""
    onnx = exported(request, OnnxSettings(half=settings.half))
    timing = Artifact(kind="timing", label="TensorRT", parts=target_identity(package, request.device))
    known = b"" if package.rtx else read_artifact(timing, Progress()) or b""
    built = build_engine(
        package, onnx, profile, settings.build, request.progress, device=request.device, timings=known
    )  # fmt: skip
    if built.timings:
        keep_artifact(timing, built.timings)
    keep_artifact(artifact, built.engine)
    return built.engine


def _in_pytorch(model: LoadedModel, device: torch.device, place: Placer | None) -> Callable[[], Upscaler]:
    def take_over() -> Upscaler:
        blacklist_dtype(model.facts.sha256, torch.float16, device)
        return EagerUpscaler(model, device, Precision.FP32, place)

    return take_over


def untiled_spec(model: LoadedModel) -> UpscalerSpec:
    """The model's spec before it is known which tiles an engine takes."""
    return model_spec(model.facts, model.descriptor, max_tile_pixels=0)
