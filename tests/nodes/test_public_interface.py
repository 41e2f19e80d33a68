"""Node ids, input and output names are what shared workflows are written in; they only change on purpose."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Host

PUBLIC = json.loads(Path(__file__).with_name("public_interface.json").read_text(encoding="utf-8"))


def interface(schema: Any) -> dict[str, dict[str, str]]:
    def ports(of: list[Any], optional: bool | None = None) -> dict[str, str]:
        return {port.id: port.kind for port in of if optional is None or port.given.get("optional", False) is optional}

    return {
        "required": ports(schema.inputs, optional=False),
        "optional": ports(schema.inputs, optional=True),
        "outputs": ports(schema.outputs),
    }


def nodes(host: Host) -> list[Any]:
    """Those that ComfyUI gets to see."""
    return [node for family in host.node("extension", "FAMILIES") for node in host.node(family, "NODES")]


def schemas(host: Host) -> list[Any]:
    return [node.define_schema() for node in nodes(host)]


def test_nodes_are_what_the_public_list_says(host: Host) -> None:
    found = {schema.node_id: interface(schema) for schema in schemas(host)}
    assert as_lists(found) == as_lists(PUBLIC)


def as_lists(nodes: dict[str, dict[str, dict[str, str]]]) -> dict[str, Any]:
    """Also compares the order of inputs and outputs, which workflows rely on."""
    return {name: {kind: list(ports.items()) for kind, ports in node.items()} for name, node in nodes.items()}


def test_execute_takes_every_input_and_no_other(host: Host) -> None:
    for node in nodes(host):
        signature = inspect.signature(node.execute)
        ports = node.define_schema().inputs
        needed = {port.id for port in ports if not port.given.get("optional")}
        named = {name for name, each in signature.parameters.items() if each.kind is not each.VAR_KEYWORD}
        signature.bind(**dict.fromkeys(needed))
        signature.bind(**{port.id: None for port in ports})
        assert named <= {port.id for port in ports}, node


def test_defaults_are_among_the_choices(host: Host) -> None:
    for schema in schemas(host):
        for port in schema.inputs:
            if port.kind == "COMBO" and "default" in port.given:
                assert port.given["default"] in port.given["options"], f"{schema.node_id}.{port.id}"


def test_every_node_has_a_help_page_that_names_its_inputs() -> None:
    docs = Path(__file__).parents[2] / "web" / "docs"
    for name, node in PUBLIC.items():
        page = (docs / f"{name}.md").read_text(encoding="utf-8")
        inputs = [*node["required"], *node["optional"], *node["outputs"]]
        assert [each for each in inputs if f"`{each}`" not in page] == [], name


MOST_AT_ONCE = 10
"""Widgets that a node shows when it is dropped on the canvas: what fits a screen at its natural size."""
WIDGETS = ("COMBO", "INT", "FLOAT", "STRING", "BOOLEAN")


def hints(port: Any) -> dict[str, Any]:
    return port.given.get("extra_dict") or {}


def test_a_new_node_shows_few_inputs(host: Host) -> None:
    for schema in schemas(host):
        shown = [port.id for port in schema.inputs if port.kind in WIDGETS and not hints(port).get("advanced")]
        assert len(shown) <= MOST_AT_ONCE, schema.node_id


def test_inputs_of_one_choice_name_it_as_it_is_called(host: Host) -> None:
    """``shown_for``, which web/js/advanced.js reads: a misspelt choice would hide an input for good."""
    found = 0
    for schema in schemas(host):
        choices = {port.id: port.options for port in schema.inputs}
        for port in schema.inputs:
            for name, values in hints(port).get("shown_for", {}).items():
                assert values, port.id
                assert set(values) <= set(choices[name]), f"{schema.node_id}.{port.id}"
                assert hints(port)["advanced"], port.id
                found += 1
    assert found > 10
