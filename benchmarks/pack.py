"""What the scripts of this folder share: the pack under its own name, and the commit that was measured."""

from __future__ import annotations

import importlib
import importlib.util
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
    """The commit that is checked out, short; empty outside of a repository."""
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip()
