"""Lays out a template: nodes in columns, with room for what they show after a run.

A template is a list of columns, each a list of ``Node``; links are written at the input where they end, as
``("name of the node", "output")``. What a node type has for inputs and outputs comes from ``object_info``.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OBJECT_INFO = sorted((ROOT / "tests" / "object_info").glob("*.json"))
SIZES: dict[str, dict[str, list[int]]] = json.loads((ROOT / "tests" / "node_sizes.json").read_text("utf-8"))
"""By node type: ``loaded``, the size that it is saved with, and ``run``, the largest after a run in either renderer,
without the bar of its title."""

TITLE, GAP_X, GAP_Y, MARGIN = 30, 60, 50, 24
SCREEN, BARS = (1600, 1000), (120, 110)
"""A window, and the space that the front end's bars take at its left and top."""

CHANGE_ME = {"color": "#232", "bgcolor": "#353"}
"""For nodes that nearly everybody changes: the front end's green."""
GROUP_COLOURS = {"Input": "#3f789e", "Upscale": "#8A8", "Result": "#b58b2a", "Generate": "#88A", "Compare": "#a1309b"}


@dataclass(kw_only=True)
class Node:
    type: str
    values: list[Any] = field(default_factory=list)
    named: dict[str, Any] = field(default_factory=dict)
    """Widgets behind those of ``values``, by name; the others there get their defaults."""
    inputs: dict[str, tuple[str, str]] = field(default_factory=dict)
    title: str = ""
    name: str = ""
    models: list[dict[str, str]] = field(default_factory=list)
    change_me: bool = False
    size: tuple[int, int] | None = None

    @property
    def key(self) -> str:
        return self.name or self.title or self.type

    @property
    def loaded(self) -> tuple[int, int]:
        width, height = SIZES[self.type]["loaded"]
        return self.size or (width, height)

    @property
    def run(self) -> tuple[int, int]:
        width, height = SIZES[self.type]["run"]
        return max(width, self.loaded[0]), max(height, self.loaded[1])


@dataclass(kw_only=True)
class Column:
    group: str
    nodes: list[Node]


def column(group: str, *nodes: Node) -> Column:
    return Column(group=group, nodes=list(nodes))


@dataclass(kw_only=True)
class Template:
    title: str
    """Name of the file, which the front end shows."""
    prompt: str
    """Name of the same as a prompt for scripts, in ``workflows/api``."""
    columns: list[Column]
    app: tuple[list[tuple[str, str]], list[str]] | None = None
    """Inputs (node, widget) and output nodes of its form in App Mode."""


def note(text: str, height: int, width: int = 380) -> Node:
    return Node(type="MarkdownNote", title="Read me", values=[text], size=(width, height))


def build(template: Template, info: dict[str, Any]) -> dict[str, Any]:
    """The workflow as the front end saves it, format 0.4."""
    nodes = [node for column in template.columns for node in column.nodes]
    ids = {node.key: number for number, node in enumerate(nodes, start=1)}
    positions, groups = place(template.columns)
    links: list[list[Any]] = []
    made = [described(node, ids[node.key], positions[node.key], info) for node in nodes]
    by_id = {each["id"]: each for each in made}
    for node in nodes:
        for name, (source, output) in node.inputs.items():
            connect(by_id[ids[source]], output, by_id[ids[node.key]], name, links)
    extra: dict[str, Any] = {"ds": view(groups), "prompt": f"api/{template.prompt}.json"}
    if template.app:
        inputs, outputs = template.app
        extra["linearData"] = {
            "inputs": [[str(ids[key]), widget] for key, widget in inputs],
            "outputs": [str(ids[key]) for key in outputs],
        }
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"backplate/{template.prompt}")),
        "revision": 0,
        "last_node_id": len(nodes),
        "last_link_id": len(links),
        "nodes": made,
        "links": links,
        "groups": groups,
        "config": {},
        "extra": extra,
        "version": 0.4,
    }


