"""ComfyUI's own node as the opponent: a real ComfyUI, or the part of one that ``gather_for_gpu.py`` took along.

That part is core's own files, unchanged. What its other nodes need and a bare machine lacks (``ABSENT``) is replaced by
empty modules while core is imported, and only then; nothing that enlarges a picture uses them. Core's ``main.py``,
which switches on dynamic memory where its package works on the card, is not run: models are brought to the device
by ``load_models_gpu`` and the plain patcher, as on every machine without it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pack import comfyui_home

from .rows import LeftOut, Settings

ABSENT = ("torchaudio", "scipy", "transformers")
"""Modules that core imports for its upscaling node but never calls there."""


class _Empty(type):
    """A class that has every attribute, as an annotation or a base class needs."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name, (), {})


class _EmptyModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name, (), {})


class _EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds packages of ``names``, and all modules in them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in self.names:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _EmptyModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing in it."""


@contextmanager
def empty_in_place_of(names: Sequence[str]) -> Generator[list[str]]:
    """Gives the names that are not installed. Afterwards the empty modules are gone again."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    finder = _EmptyModules(missing)
    sys.meta_path.append(finder)
    try:
        yield missing
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in missing]:
            del sys.modules[name]


def home() -> Path:
    found = comfyui_home()
    if not (found / "comfy_extras" / "nodes_upscale_model.py").is_file():
        raise LeftOut(f"there is no ComfyUI at {found}; gather it with gather_for_gpu.py or set COMFYUI_PATH")
    return found


@cache
def core(settings: Settings) -> Core:
    """Core's node; imported once in a process. Raises ``LeftOut`` without a ComfyUI."""
    folder = home()
    sys.path.insert(0, str(folder))
    sys.argv = ["main.py", *(["--cpu"] if settings.dry else [])]
    try:
        with empty_in_place_of(ABSENT) as missing:
            importlib.import_module("comfy.options").enable_args_parsing()
            importlib.import_module("comfy.cli_args")
            node = importlib.import_module("comfy_extras.nodes_upscale_model").ImageUpscaleWithModel
    except ModuleNotFoundError as error:
        raise LeftOut(f"ComfyUI at {folder} needs {error.name}, which is not there") from error
    return Core(node, missing)


class Core:
    """What a user of core's nodes does. ``empty``: packages replaced by empty modules."""

    def __init__(self, node: Any, empty: list[str]) -> None:
        self._node, self.empty = node, empty
        self._management = importlib.import_module("comfy.model_management")
        self._patcher = importlib.import_module("comfy.model_patcher")
        self._utils = importlib.import_module("comfy.utils")
        self.version = importlib.import_module("comfyui_version").__version__

    @property
    def device(self) -> torch.device:
        return self._management.get_torch_device()

    def load(self, path: Path) -> Any:
        """As ``UpscaleModelLoader`` does."""
        spandrel = importlib.import_module("spandrel")
        model = spandrel.ModelLoader().load_from_state_dict(self._utils.load_torch_file(str(path), safe_load=True))
        model = model.eval()
        wrapper = getattr(self._patcher, "CoreModelPatcher", self._patcher.ModelPatcher)
        offload = self._management.unet_offload_device()
        model.patcher = wrapper(model.model, load_device=self.device, offload_device=offload)
        return model

    def upscale(self, model: Any, image: torch.Tensor, target: tuple[int, int] | None = None) -> torch.Tensor:
        """(1, H, W, 3) -> the same, enlarged by the model and, with a target, resampled as ``ImageScale`` does."""
        with torch.inference_mode():
            (result,) = self._node.execute(model, image).result
            if target:
                moved = self._utils.common_upscale(result.movedim(-1, 1), *target, "lanczos", "disabled")
                result = moved.movedim(1, -1)
        return result
