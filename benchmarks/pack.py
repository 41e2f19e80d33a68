"""What the scripts of this folder share: the pack under its own name, ComfyUI, and what is said about a measurement."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
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


def comfyui_home() -> Path:
    return Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()


def load_comfyui(cpu: bool) -> None:
    """Makes the modules of a real ComfyUI importable, which reads its options from the command line."""
    sys.path.insert(0, str(comfyui_home()))
    sys.argv = ["main.py", *(["--cpu"] if cpu else [])]
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("comfy.cli_args")


def peak_bytes() -> int:
    """The most that was resident of this process. On Linux getrusage would carry over the peak of the process that
    started it."""
    status = Path("/proc/self/status")
    # Not every kernel that calls itself Linux keeps it.
    if status.is_file() and "VmHWM:" in (text := status.read_text()):
        return int(text.split("VmHWM:")[1].split()[0]) * 2**10
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 2**10


def peak_megabytes() -> float:
    return peak_bytes() / 2**20
