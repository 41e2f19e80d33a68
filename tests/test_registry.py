"""What ComfyUI's registry wants of a pack (docs.comfy.org/registry/specifications)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHAPES = {"Icon": (1, 1), "Banner": (21, 9)}


@pytest.mark.parametrize("name", SHAPES)
def test_icon_and_banner_are_files_of_this_repository_in_the_right_shape(name: str):
    address = PROJECT["tool"]["comfy"][name]
    _, _, path = address.partition("/backplate/backplate/main/")
    with Image.open(ROOT / path) as image:
        width, height = image.size
    assert width * SHAPES[name][1] == height * SHAPES[name][0]
    assert name != "Icon" or width <= 400


def test_the_registry_learns_versions_systems_and_devices():
    comfy, project = PROJECT["tool"]["comfy"], PROJECT["project"]
    assert {"PublisherId", "DisplayName", "requires-comfyui"} <= set(comfy)
    tried = [path.stem for path in (ROOT / "tests" / "object_info").glob("*.json")]
    oldest = min(tried, key=lambda version: [int(part) for part in version.split(".")])
    assert comfy["requires-comfyui"] == f">={oldest}"
    assert {"Operating System", "Environment"} <= {each.partition(" :: ")[0] for each in project["classifiers"]}
    assert {"Repository", "Documentation", "Issues"} <= set(project["urls"])
