"""Small facts about models that were measured once and are kept on disk, in the user's cache folder."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import platform
from functools import cache
from pathlib import Path
from typing import Any, cast

import platformdirs
import torch

from ..atomic_write import write_atomic

logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where what was measured and built is kept for this user; it need not exist, and may be deleted."""
    return Path(platformdirs.user_cache_dir("backplate", appauthor=False))


def device_name(device: torch.device) -> str:
    """The device as a person knows it, with what decides its speed."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return str(device)


@cache
def processor_name() -> str:
    """The CPU's model, which also feeds a GPU; home folders are shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return names[0] if names else platform.processor()


def package_version(package: str) -> str:
    """The installed version; empty if the package is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


class FactStore:
    """A dictionary in a file of its own. A damaged file or one of another ``version`` counts as empty, and one that
    cannot be written only costs measuring again."""

    def __init__(self, name: str, version: int) -> None:
        self._name, self._version = name, version

    @property
    def path(self) -> Path:
        return cache_folder() / f"{self._name}.json"

    def read(self) -> dict[str, Any]:
        try:
            data = json.loads(self.path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return {}
        if not isinstance(data, dict):
            return {}
        content = cast("dict[str, Any]", data)
        facts = content.get("facts")
        return (
            cast("dict[str, Any]", facts) if content.get("version") == self._version and isinstance(facts, dict) else {}
        )

    def add(self, key: str, fact: int | str | dict[str, Any]) -> None:
        content = json.dumps({"version": self._version, "facts": {**self.read(), key: fact}})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, content.encode("ascii"))
        except OSError as error:
            logger.info("What was measured could not be kept at %s: %s", self.path, error)
