"""The example workflows open and run: checked offline against what two versions of ComfyUI say of their nodes.

``object_info/<version>.json`` is the part of ``/object_info`` of that version, with this pack in it, that the
workflows use; ``tests/comfyui/test_workflows.py`` runs them for real.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from backplate.model_loader.catalogue import CATALOGUE
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
OBJECT_INFO = sorted((ROOT / "tests" / "object_info").glob("*.json"))


def name_of(path: Path) -> str:
    return path.stem


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def twin(workflow: Path) -> Path:
    return workflow.parent / "api" / workflow.name


def test_there_are_workflows_and_each_has_its_twin_and_thumbnail():
    assert len(WORKFLOWS) >= 5
    assert sorted(path.name for path in (ROOT / "workflows" / "api").glob("*.json")) == [w.name for w in WORKFLOWS]
    for workflow in WORKFLOWS:
        with Image.open(workflow.with_suffix(".jpg")) as thumbnail:
            assert thumbnail.format == "JPEG"
            assert max(thumbnail.size) <= 1024


def test_no_other_folder_that_comfyui_takes_for_templates():
    """It serves the files of the first one it finds only, and lists those of all."""
    others = ("example_workflows", "example", "examples", "workflow")
    assert not [name for name in others if (ROOT / name).exists()]


@pytest.mark.parametrize("info", OBJECT_INFO, ids=name_of)
@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
@pytest.mark.parametrize("form", ["ui", "api"])
def test_the_offline_validator_finds_no_fault(workflow: Path, info: Path, form: str, tmp_path: Path):
    path = workflow if form == "ui" else twin(workflow)
    command = [str(Path(sys.executable).parent / "comfy"), "--json", "workflow", "validate"]
    done = subprocess.run(
        [*command, "--workflow", str(path), "--input", str(info)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        # Its settings go to a folder of the test, and it tells nobody that it ran.
        env={**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "DO_NOT_TRACK": "1"},
        check=False,
    )
    answer = json.loads(done.stdout)
    assert answer["ok"], answer
    assert answer["data"]["valid"], answer["data"]["errors"]
    assert not answer["data"]["errors"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_the_twin_is_the_workflow(workflow: Path):
    from comfy_cli.workflow_to_api import convert_ui_to_api

    assert convert_ui_to_api(read(workflow), read(OBJECT_INFO[-1])) == read(twin(workflow))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_model_nodes_say_where_their_published_file_comes_from(workflow: Path):
    known = {entry.file: entry for entry in CATALOGUE}
    loaders = [node for node in read(workflow)["nodes"] if node["type"] == "BackplateLoadUpscaleModel"]
    assert loaders
    for node in loaders:
        (model,) = node["properties"]["models"]
        entry = known[model["name"]]
        assert node["widgets_values"][0] == model["name"]
        assert (model["url"], model["hash"], model["directory"]) == (entry.url, entry.sha256, "upscale_models")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_only_the_format_that_every_frontend_reads(workflow: Path):
    graph = read(workflow)
    assert graph["version"] == 0.4
    assert all(len(link) == 6 for link in graph["links"])
    assert all("properties" in node for node in graph["nodes"])
