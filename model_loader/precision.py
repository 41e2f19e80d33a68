"""The choice of device and of its float type."""

from __future__ import annotations

from enum import Enum

import torch

from .errors import DeviceError
from .loaded import ModelFacts


class Precision(str, Enum):
    """What the user asks for."""

    AUTO = "auto"
    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"


_HALF_FROM = (7, 0)
_BFLOAT16_FROM = (8, 0)
# Turing cards without tensor cores (compute capability 7.5 like the T4), whose fp16 convolutions overflow: the
# picture comes out black.
_NO_HALF = ("GTX 16", "T500", "T550", "T600", "T1000", "T1200", "T2000", "MX450", "MX550", "CMP 30HX")

_NATIVE_BFLOAT16 = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


def choose_dtype(requested: Precision, facts: ModelFacts, device: torch.device) -> tuple[torch.dtype, str | None]:
    """The float type to run the model in, and a sentence if that is not what was requested.

    ``AUTO`` takes fp16 on CUDA devices that are fast and right in it, bf16 where only the model forbids fp16, and fp32
    everywhere else. Any other is used if model and device support it, and becomes fp32 otherwise. Only a measurement
    shows whether half precision is faster, and good enough, on other devices (``may_gain_from_half``): it is about a
    hundred times slower on a CPU without native support.
    """
    requested = Precision(requested)
    if requested is Precision.FP32:
        return torch.float32, None
    if requested is Precision.TF32:
        return torch.float32, _tf32_note(facts, device)
    if requested is Precision.AUTO:
        if _objection(Precision.FP16, facts, device) is None:
            return torch.float16, None
        if _objection(Precision.BF16, facts, device) is None:
            return torch.bfloat16, None
        return torch.float32, None
    if objection := _objection(requested, facts, device):
        return torch.float32, f"{facts.name} runs in fp32 instead of {requested.value}: {objection}."
    return (torch.float16 if requested is Precision.FP16 else torch.bfloat16), None


def may_gain_from_half(facts: ModelFacts, device: torch.device) -> torch.dtype | None:
    """The half precision worth trying on a device for which ``choose_dtype`` takes fp32; None if there is
    none. CPUs with bfloat16 instructions (AMX, AVX512-BF16) have bf16, MPS and XPU devices fp16."""
    if device.type == "cpu":
        native = any(getattr(torch.cpu, name, bool)() for name in _NATIVE_BFLOAT16)
        return torch.bfloat16 if native and facts.supports_bfloat16 else None
    if device.type in ("mps", "xpu") and facts.supports_half:
        return torch.float16
    return None


def _tf32_note(facts: ModelFacts, device: torch.device) -> str | None:
    """Why tensor cores do not take single precision here; None if they do."""
    if device.type != "cuda":
        return (
            f"{facts.name} runs in fp32 instead of tf32: tf32 is used on CUDA devices only, and this is {device.type}."
        )
    capability = torch.cuda.get_device_capability(device)
    if capability < _BFLOAT16_FROM:
        return (
            f"{facts.name} runs in fp32 instead of tf32: {torch.cuda.get_device_name(device)} has compute capability"
            f" {capability[0]}.{capability[1]}, and tf32 begins at {_BFLOAT16_FROM[0]}.{_BFLOAT16_FROM[1]}."
        )
    return None


def _objection(requested: Precision, facts: ModelFacts, device: torch.device) -> str | None:
    """Why fp16 or bf16 cannot be used; None if it can."""
    supported = facts.supports_half if requested is Precision.FP16 else facts.supports_bfloat16
    if device.type == "cpu":
        return f"on the CPU {requested.value} is about a hundred times slower"
    if device.type != "cuda":
        return f"{requested.value} is used on CUDA devices only, and this is {device.type}"
    if not supported:
        return f"the architecture {facts.architecture} does not support {requested.value}"
    name = torch.cuda.get_device_name(device)
    capability = torch.cuda.get_device_capability(device)
    if requested is Precision.FP16 and any(model in name for model in _NO_HALF):
        return f"fp16 gives black pictures on {name}"
    least = _HALF_FROM if requested is Precision.FP16 else _BFLOAT16_FROM
    if capability < least:
        return (
            f"{name} has compute capability {capability[0]}.{capability[1]}, and {requested.value} is fast from"
            f" {least[0]}.{least[1]} on"
        )
    return None


def choose_device(requested: str | None) -> torch.device:
    """The device of that name (``cpu``, ``cuda``, ``cuda:1``, ``mps``), or the best available for None and ``auto``.

    ``cuda`` without a number becomes the current CUDA device. Raises a ``DeviceError`` that lists the available
    devices.
    """
    available = _available()
    wanted = (requested or "auto").strip().lower()
    if wanted == "auto":
        return torch.device(available[0])
    # The first of its kind is the current one; "cpu:0" and "mps:0" are the only ones.
    fitting = [name for name in available if wanted in {name, name.partition(":")[0], f"{name}:0"}]
    if not fitting:
        raise DeviceError(f"There is no device {requested} on this machine: use {' or '.join(available)}.")
    return torch.device(fitting[0])


def _available() -> list[str]:
    """Names of this machine's devices, the default first."""
    devices: list[str] = []
    if torch.cuda.is_available():
        current = torch.cuda.current_device()
        others = [index for index in range(torch.cuda.device_count()) if index != current]
        devices += [f"cuda:{index}" for index in (current, *others)]
    if torch.backends.mps.is_available():
        devices.append("mps")
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        devices.append(f"xpu:{torch.xpu.current_device()}")
    return [*devices, "cpu"]
