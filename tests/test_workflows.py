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
from backplate.model_loader.find import BUNDLED
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
BUNDLED_FILES = {path.name for path in BUNDLED.glob("*.safetensors")}
OBJECT_INFO = sorted((ROOT / "tests" / "object_info").glob("*.json"))


def name_of(path: Path) -> str:
    return path.stem


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def twin(workflow: Path) -> Path:
    """The same as a prompt for scripts, whose name has no blanks in it."""
    return workflow.parent / read(workflow)["extra"]["prompt"]


SIZES = read(ROOT / "tests" / "node_sizes.json")
TITLE = 30


def boxes(workflow: Path, when: str) -> list[tuple[str, float, float, float, float]]:
    """Name, left, top, right and lower side of each node, with its title: as it is ``loaded``, or after a ``run``."""
    found = []
    for node in read(workflow)["nodes"]:
        (left, top), (width, height) = node["pos"], node["size"]
        if when == "run":
            width, height = (
                max(now, then) for now, then in zip((width, height), SIZES[node["type"]]["run"], strict=True)
            )
        found.append((node.get("title", node["type"]), left, top - TITLE, left + width, top + height))
    return found


@pytest.mark.parametrize("when", ["loaded", "run"])
@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_no_node_covers_another(workflow: Path, when: str):
    found = boxes(workflow, when)
    pairs = [
        (one[0], other[0])
        for number, one in enumerate(found)
        for other in found[number + 1 :]
        if min(one[3], other[3]) > max(one[1], other[1]) and min(one[4], other[4]) > max(one[2], other[2])
    ]
    assert pairs == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_the_first_row_lies_below_the_bars_and_every_node_in_a_group(workflow: Path):
    graph = read(workflow)
    scale, offset = graph["extra"]["ds"]["scale"], graph["extra"]["ds"]["offset"]
    assert min((top + offset[1]) * scale for _, _, top, _, _ in boxes(workflow, "loaded")) > 100
    assert min((left + offset[0]) * scale for _, left, _, _, _ in boxes(workflow, "loaded")) > 60
    groups = [group["bounding"] for group in graph["groups"]]
    assert len(groups) >= 2
    for name, left, top, right, low in boxes(workflow, "run"):
        around = [g for g in groups if g[0] <= left and g[1] <= top and right <= g[0] + g[2] and low <= g[1] + g[3]]
        assert len(around) == 1, name


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_what_to_change_stands_out_and_a_note_says_what_for(workflow: Path):
    nodes = read(workflow)["nodes"]
    assert any(node.get("bgcolor") == "#353" for node in nodes)
    (note,) = [node["widgets_values"][0] for node in nodes if node["type"] == "MarkdownNote"]
    assert "Green nodes are the ones to change." in note
    assert "`" not in note, "the front end draws code in a colour that cannot be read on a note"


def test_a_name_can_be_part_of_an_address_and_says_whose_it_is():
    """The front end shows the name of the file, and puts it into addresses as it is."""
    for workflow in WORKFLOWS:
        assert workflow.stem.endswith(" (Backplate)")
        assert not set(workflow.stem) & set('#?%&+,/\\:*"<>|')


DOWNLOADABLE = ("https://civitai.com/", "https://huggingface.co/")
ALSO = "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/RealESRGAN_x4plus.pth"
"""Hosts, and one file, that ComfyUI's front end 1.49 has a Download button for."""


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_every_model_can_be_downloaded_from_the_dialog_or_comes_with_the_pack(workflow: Path):
    for node in read(workflow)["nodes"]:
        if not node["type"].startswith(("BackplateLoad", "CheckpointLoader")):
            continue
        models = node["properties"].get("models", [])
        if node["widgets_values"][0] in BUNDLED_FILES:
            assert models == []
            continue
        (model,) = models
        assert model["name"] == node["widgets_values"][0]
        assert model["url"].startswith(DOWNLOADABLE) or model["url"] == ALSO
        assert model["name"].endswith((".safetensors", ".pth"))
        assert (len(model["hash"]), model["hash_type"]) == (64, "SHA256")


@pytest.mark.parametrize("script", ["templates", "subgraphs"])
def test_the_templates_and_subgraphs_are_what_their_scripts_make(script: str):
    """Whoever changes one by hand loses it with the next change of the script."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / f"{script}.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_workflows_and_each_has_its_twin_and_thumbnail():
    assert len(WORKFLOWS) >= 5
    assert sorted((ROOT / "workflows" / "api").glob("*.json")) == sorted(map(twin, WORKFLOWS))
    sizes = set()
    for workflow in WORKFLOWS:
        with Image.open(workflow.with_suffix(".jpg")) as thumbnail:
            assert thumbnail.format == "JPEG"
            assert max(thumbnail.size) <= 1024
            sizes.add(thumbnail.size)
    assert len(sizes) == 1, "cards of one shape"


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
        if node["widgets_values"][0] in BUNDLED_FILES:
            continue
        (model,) = node["properties"]["models"]
        entry = known[model["name"]]
        assert node["widgets_values"][0] == model["name"]
        assert (model["url"], model["hash"], model["directory"]) == (
            entry.mirror or entry.url,
            entry.sha256,
            "upscale_models",
        )


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=name_of)
def test_only_the_format_that_every_frontend_reads(workflow: Path):
    graph = read(workflow)
    assert graph["version"] == 0.4
    assert all(len(link) == 6 for link in graph["links"])
    assert all("properties" in node for node in graph["nodes"])


SUBGRAPHS = sorted((ROOT / "subgraphs").glob("*.json"))


@pytest.mark.parametrize("info", OBJECT_INFO, ids=name_of)
@pytest.mark.parametrize("path", SUBGRAPHS, ids=name_of)
def test_a_subgraph_is_linked_from_its_inputs_to_its_outputs(path: Path, info: Path):
    workflow, known = read(path), read(info)
    (outer,), (inner,) = workflow["nodes"], workflow["definitions"]["subgraphs"]
    assert outer["type"] == inner["id"]
    assert [each["name"] for each in outer["inputs"]] == [each["name"] for each in inner["inputs"]]
    assert len(outer["widgets_values"]) == len(outer["properties"]["proxyWidgets"])
    nodes = {node["id"]: node for node in inner["nodes"]}
    links = {link["id"]: link for link in inner["links"]}
    assert all(node["type"] in known for node in nodes.values())
    for side, end in (("inputs", "origin"), ("outputs", "target")):
        for slot, socket in enumerate(inner[side]):
            (link,) = (links[number] for number in socket["linkIds"])
            assert (link[f"{end}_id"], link[f"{end}_slot"]) == (inner[f"{side[:-1]}Node"]["id"], slot)
    for link in links.values():
        if link["target_id"] in nodes:
            assert nodes[link["target_id"]]["inputs"][link["target_slot"]]["link"] == link["id"]
        if link["origin_id"] in nodes:
            output = nodes[link["origin_id"]]["outputs"][link["origin_slot"]]
            assert link["id"] in output["links"]
            assert output["type"] == link["type"]
    for node in nodes.values():
        required = known[node["type"]]["input"]["required"]
        sockets = {name for name, entry in required.items() if entry[0] in ("IMAGE", "MASK", "UPSCALE_MODEL")}
        assert sockets <= {each["name"] for each in node["inputs"] if each["link"] is not None}
