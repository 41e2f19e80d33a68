"""What a report of a fault needs is there."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
import torch
from backplate.core.jobs import doctor

PYPROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


def test_the_block_names_versions_device_and_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKPLATE_TUNE", "0")
    text = doctor.diagnosis("1.2.3")
    assert text.startswith("backplate 1.2.3, Python ")
    assert f"torch {importlib.metadata.version('torch')}" in text
    assert f"device: {'cuda' if torch.cuda.is_available() else 'cpu'}" in text
    assert "engine pytorch: usable" in text
    assert "libavcodec" in text
    assert "BACKPLATE_TUNE=0" in text


def test_the_comfyui_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.99.1"\n')
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    assert f"ComfyUI: 0.99.1 at {tmp_path}" in doctor.diagnosis("1")


@pytest.mark.parametrize(
    ("found", "is_old"), [("12.2.9", True), ("12.3", False), ("12.3.0", False), ("13.0.0", False), ("9.5", True)]
)
def test_parsers_with_known_holes_are_named(monkeypatch: pytest.MonkeyPatch, found: str, is_old: bool) -> None:
    monkeypatch.setattr(doctor, "package_version", lambda name: found if name == "Pillow" else "")
    expected = [f"Pillow {found} has known holes; install 12.3 or newer."] if is_old else []
    assert doctor.outdated() == expected


@pytest.mark.parametrize("package", doctor.SAFE_FROM)
def test_the_floors_are_those_that_are_installed_from(package: str) -> None:
    floors = re.findall(rf'"{package}>=([\d.]+)', PYPROJECT.read_text())
    assert doctor.SAFE_FROM[package] in floors
