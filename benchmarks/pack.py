"""Helpers shared by the scripts of this folder: the pack under its own name, ComfyUI, facts about the machine, and
results."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def load_pack() -> None:
    """The pack as ComfyUI loads it, from the path of its root file, installed or not."""
    spec = importlib.util.spec_from_file_location(
        "backplate", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["backplate"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def ours(name: str) -> Any:
    """A module of the pack, by its name within it."""
    return importlib.import_module(f"backplate.{name}")


def commit() -> str:
    """The commit that is checked out, short; empty outside of a repository, and without git."""
    try:
        done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


def device_name(device: Any) -> str:
    """The device as the kept plans name it."""
    return ours("core.engines.json_cache").device_name(device)


def facts_of(device: Any) -> dict[str, str]:
    """Of the machine, and what runs on it."""
    import torch

    return {
        "device": device_name(device),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "torch": torch.__version__,
        "commit": commit(),
    }


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def size_of(text: str) -> tuple[int, int]:
    """Of ``640x480``."""
    width, height = text.split("x")
    return int(width), int(height)


def line_of(cells: Iterable[str]) -> str:
    """Of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def write_results(folder: Path | None, name: str, text: str, content: Mapping[str, Any]) -> None:
    """``name``.md and ``name``.json, if there is a folder."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def run_self(script: str, words: Sequence[str]) -> str:
    """The last line that the script prints in a process of its own with these words; its standard error is passed
    through. Raises ``CalledProcessError``."""
    done = subprocess.run([sys.executable, script, *words], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def comfyui_home() -> Path:
    return Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()


def load_comfyui(cpu: bool) -> None:
    """Makes the modules of a real ComfyUI importable, which reads its options from the command line."""
    sys.path.insert(0, str(comfyui_home()))
    sys.argv = ["main.py", *(["--cpu"] if cpu else [])]
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("comfy.cli_args")


def comfyui_model(path: Path) -> Any:
    """A model as ComfyUI's loader gives it to its upscaling node; after ``load_comfyui``."""
    management = importlib.import_module("comfy.model_management")
    patcher = importlib.import_module("comfy.model_patcher")
    descriptor = ours("model_loader.loaded").load_model(path).descriptor
    descriptor.patcher = getattr(patcher, "CoreModelPatcher", patcher.ModelPatcher)(
        descriptor.model, load_device=management.get_torch_device(), offload_device=management.unet_offload_device()
    )
    return descriptor


def peak_megabytes() -> float:
    """Peak resident memory of this process. On Linux getrusage would carry over the peak of the process that
    started it."""
    status = Path("/proc/self/status")
    # Not every kernel that calls itself Linux has it.
    if status.is_file() and "VmHWM:" in (text := status.read_text()):
        return int(text.split("VmHWM:")[1].split()[0]) / 2**10
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
