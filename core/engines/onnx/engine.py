"""Runs a model in ONNX Runtime: on the CPU, or on NVIDIA cards with its CUDA or TensorRT provider."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import nn

from ....model_loader.errors import one_line
from ....model_loader.loaded import LoadedModel
from ...errors import ModelOutputError, OutOfMemory
from ...out_of_memory import is_out_of_memory
from ...progress import Progress
from ...upscaler import Upscaler, UpscalerSpec
from ..built_cache import Artifact, obtain
from ..pytorch.eager import ACCELERATOR_PIXELS, usable_dtype
from ..registry import EngineRequest, EngineUnusable
from ..spec import model_spec
from ..verify import verify
from .check import check_onnx
from .export import OnnxSettings, export_onnx, missing_packages, onnx_identity

CPU_PIXELS = 384 * 384
"""Tile on the CPU: ONNX Runtime keeps its memory between runs, so large ones cost no page faults."""

_PROVIDERS = {"cuda": ("CUDAExecutionProvider",)}
"""By the type of the device. The TensorRT provider is used when it is named in the settings: it builds an engine for
each new size, which takes minutes; the engine ``tensorrt`` builds one for all."""

_OUT_OF_MEMORY = ("Failed to allocate memory", "out of memory", "bad allocation", "std::bad_alloc")


@dataclass(frozen=True, kw_only=True)
class OnnxRuntimeSettings:
    """``threads``: 0 for as many as PyTorch uses. ``providers``: in ONNX Runtime's terms, the first that works is
    used."""

    threads: int = 0
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    device: int = 0


class OnnxRuntimeUpscaler:
    """An ``Upscaler`` over the content of an ONNX file that takes and gives single precision.

    Raises ``EngineUnusable`` if it cannot be read or no provider works.
    """

    def __init__(self, content: bytes, spec: UpscalerSpec, settings: OnnxRuntimeSettings | None = None) -> None:
        self._spec = spec
        self._session = open_session(content, settings or OnnxRuntimeSettings())
        self._input, self._output = self._session.get_inputs()[0].name, self._session.get_outputs()[0].name

    @property
    def spec(self) -> UpscalerSpec:
        return self._spec

    @property
    def provider(self) -> str:
        """The provider that runs the model."""
        return str(self._session.get_providers()[0])

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        batch = picture.detach().to("cpu", torch.float32).contiguous().numpy()
        try:
            (result,) = self._session.run([self._output], {self._input: batch})
        except Exception as error:
            # The package has error types of its own for each code, none of them for memory.
            if is_out_of_memory(error) or any(text in str(error) for text in _OUT_OF_MEMORY):
                raise OutOfMemory(str(error)) from None
            raise ModelOutputError(
                f"ONNX Runtime failed on {self._spec.name} at {batch.shape[3]}x{batch.shape[2]} pixels"
                f" ({one_line(error, 160)}); use the engine pytorch."
            ) from error
        if getattr(result, "dtype", None) != numpy.float32 or result.ndim != 4:
            raise ModelOutputError(f"{self._spec.name} gave no picture; use the engine pytorch.")
        return torch.as_tensor(result).clamp_(0, 1)


def unusable() -> str | None:
    """See ``EngineModule``."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed; pip install onnxruntime, or onnxruntime-gpu for an NVIDIA card"
    return missing_packages()


def open_model(request: EngineRequest) -> Upscaler:
    """See ``EngineModule``. The exported model is kept and found again next time."""
    settings = settings_for(request.device)
    options = OnnxSettings(half=half_wanted(request))
    content = exported(request, options)
    descriptor = request.model.descriptor
    budget = CPU_PIXELS if request.device.type == "cpu" else ACCELERATOR_PIXELS
    spec = model_spec(request.model.facts, descriptor, max_tile_pixels=budget)
    upscaler = OnnxRuntimeUpscaler(content, spec, settings)
    verify(upscaler, request.model, half=options.half)
    return upscaler


