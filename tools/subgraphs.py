"""Writes the subgraph blueprints: ``python tools/subgraphs.py`` makes ``subgraphs/*.json`` anew.

ComfyUI lists them among its own blueprints; their content is laid out like templates (see ``layout``).
"""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layout import OBJECT_INFO, Column, Node, column, connect, described, place
from templates import BUNDLED, loader, size

ROOT = Path(__file__).resolve().parents[1]
INPUT_NODE, OUTPUT_NODE = -10, -20
"""The nodes in a subgraph that stand for its inputs and its outputs."""


@dataclass(frozen=True, kw_only=True)
class Socket:
    """An input or output of the blueprint, and the node (by its key) and the socket inside that it leads to. ``value``:
    what its widget shows, None for an input without one."""

    name: str
    type: str
    node: str
    socket: str
    value: object = None


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    title: str
    description: str
    columns: list[Column]
    inputs: list[Socket]
    outputs: list[Socket]


def upscaled(name: str, target: list[Any]) -> Node:
    inputs = {"upscale_model": ("model", "upscale_model")}
    return Node(type="BackplateUpscaleToResolution", name=name, values=[*target, 0, "plain"], inputs=inputs)


MODEL = Socket(name="model_name", type="COMBO", node="model", socket="model_name", value=BUNDLED)
SHARPEN = Node(
    type="BackplateSharpenBlend", values=[0.4, 1.5, 0.0, 0.0, True, 0.0], inputs={"base": ("sized", "image")}
)
UPSCALE_AND_SHARPEN = Blueprint(
    title="Upscale and sharpen to size (Backplate)",
    description="Enlarges an image to exactly the wanted size with an upscale model and sharpens it without halos.",
    columns=[
        column("Input", loader(BUNDLED)),
        column("Upscale", upscaled("sized", size(2048, 2048, "longest"))),
        column("Result", SHARPEN),
    ],
    inputs=[
        Socket(name="image", type="IMAGE", node="sized", socket="image"),
        MODEL,
        Socket(name="width", type="INT", node="sized", socket="width", value=2048),
        Socket(name="height", type="INT", node="sized", socket="height", value=2048),
        Socket(name="fit", type="COMBO", node="sized", socket="fit", value="longest"),
        Socket(name="sharpen", type="FLOAT", node="BackplateSharpenBlend", socket="amount", value=0.4),
    ],
    outputs=[Socket(name="image", type="IMAGE", node="BackplateSharpenBlend", socket="image")],
)  # fmt: skip
PRODUCT = Blueprint(
    title="Product on a background 2000 (Backplate)",
    description="Brings a background to 2000 x 2000 and sets a product cutout into its middle, at 80 % of the frame.",
    columns=[
        column("Input", loader(BUNDLED)),
        column(
            "Upscale",
            upscaled("ground", size(2000, 2000, "cover")),
            upscaled("product", size(1600, 1600, "contain")),
        ),
        column(
            "Result",
            Node(
                type="BackplateFitToResolution", name="placed", values=size(2000, 2000, "pad", "transparent"),
                inputs={"image": ("product", "image"), "mask": ("product", "mask")},
            ),
            Node(type="InvertMask", inputs={"mask": ("placed", "mask")}),
        ),
        column(
            "Result",
            Node(
                type="ImageCompositeMasked", values=[0, 0, False],
                inputs={
                    "destination": ("ground", "image"), "source": ("placed", "image"), "mask": ("InvertMask", "MASK"),
                },
            ),
        ),
    ],
    inputs=[
        Socket(name="background", type="IMAGE", node="ground", socket="image"),
        Socket(name="product", type="IMAGE", node="product", socket="image"),
        Socket(name="mask", type="MASK", node="product", socket="mask"),
        MODEL,
    ],
    outputs=[Socket(name="image", type="IMAGE", node="ImageCompositeMasked", socket="IMAGE")],
)  # fmt: skip
BLUEPRINTS = (UPSCALE_AND_SHARPEN, PRODUCT)


