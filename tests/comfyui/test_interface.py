"""What ComfyUI shows of us: the node list, its texts, the help pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_models
from comfy_server import PACK, Client

pytestmark = pytest.mark.comfyui

PUBLIC = json.loads((Path(__file__).parents[1] / "nodes" / "public_interface.json").read_text(encoding="utf-8"))


def inputs_of(info: dict, kind: str) -> dict:
    return info["input"].get(kind, {})


def test_the_pack_loads_without_complaint(comfy: Client) -> None:
    log = comfy.server.log.read_text(encoding="utf-8", errors="replace")
    assert "IMPORT FAILED" not in log
    assert "could not be loaded" not in log


def test_exactly_the_public_nodes_are_listed(comfy: Client) -> None:
    listed = {name for name in comfy.get_json("/object_info") if name.startswith("Backplate")}
    assert listed == set(PUBLIC)


@pytest.mark.parametrize("node", PUBLIC)
def test_a_node_is_what_the_public_list_says(comfy: Client, node: str) -> None:
    info = comfy.get_json(f"/object_info/{node}")[node]
    kinds = {"required": PUBLIC[node]["required"], "optional": PUBLIC[node]["optional"]}
    for kind, expected in kinds.items():
        found = {name: type_name(each) for name, each in inputs_of(info, kind).items()}
        assert list(found.items()) == list(expected.items())
    assert dict(zip(info["output_name"], info["output"], strict=True)) == PUBLIC[node]["outputs"]


def type_name(entry: list) -> str:
    return entry[0] if isinstance(entry[0], str) else "COMBO"


@pytest.mark.parametrize("node", PUBLIC)
def test_every_input_and_output_explains_itself(comfy: Client, node: str) -> None:
    info = comfy.get_json(f"/object_info/{node}")[node]
    entries = {**inputs_of(info, "required"), **inputs_of(info, "optional")}
    assert [name for name, entry in entries.items() if len(entry[1].get("tooltip", "")) < 20] == []
    assert len(info["output_tooltips"]) == len(info["output"])
    assert all(info["output_tooltips"])
    assert info["description"]
    assert info["category"] == "Backplate"


@pytest.mark.parametrize("node", PUBLIC)
def test_every_node_has_a_help_page(comfy: Client, node: str) -> None:
    page = comfy.get(f"/extensions/{PACK}/docs/{node}.md").decode()
    missing = [name for name in {**PUBLIC[node]["required"], **PUBLIC[node]["optional"]} if f"`{name}`" not in page]
    assert missing == []


def test_the_browser_loads_the_scripts_that_show_texts_and_views(comfy: Client) -> None:
    paths = sorted(path for path in comfy.get_json("/extensions") if f"/{PACK}/" in path)
    assert [path.rpartition("/js/")[2] for path in paths] == ["advanced.js", "before_after.js", "text.js"]
    for path in paths:
        assert "registerExtension" in comfy.get(path).decode()


def test_the_model_list_holds_what_can_be_loaded(comfy: Client) -> None:
    info = comfy.get_json("/object_info/BackplateLoadUpscaleModel")["BackplateLoadUpscaleModel"]
    entry = info["input"]["required"]["model_name"]
    names = {name.replace("\\", "/") for name in (entry[0] if isinstance(entry[0], list) else entry[1]["options"])}
    wanted = {tiny_models.COMPACT, tiny_models.COMPACT_OTHER, tiny_models.RRDB_OLD, tiny_models.RRDB_NEW}
    assert wanted <= names
    assert not names & set(tiny_models.HIDDEN)