def half_wanted(request: EngineRequest) -> bool:
    """Half precision where PyTorch would take it; other precisions become single with a note."""
    dtype, note = usable_dtype(request.precision, request.model, request.device)
    if note:
        request.progress.note(note)
    return dtype == torch.float16


def exported(request: EngineRequest, options: OnnxSettings) -> bytes:
    """The model as ONNX, exported on first use. Raises ``EngineUnusable``."""
    facts = request.model.facts
    artifact = Artifact(kind="onnx", label=facts.name, parts=onnx_identity(request.model, options))

    def build() -> bytes:
        with tempfile.TemporaryDirectory(prefix="backplate-") as folder:
            file = Path(folder, "model.onnx")
            export_onnx(request.model, file, options, request.progress)
            return file.read_bytes()

    return obtain(artifact, build, request.progress)


def settings_for(device: torch.device) -> OnnxRuntimeSettings:
    """Raises ``EngineUnusable`` for a device that the installed package has no provider for."""
    if device.type == "cpu":
        return OnnxRuntimeSettings()
    available = runtime().get_available_providers()
    wanted = [name for name in _PROVIDERS.get(device.type, ()) if name in available]
    if not wanted:
        raise EngineUnusable(
            f"the installed onnxruntime has no provider for {device} (it has {', '.join(available)}); pip install "
            "onnxruntime-gpu in its place for an NVIDIA card, or choose the cpu device"
        )
    return OnnxRuntimeSettings(providers=tuple(wanted), device=device.index or 0)


def runtime() -> Any:
    """The package, which has no types."""
    return importlib.import_module("onnxruntime")


def open_session(content: bytes, settings: OnnxRuntimeSettings) -> Any:
    """A session on the first of the providers that works. Raises ``EngineUnusable``."""
    ort = runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads or torch.get_num_threads()
    options.log_severity_level = 3
    for provider in settings.providers:
        choice = (provider, {} if provider == "CPUExecutionProvider" else {"device_id": settings.device})
        try:
            session = ort.InferenceSession(content, options, providers=[choice])
        except Exception as error:
            raise EngineUnusable(f"ONNX Runtime cannot read the model ({one_line(error, 160)})") from error
        # A provider whose libraries are missing is silently left out.
        if session.get_providers()[0] == provider:
            return session
    raise EngineUnusable(
        f"{' and '.join(settings.providers)} did not start; onnxruntime-gpu needs the CUDA and cuDNN libraries of its "
        "version, see https://onnxruntime.ai/docs/execution-providers"
    )


def write_files(model: LoadedModel, main: Path, settings: OnnxSettings, progress: Progress) -> list[Path]:
    """See ``FileReader``."""
    export_onnx(model, main, settings, progress)
    return [main]


def open_file(main: Path, spec: UpscalerSpec, device: torch.device) -> Upscaler:
    """See ``FileReader``."""
    budget = CPU_PIXELS if device.type == "cpu" else ACCELERATOR_PIXELS
    return OnnxRuntimeUpscaler(main.read_bytes(), replace(spec, max_tile_pixels=budget), settings_for(device))


def check(main: Path) -> int:
    """See ``FileReader``."""
    check_onnx(main)
    return 1


def companions(main: Path) -> list[Path]:
    """See ``FileReader``."""
    return [main]


def input_channels(main: Path) -> int:
    """See ``FileReader``. Raises ``EngineUnusable`` for a model that takes no picture."""
    shape = open_session(main.read_bytes(), OnnxRuntimeSettings()).get_inputs()[0].shape
    if len(shape) != 4 or not isinstance(shape[1], int):
        raise EngineUnusable(f"its input is {shape}, and a picture is batch, channels, height, width")
    return shape[1]


def stand_in(main: Path) -> nn.Module:
    """See ``FileReader``. The graph is not read: the reach is measured."""
    return nn.Sequential(nn.Conv2d(1, 1, 1), nn.AdaptiveAvgPool2d(1))
