"""Stand-ins for the few things of ComfyUI that the nodes use, so that they run without it."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch

IO_TYPES = {
    "Boolean": "BOOLEAN",
    "Combo": "COMBO",
    "Float": "FLOAT",
    "Image": "IMAGE",
    "Int": "INT",
    "Mask": "MASK",
    "String": "STRING",
    "UpscaleModel": "UPSCALE_MODEL",
    "Video": "VIDEO",
}


class Interrupted(Exception):
    """What ComfyUI raises on Cancel."""


@dataclass
class Host:
    """What the stand-ins saw and do."""

    models: Path
    folders: Path
    loaded: list[Any] = field(default_factory=list)
    bars: list[tuple[int, int]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    sent: list[tuple[str, Any]] = field(default_factory=list)
    interrupt_after: int | None = None
    checks: int = 0
    args: types.SimpleNamespace = field(default_factory=lambda: types.SimpleNamespace(disable_metadata=False))

    def check(self) -> None:
        self.checks += 1
        if self.interrupt_after is not None and self.checks > self.interrupt_after:
            raise Interrupted

    def node(self, module: str, name: str) -> Any:
        return getattr(importlib.import_module(f"backplate.nodes.{module}"), name)

    def run(self, module: str, name: str, **inputs: Any) -> Any:
        """The node's outputs, with its defaults for what is not given."""
        return self.node(module, name).execute(**self.defaults(module, name) | inputs)

    def defaults(self, module: str, name: str) -> dict[str, Any]:
        ports = self.node(module, name).define_schema().inputs
        return {port.id: port.given["default"] for port in ports if "default" in port.given}

    def model(self, seed: int = 1, name: str = "compact", precision: str = "auto") -> Any:
        """A tiny model, loaded by the loader's node from a file of that name, which is written if it is missing."""
        if not (self.models / f"{name}.pth").exists():
            torch.save({"params": tiny_models.compact(seed=seed)}, self.models / f"{name}.pth")
        return self.node("load", "LoadUpscaleModel").execute(f"{name}.pth", precision)[0]


class Port:
    """An input or output of a schema."""

    def __init__(self, id: str, **options: Any) -> None:
        self.id, self.given = id, options
        self.options, self.min, self.max = (options.get(name) for name in ("options", "min", "max"))


def io_module() -> types.SimpleNamespace:
    io = types.SimpleNamespace()
    for name, kind in IO_TYPES.items():
        ports = {side: type(side, (Port,), {"kind": kind}) for side in ("Input", "Output")}
        setattr(io, name, types.SimpleNamespace(**ports))

    class Schema:
        def __init__(self, *, node_id: str, inputs: list[Port], outputs: list[Port], **texts: object) -> None:
            self.node_id, self.inputs, self.outputs, self.texts = node_id, inputs, outputs, texts

    io.NumberDisplay = types.SimpleNamespace(number="number", slider="slider")
    io.Schema = Schema
    io.ComfyNode = type("ComfyNode", (), {})
    io.NodeOutput = lambda *values, ui=None: values
    return io


class Video:
    """A VIDEO that lies in a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def get_stream_source(self) -> str:
        return self.path


class Handle:
    """Memory of a device outside of PyTorch; freed with the object, so there must be one object only."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Handle:
        raise AssertionError("a handle of ComfyUI's memory management was copied")


class Patcher:
    """Leaves its handles on the network, as ComfyUI's does where memory management is dynamic."""

    def __init__(self, model: Any, load_device: torch.device, offload_device: torch.device) -> None:
        self.model, self.load_device, self.offload_device = model, load_device, offload_device
        if not hasattr(model, "dynamic_pins"):
            model.dynamic_pins, model.dynamic_vbars, model.dynamic_patchers = {}, {}, set()
        model.dynamic_pins.setdefault(load_device, {"weights": (Handle(), [])})
        model.dynamic_vbars.setdefault(load_device, Handle())
        model.dynamic_patchers.add(id(self))


def comfy_modules(host: Host) -> dict[str, types.ModuleType]:
    class ProgressBar:
        def __init__(self, total: int) -> None:
            self.total = total

        def update_absolute(self, value: int, total: int, preview: object = None) -> None:
            host.bars.append((value, total))

    def models_in(folder: str) -> list[str]:
        return sorted(path.name for path in host.models.iterdir())

    def full_path(folder: str, name: str) -> str | None:
        path = host.models / Path(name).name
        return str(path) if path.is_file() else None

    def save_path(prefix: str, output: str, width: int = 0, height: int = 0) -> tuple[str, str, int, str, str]:
        prefix = prefix.replace("%width%", str(width)).replace("%height%", str(height))
        folder, name = Path(output, prefix).parent, Path(prefix).name
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder), name, len(list(folder.glob(f"{name}_*"))) + 1, "", prefix

    cpu = torch.device("cpu")
    contents: dict[str, dict[str, Any]] = {
        "comfy": {},
        "comfy.model_management": {
            "get_torch_device": lambda: cpu,
            "unet_offload_device": lambda: cpu,
            "intermediate_device": lambda: cpu,
            "load_models_gpu": lambda models, **how: host.loaded.append((models, how)),
            "throw_exception_if_processing_interrupted": host.check,
        },
        "comfy.model_patcher": {"ModelPatcher": Patcher},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy.cli_args": {"args": host.args},
        "comfy_api": {},
        "comfy_api.latest": {
            "io": io_module(),
            "ComfyExtension": type("ComfyExtension", (), {}),
            "Input": types.SimpleNamespace(Video=type("VideoInput", (), {"get_stream_source": lambda self: None})),
            "InputImpl": types.SimpleNamespace(VideoFromFile=Video, VideoFromComponents=type("Made", (Video,), {})),
        },
        "comfy_execution": {},
        "comfy_execution.utils": {"get_executing_context": lambda: types.SimpleNamespace(node_id="7")},
        "folder_paths": {
            "get_filename_list": models_in,
            "get_full_path": full_path,
            "get_folder_paths": lambda folder: [str(host.models)],
            "get_input_directory": lambda: str(host.folders / "input"),
            "get_output_directory": lambda: str(host.folders / "output"),
            "get_temp_directory": lambda: str(host.folders / "temp"),
            "get_save_image_path": save_path,
            "get_input_subfolders": lambda: sorted(
                path.relative_to(host.folders / "input").as_posix()
                for path in (host.folders / "input").rglob("*")
                if path.is_dir()
            ),
        },
        "server": {
            "PromptServer": types.SimpleNamespace(
                instance=types.SimpleNamespace(
                    send_progress_text=lambda text, node: host.said.append(text),
                    send_sync=lambda event, data, client: host.sent.append((event, data)),
                    client_id="browser",
                )
            )
        },
    }
    modules = {name: types.ModuleType(name) for name in contents}
    for name, attributes in contents.items():
        vars(modules[name]).update(attributes)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, modules[name])
    return modules


def forget_nodes() -> None:
    """What was imported against stand-ins of one test must not serve another."""
    for name in [name for name in sys.modules if f"{name}.".startswith("backplate.nodes.")]:
        del sys.modules[name]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Host]:
    host = Host(models=tmp_path, folders=tmp_path.with_name(f"{tmp_path.name}_comfyui"))
    for name in ("input", "output"):
        (host.folders / name).mkdir(parents=True)
    for name, module in comfy_modules(host).items():
        monkeypatch.setitem(sys.modules, name, module)
    forget_nodes()
    yield host
    forget_nodes()


@pytest.fixture
def interrupted() -> type[Interrupted]:
    """The error that stands for ComfyUI's own on Cancel."""
    return Interrupted
