"""Which package of TensorRT is there, what it says, and for which GPU engines are built.

``tensorrt`` builds for the GPU it runs on. ``tensorrt-rtx`` builds engines, also without a GPU, that run on every
GeForce and RTX card from Turing on and are finished when they are loaded. Both have the same interface; networks of
both are strongly typed here, so that precision is what the ONNX file says.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import platform
import re
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch

from ..registry import EngineUnusable

LEAST_VERSION = (10, 12)
"""First version of ``tensorrt`` whose strongly typed networks take every file written here."""

KEPT_MESSAGES = 200
_OUT_OF_MEMORY = re.compile(r"out of memory|outofmemory|insufficient memory|MEM_ALLOC|bad_alloc", re.IGNORECASE)


class Messages:
    """The last errors and warnings of TensorRT, which reports reasons nowhere else."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_MESSAGES)

    def add(self, text: str) -> None:
        self._lines.append(" ".join(text.split()))

    def clear(self) -> None:
        self._lines.clear()

    @property
    def reason(self) -> str:
        """The last one, shortened."""
        return self._lines[-1][:240] if self._lines else "no reason given"

    @property
    def out_of_memory(self) -> bool:
        return any(_OUT_OF_MEMORY.search(line) for line in self._lines)


@dataclass(frozen=True)
class Package:
    """An imported package. ``rtx``: it is TensorRT for RTX."""

    trt: Any
    rtx: bool
    messages: Messages
    logger: Any

    @property
    def name(self) -> str:
        return f"TensorRT{' for RTX' if self.rtx else ''} {self.trt.__version__}"


def missing_package() -> str | None:
    """What to install, as a clause; None if one of the packages is there."""
    if any(importlib.util.find_spec(name) is not None for name in ("tensorrt", "tensorrt_rtx")):
        return None
    return "neither tensorrt nor tensorrt-rtx is installed; pip install tensorrt, or tensorrt-rtx for GeForce and RTX"


def no_gpu() -> str | None:
    """The reason if there is nothing to run engines on, as a clause."""
    return None if torch.cuda.is_available() else "PyTorch finds no NVIDIA GPU, on which TensorRT runs"


def refuse_other_devices(device: torch.device) -> None:
    """Raises ``EngineUnusable`` for a device on which TensorRT does not run."""
    if device.type != "cuda":
        raise EngineUnusable(f"TensorRT runs on NVIDIA GPUs, and the device is {device}; choose cuda")


@functools.cache
def open_package() -> Package:
    """``tensorrt`` where it is installed, else ``tensorrt_rtx``. Raises ``EngineUnusable``."""
    if reason := missing_package():
        raise EngineUnusable(reason)
    name = "tensorrt" if importlib.util.find_spec("tensorrt") is not None else "tensorrt_rtx"
    try:
        trt = importlib.import_module(name)
        version = tuple(int(part) for part in re.findall(r"\d+", trt.__version__)[:2])
    except (ImportError, OSError, AttributeError) as error:
        raise EngineUnusable(f"{name} is installed but does not start ({error}); install it again") from error
    if name == "tensorrt" and version < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise EngineUnusable(f"TensorRT {trt.__version__} is too old; pip install 'tensorrt>={least}'")
    return package_of(trt, rtx=name == "tensorrt_rtx")


def package_of(trt: Any, *, rtx: bool) -> Package:
    """A package with a logger of ours. TensorRT keeps the first logger it is given for the whole process."""
    messages = Messages()

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                messages.add(msg)

    return Package(trt, rtx, messages, Logger())


def targets(package: Package) -> list[Any]:
    """Every generation of GPU that an engine of TensorRT for RTX can be built for; none for ``tensorrt``."""
    if not package.rtx:
        return []
    members = package.trt.ComputeCapability.__members__
    return [members[name] for name in sorted(members) if name.startswith("SM")]


def target_identity(package: Package, device: torch.device | None) -> dict[str, object]:
    """What an engine depends on beside the model: package, system, and GPU or generations of GPU.

    Raises ``EngineUnusable`` without a GPU for ``tensorrt``, and for a GPU that TensorRT for RTX does not serve.
    """
    identity: dict[str, object] = {"package": package.name, "system": platform.system(), "machine": platform.machine()}
    gpu = None if device is None or device.type != "cuda" else torch.cuda.get_device_name(device)
    capability = "" if gpu is None else "{}.{}".format(*torch.cuda.get_device_capability(device))
    if not package.rtx:
        if gpu is None:
            raise EngineUnusable(
                f"{package.name} builds for the GPU it runs on, and PyTorch finds none; pip uninstall tensorrt and pip "
                "install tensorrt-rtx to build engines for GeForce and RTX cards without one"
            )
        return {**identity, "gpu": gpu, "capability": capability}
    names = [target.name for target in targets(package)]
    if gpu is not None and f"SM{capability.replace('.', '')}" not in names:
        raise EngineUnusable(
            f"{package.name} does not serve {gpu} (compute capability {capability}; it serves {', '.join(names)}); pip "
            "install tensorrt"
        )
    return {**identity, "targets": names}