def build(blueprint: Blueprint, info: dict[str, Any]) -> dict[str, Any]:
    """A workflow of one node, whose definition is the subgraph."""
    identity = identifier(blueprint.title)
    count = sum(len(column.nodes) for column in blueprint.columns)
    widgets = [socket for socket in blueprint.inputs if socket.value is not None]
    outer = {
        "id": 1,
        "type": identity,
        "pos": [0, 0],
        "size": [340, 60 + 30 * len(blueprint.inputs)],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [outer_socket(socket) | {"link": None} for socket in blueprint.inputs],
        "outputs": [outer_socket(socket) | {"links": []} for socket in blueprint.outputs],
        "title": blueprint.title,
        "properties": {
            "proxyWidgets": [["-1", socket.name] for socket in widgets],
            "cnr_id": "backplate",
            "ver": "0.1.0",
        },
        "widgets_values": [socket.value for socket in widgets],
    }
    return {
        "revision": 0,
        "last_node_id": count + 1,
        "last_link_id": 0,
        "nodes": [outer],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [definition(blueprint, identity, info)]},
        "extra": {},
    }


def definition(blueprint: Blueprint, identity: str, info: dict[str, Any]) -> dict[str, Any]:
    nodes = [node for column in blueprint.columns for node in column.nodes]
    positions, _ = place(blueprint.columns)
    made = {node.key: described(node, number, positions[node.key], info) for number, node in enumerate(nodes, start=2)}
    links: list[list[Any]] = []
    for node in nodes:
        for name, (source, output) in node.inputs.items():
            connect(made[source], output, made[node.key], name, links)
    inputs = [outward(socket, slot, made, links) for slot, socket in enumerate(blueprint.inputs)]
    outputs = [inward(socket, slot, made, links) for slot, socket in enumerate(blueprint.outputs)]
    right = max(node["pos"][0] + node["size"][0] for node in made.values())
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return {
        "id": identity,
        "version": 1,
        "state": {"lastGroupId": 0, "lastNodeId": len(nodes) + 1, "lastLinkId": len(links), "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": blueprint.title,
        "inputNode": {"id": INPUT_NODE, "bounding": [-220, 0, 120, 40 + 20 * len(inputs)]},
        "outputNode": {"id": OUTPUT_NODE, "bounding": [right + 100, 0, 120, 40 + 20 * len(outputs)]},
        "inputs": inputs,
        "outputs": outputs,
        "widgets": [],
        "nodes": list(made.values()),
        "groups": [],
        "links": [dict(zip(names, link, strict=True)) for link in links],
        "extra": {},
        "category": "Backplate",
        "description": blueprint.description,
    }


def outward(socket: Socket, slot: int, made: dict[str, Any], links: list[list[Any]]) -> dict[str, Any]:
    """The subgraph's input, linked to the node inside. A widget there gets a socket."""
    target = made[socket.node]
    if socket.value is not None:
        widget = {"name": socket.socket, "type": socket.type, "widget": {"name": socket.socket}, "link": None}
        target["inputs"].append(widget)
    place_of = next(number for number, each in enumerate(target["inputs"]) if each["name"] == socket.socket)
    number = len(links) + 1
    links.append([number, INPUT_NODE, slot, target["id"], place_of, socket.type])
    target["inputs"][place_of]["link"] = number
    return inner_socket(socket, number, slot)


def inward(socket: Socket, slot: int, made: dict[str, Any], links: list[list[Any]]) -> dict[str, Any]:
    """The subgraph's output, linked from the node inside."""
    source = made[socket.node]
    place_of = next(number for number, each in enumerate(source["outputs"]) if each["name"] == socket.socket)
    number = len(links) + 1
    links.append([number, source["id"], place_of, OUTPUT_NODE, slot, socket.type])
    source["outputs"][place_of]["links"] = [*(source["outputs"][place_of]["links"] or []), number]
    return inner_socket(socket, number, slot)


def inner_socket(socket: Socket, link: int, slot: int) -> dict[str, Any]:
    identity = identifier(f"{socket.node}/{socket.socket}/{socket.name}")
    return {"id": identity, "name": socket.name, "type": socket.type, "linkIds": [link], "pos": [0, 20 + 20 * slot]}


def outer_socket(socket: Socket) -> dict[str, Any]:
    widget = {"widget": {"name": socket.name}} if socket.value is not None else {}
    return {"name": socket.name, "type": socket.type, **widget}


def identifier(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"backplate/subgraph/{name}"))


def main() -> None:
    info = json.loads(OBJECT_INFO[0].read_text("utf-8"))
    for blueprint in BLUEPRINTS:
        path = ROOT / "subgraphs" / f"{blueprint.title}.json"
        text = json.dumps(build(blueprint, info), indent=1) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
        elif not path.is_file() or path.read_text("utf-8") != text:
            sys.exit(f"Not what tools/subgraphs.py makes: {path.name}")


if __name__ == "__main__":
    main()
