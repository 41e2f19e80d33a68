"""What is packed is what is there, and the two lists of dependencies are one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_PACKED = {"tests", "benchmarks", "build", "workflows", "web", "docs", "examples"}


def test_every_package_on_disk_is_listed():
    found = {"backplate"}
    for init in ROOT.rglob("__init__.py"):
        parts = init.parent.relative_to(ROOT).parts
        if parts and not parts[0].startswith(".") and parts[0] not in NOT_PACKED:
            found.add(".".join(("backplate", *parts)))
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found


def test_requirements_equal_the_declared_dependencies():
    lines = (ROOT / "requirements.txt").read_text().split("\n")
    assert [line for line in lines if line] == PYPROJECT["project"]["dependencies"]


@pytest.mark.parametrize("name", ["torch", "torchvision"])
def test_torch_is_not_pinned(name: str):
    """The host has chosen its build of torch already; a version here would make pip replace it."""
    (line,) = (each for each in PYPROJECT["project"]["dependencies"] if re.match(rf"{name}\b", each))
    assert re.fullmatch(rf"{name}(>=[\d.]+)?", line), "a floor only"


def test_version_is_said_once():
    text = (ROOT / "core" / "version.py").read_text()
    found = re.search(r'VERSION = "([^"]+)"', text)
    assert found is not None
    assert found.group(1) == PYPROJECT["project"]["version"]


def test_sources_are_ascii():
    for path in ROOT.rglob("*.py"):
        if not any(part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts):
            assert path.read_text(encoding="utf-8").isascii(), path
