"""Who imports whom, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND = ("core.types", "core.errors", "core.progress", "core.upscaler", "core.atomic_write", "core.deferred")
CORE = ("core", "model_loader")

# For each room (longest prefix wins): what of ours it may import.
ALLOWED: dict[str, tuple[str, ...]] = {
    "__init__": ("nodes.extension",),
    "nodes": ("nodes", *CORE),
    "cli": ("cli", "__init__", *CORE),
    "core": GROUND,
    "core.errors": ("model_loader.errors",),  # for the names that errors are shown under
    "core.image": ("core.image", *GROUND),
    "core.tiled": ("core.tiled", "core.image", *GROUND),
    "core.engines": ("core.engines", "core.image", "model_loader", *GROUND),
    "core.media": ("core.media", "core.image", *GROUND),
    "core.metrics": ("core.metrics", "core.image", "model_loader.errors", "model_loader.files", *GROUND),
    "core.report": ("core.report", "core.image", *GROUND),
    "core.jobs": CORE,
    "core.shootout": CORE,
    "core.training": CORE,
    "core.study": CORE,
    "model_loader": ("model_loader",),
}
HOST = ("comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "execution", "server", "nodes")
HEAVY = (
    "tensorrt",
    "tensorrt_rtx",
    "onnxruntime",
    "ncnn",
    "onnx",
    "lpips",
    "imageio_ffmpeg",
    "ray",
    "kornia",
    "tensorboard",
)


def sources() -> Iterator[Path]:
    yield ROOT / "__init__.py"
    for room in ("nodes", "cli", "core", "model_loader"):
        yield from sorted((ROOT / room).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports_of(path: Path) -> Iterator[tuple[str, bool, bool]]:
    """(dotted name, is ours, runs at import time) for each import; names of ours are relative to the root."""
    tree = ast.parse(path.read_text())
    package = list(path.relative_to(ROOT).parent.parts)
    top_level = {id(node) for node in ast.iter_child_nodes(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, False, id(node) in top_level
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                full = [*base, alias.name] if is_module([*base, alias.name]) or not base else base
                name = ".".join(full)
                yield (name if is_module(full) else "__init__"), True, id(node) in top_level
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, False, id(node) in top_level


def is_module(parts: list[str]) -> bool:
    path = ROOT.joinpath(*parts)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def under(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(room + ".") for room in rooms)


def room_of(name: str) -> str:
    fitting = [room for room in ALLOWED if under(name, (room,))]
    assert fitting, f"{name} lies in no room of the layer table"
    return max(fitting, key=len)


@pytest.mark.parametrize("path", list(sources()), ids=module_name)
def test_imports_keep_to_the_layers(path: Path):
    name = module_name(path)
    allowed = ALLOWED[room_of(name)]
    for target, ours, at_import in imports_of(path):
        if ours:
            assert under(target, allowed), f"{name} imports {target}; it may import {allowed}"
        else:
            first = target.split(".")[0]
            assert first != "backplate", f"{name} imports {target} absolutely: two copies under ComfyUI"
            if first in HOST:
                assert room_of(name) == "nodes", f"{name} imports ComfyUI's {target}"
            if first == "spandrel":
                assert room_of(name) in ("model_loader", "core.engines", "core.training"), f"{name} imports spandrel"
            if first in HEAVY:
                assert not at_import, f"{name} imports the optional {target} before it is used"


def test_the_door_imports_nothing_heavy():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    names = [n.module for n in ast.iter_child_nodes(tree) if isinstance(n, ast.ImportFrom)]
    assert names == ["__future__", "typing"]
