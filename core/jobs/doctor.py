"""What a bug report needs: versions, device, engines and paths; nothing personal except folder names."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

import torch

from ...model_loader.find import default_folders
from ...model_loader.precision import choose_device
from ..engines.json_cache import cache_folder, device_name, package_version
from ..engines.memory import machine_memory, total_memory
from ..engines.registry import list_engines

SAFE_FROM = {"Pillow": "12.3", "av": "18.1", "onnx": "1.21", "ncnn": "1.0.20261020", "torch": "2.6"}
"""Packages that parse untrusted files, and the first version without known vulnerabilities."""

PACKAGES = (
    "torch", "torchvision", "spandrel", "safetensors", "numpy", "opencv-python-headless", "opencv-python", "Pillow",
    "av", "ncnn", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "lpips", "kornia", "ray",
)  # fmt: skip


def diagnosis(version: str) -> str:
    """One block of text to paste into an issue. ``version``: of this program."""
    device = choose_device(None)
    memory = f"{machine_memory() / 2**30:.0f} GiB"
    lines = [
        f"backplate {version}, Python {platform.python_version()}, {platform.platform()}",
        f"device: {device}, {device_name(device)}, {total_memory(device) / 2**30:.0f} GiB; main memory {memory}",
        *_cuda(device),
        "packages: " + ", ".join(f"{name} {found}" for name in PACKAGES if (found := package_version(name))),
        "FFmpeg: " + _ffmpeg(),
        *(f"engine {row.engine.value}: {row.reason or 'usable'}" for row in list_engines()),
        f"ComfyUI: {_comfyui()}",
        "model folders: " + ", ".join(map(str, default_folders(None))),
        f"cache: {cache_folder()}",
        "settings: " + (", ".join(_settings()) or "none"),
        *(f"outdated: {line}" for line in outdated()),
    ]
    return "\n".join(lines)


def outdated() -> list[str]:
    """A sentence for each package that reads files and has known holes in its version."""
    return [
        f"{name} {found} has known holes; install {least} or newer."
        for name, least in SAFE_FROM.items()
        if (found := package_version(name)) and _numbers(found) < _numbers(least)
    ]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))


def _cuda(device: torch.device) -> list[str]:
    if device.type != "cuda":
        return []
    major, minor = torch.cuda.get_device_capability(device)
    return [f"CUDA {torch.version.cuda}, compute capability {major}.{minor}, cuDNN {torch.backends.cudnn.version()}"]


def _ffmpeg() -> str:
    try:
        av: Any = importlib.import_module("av")
    except ImportError as error:
        return f"none ({error})"
    return ", ".join(f"{name} {'.'.join(map(str, number))}" for name, number in av.library_versions.items())


def _comfyui() -> str:
    """The ComfyUI that this runs in, or the one that ``COMFYUI_PATH`` names."""
    inside: Any = sys.modules.get("comfyui_version")
    if inside is not None:
        return f"{inside.__version__}, running this"
    named = os.environ.get("COMFYUI_PATH", "")
    file = Path(named, "comfyui_version.py")
    if not named or not file.is_file():
        return "COMFYUI_PATH names none"
    found = re.search(r'__version__ = "([^"]+)"', file.read_text(encoding="utf-8"))
    return f"{found[1] if found else 'of an unknown version'} at {named}"


def _settings() -> list[str]:
    return [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("BACKPLATE_")]
