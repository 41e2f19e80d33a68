"""Workflows and prompts that were saved with the first release open and mean the same.

``first_release.json`` holds its templates: each as a prompt, and the values of our nodes as a saved workflow keeps
them, by position.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
FIRST: dict[str, Any] = json.loads((TESTS / "first_release.json").read_text(encoding="utf-8"))
OBJECT_INFO = sorted((TESTS / "object_info").glob("*.json"))
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
FILES = ("model_name", "folder")
"""Choices that are files of the machine."""


def ours() -> list[Any]:
    return [
        pytest.param(node, each["widgets_values"][number], id=f"{name}-{number}-{node['class_type']}")
        for name, each in FIRST.items()
        for number, node in each["prompt"].items()
        if node["class_type"].startswith("Backplate")
    ]


def is_link(value: Any) -> bool:
    return isinstance(value, list)


@pytest.fixture(params=OBJECT_INFO, ids=lambda path: path.stem)
def info(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(request.param.read_text(encoding="utf-8"))


def entries(info: dict[str, Any], node: str) -> dict[str, Any]:
    known = info[node]["input"]
    return {**known["required"], **known.get("optional", {})}


def is_choice(entry: Any) -> bool:
    return isinstance(entry[0], list) or entry[0] == "COMBO"


def test_every_node_of_ours_that_had_widgets_is_there():
    assert len({param.values[0]["class_type"] for param in ours()}) == 10


@pytest.mark.parametrize(("node", "saved"), ours())
def test_positions_of_saved_values_mean_the_same_inputs(node: dict[str, Any], saved: list[Any], info: dict[str, Any]):
    known = entries(info, node["class_type"])
    names = [name for name, entry in known.items() if is_choice(entry) or entry[0] in WIDGETS]
    restored = dict(zip(names, saved, strict=False))
    assert len(saved) <= len(names)
    assert restored == {name: node["inputs"][name] for name in restored}


@pytest.mark.parametrize(("node", "saved"), ours())
def test_a_prompt_is_accepted_as_it_is(node: dict[str, Any], saved: list[Any], info: dict[str, Any]):
    known, given = entries(info, node["class_type"]), node["inputs"]
    assert set(info[node["class_type"]]["input"]["required"]) <= set(given), "an input that must be given is new"
    for name, value in given.items():
        entry = known[name]
        if is_link(value):
            assert entry[0] not in (*WIDGETS, None)
        elif is_choice(entry):
            choices = entry[0] if isinstance(entry[0], list) else entry[1]["options"]
            assert name in FILES or value in choices, name
        elif entry[0] in ("INT", "FLOAT"):
            assert entry[1]["min"] <= value <= entry[1]["max"], name
        else:
            assert isinstance(value, str if entry[0] == "STRING" else bool), name
