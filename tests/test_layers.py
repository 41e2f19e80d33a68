"""Who imports whom, read from the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
MOST_FLOORS = 9


def ground() -> tuple[str, ...]:
    """The modules that lie directly in core/."""
    return tuple(f"core.{path.stem}" for path in (ROOT / "core").glob("*.py") if path.stem != "__init__")


def allowed_imports() -> dict[str, tuple[str, ...]]:
    """Room to what of ours it may import, itself included, from the page's table."""
    table = PAGE.read_text().split("| room | may import |", 1)[1].split("\n\n", 1)[0]
    rooms: dict[str, tuple[str, ...]] = {}
    for row in table.splitlines()[2:]:
        room, others = (cell.strip() for cell in row.strip("|").split("|"))
        names = re.findall(r"`([^`]+)`", others)
        own = () if room == "`core`" else (room.strip("`"),)
        rooms[room.strip("`")] = (*own, *names, *(ground() if "*ground*" in others else ()))
    return rooms


# For each room (longest prefix wins): what of ours it may import.
ALLOWED = allowed_imports()
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
    "c2pa",
    "cryptography",
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


def floors(above: dict[str, set[str]]) -> dict[str, int]:
    """How many rooms lie under each, itself counted. Raises ``graphlib.CycleError`` where rooms need each other."""
    heights: dict[str, int] = {}
    for room in TopologicalSorter(above).static_order():
        heights[room] = 1 + max((heights[under] for under in above.get(room, ())), default=0)
    return heights


def test_rooms_form_no_circle_and_few_floors():
    above: dict[str, set[str]] = {}
    for path in sources():
        room = room_of(module_name(path))
        targets = {room_of(target) for target, ours, _ in imports_of(path) if ours and target != "__init__"}
        above.setdefault(room, set()).update(targets - {room})
    assert max(floors(above).values()) <= MOST_FLOORS, floors(above)


def test_modules_form_no_circle():
    above = {
        module_name(path): {target for target, ours, at_import in imports_of(path) if ours and at_import}
        for path in sources()
    }
    for module, targets in above.items():
        targets.discard(module)
    floors(above)


def test_the_door_imports_nothing_heavy():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    names = [n.module for n in ast.iter_child_nodes(tree) if isinstance(n, ast.ImportFrom)]
    assert names == ["__future__", "typing"]