def place(columns: list[Column]) -> tuple[dict[str, list[int]], list[dict[str, Any]]]:
    """Position of each node by its key, and a group around the columns that share one."""
    positions: dict[str, list[int]] = {}
    boxes: dict[str, list[int]] = {}
    left = 0
    for column in columns:
        top, width = 0, max(node.run[0] for node in column.nodes)
        for node in column.nodes:
            positions[node.key] = [left, top]
            top += node.run[1] + TITLE + GAP_Y
        low = top - GAP_Y - TITLE
        box = boxes.setdefault(column.group, [left, 0, left + width, low])
        box[2:] = [left + width, max(box[3], low)]
        left += width + GAP_X
    groups = [
        {
            "id": number,
            "title": title,
            "bounding": [
                box[0] - MARGIN, -TITLE - 2 * MARGIN, box[2] - box[0] + 2 * MARGIN, box[3] + TITLE + 3 * MARGIN,
            ],
            "color": GROUP_COLOURS[title],
            "font_size": 24,
            "flags": {},
        }
        for number, (title, box) in enumerate(boxes.items(), start=1)
    ]  # fmt: skip
    return positions, groups


def view(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything in the window, and the first row below the bars."""
    left = min(group["bounding"][0] for group in groups)
    top = min(group["bounding"][1] for group in groups)
    right = max(group["bounding"][0] + group["bounding"][2] for group in groups)
    low = max(group["bounding"][1] + group["bounding"][3] for group in groups)
    room = [screen - bar - 40 for screen, bar in zip(SCREEN, BARS, strict=True)]
    scale = round(min(0.9, room[0] / (right - left), max(room[1] / (low - top), 0.5)), 3)
    return {"scale": scale, "offset": [round(BARS[0] / scale - left), round(BARS[1] / scale - top)]}


def described(node: Node, number: int, position: list[int], info: dict[str, Any]) -> dict[str, Any]:
    known = info.get(node.type, {})
    sockets = {**known.get("input", {}).get("required", {}), **known.get("input", {}).get("optional", {})}
    optional = known.get("input", {}).get("optional", {})
    inputs = [
        {"name": name, "type": entry[0], "link": None} | ({"shape": 7} if name in optional else {})
        for name, entry in sockets.items()
        if isinstance(entry[0], str) and entry[0] not in WIDGETS
    ]
    if node.type == "BatchImagesNode":
        inputs = [{"label": name, "name": f"images.{name}", "type": "IMAGE", "link": None} for name in BATCHED]
        inputs[-1]["shape"] = 7
    outputs = [
        {"name": name, "type": kind, "links": None}
        for name, kind in zip(known.get("output_name", []), known.get("output", []), strict=True)
    ]
    properties: dict[str, Any] = {}
    if node.type != "MarkdownNote":
        ours = node.type.startswith("Backplate")
        properties = {
            "Node name for S&R": node.type,
            "cnr_id": "backplate" if ours else "comfy-core",
            "ver": "0.1.0" if ours else "0.8.0",
        }
    if node.models:
        properties["models"] = node.models
    made: dict[str, Any] = {
        "id": number,
        "type": node.type,
        "pos": position,
        "size": list(node.loaded),
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": inputs,
        "outputs": outputs,
        "properties": properties,
        "widgets_values": values_of(node, sockets),
    }
    made |= {"title": node.title} if node.title else {}
    made |= CHANGE_ME if node.change_me else {}
    return made | ({"color": "#432", "bgcolor": "#653"} if node.type == "MarkdownNote" else {})


def values_of(node: Node, sockets: dict[str, Any]) -> list[Any]:
    widgets = {name: entry for name, entry in sockets.items() if entry[0] in WIDGETS}
    if not node.named:
        return node.values
    if unknown := set(node.named) - set(list(widgets)[len(node.values) :]):
        raise KeyError(f"{node.type} has no widget {unknown} behind its first {len(node.values)}")
    behind = list(widgets.items())[len(node.values) :]
    return [*node.values, *(node.named.get(name, entry[1]["default"]) for name, entry in behind)]


BATCHED = ("image0", "image1", "image2")
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def connect(source: dict[str, Any], output: str, target: dict[str, Any], name: str, links: list[list[Any]]) -> None:
    slot = next(number for number, each in enumerate(source["outputs"]) if each["name"] == output)
    place_of = next((number for number, each in enumerate(target["inputs"]) if each["name"] == name), None)
    if place_of is None:
        raise KeyError(f"{target['type']} has no input {name}")
    number = len(links) + 1
    kind = target["inputs"][place_of]["type"]
    links.append([number, source["id"], slot, target["id"], place_of, kind])
    target["inputs"][place_of]["link"] = number
    source["outputs"][slot]["links"] = [*(source["outputs"][slot]["links"] or []), number]
