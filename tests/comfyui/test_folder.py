"""A folder through a real ComfyUI: one prompt from start to end, cancelled and resumed, and no way out."""

from __future__ import annotations

import io
import json
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
from comfy_server import Client, Graph
from graphs import fitting, load_model
from PIL import Image
from reference import drawing

pytestmark = pytest.mark.comfyui


def folder_graph(model: str = tiny_models.COMPACT, **changed: object) -> tuple[Graph, str, str]:
    """The graph, its folder node and the node that shows the summary."""
    graph = Graph()
    inputs = fitting(width=64, height=64, fit="pad", pad_with="colour") | {
        "folder": "products",
        "subfolders": True,
        "output_folder": "done",
        "trim": False,
        "sharpen": 0.0,
        "format": "png",
        "quality": 95,
        "bit_depth": "as source",
        "name_template": "{stem}",
        "convert_to_srgb": False,
        "strip_gps": False,
        "resume": True,
        "overwrite": False,
        "threads": 2,
        "tile_size": 0,
        "edge": "plain",
    }
    node = graph.add("BackplateUpscaleFolder", upscale_model=load_model(graph, model), **(inputs | changed))
    return graph, node, graph.text([node, 0])


@pytest.fixture
def products(comfy: Client) -> Callable[..., Path]:
    """``products("name", count, side)`` makes a folder of drawn pictures in the server's input folder."""

    def make(name: str, count: int, side: int = 20) -> Path:
        folder = comfy.server.base / "input" / name
        (folder / "sub").mkdir(parents=True)
        for index in range(count):
            suffix = (".png", ".jpg", ".webp")[index % 3]
            path = folder / ("sub" if index % 4 == 3 else "") / f"p{index}{suffix}"
            Image.fromarray(drawing(side, side + index % 5, seed=index)).save(path)
        return folder

    return make


def lines_of(comfy: Client, folder: str) -> list[dict[str, object]]:
    manifest = comfy.server.base / "output" / folder / "manifest.jsonl"
    return [json.loads(line) for line in manifest.read_text().splitlines()] if manifest.exists() else []


def test_one_prompt_makes_the_folder_and_tells_history(comfy: Client, products: Callable[..., Path]) -> None:
    folder = products("whole", 9)
    (folder / "broken.jpg").write_bytes(b"no picture")
    graph, node, shown = folder_graph(folder="whole", output_folder="whole_done")
    run = comfy.succeed(graph)
    text = comfy.string(run, node)
    assert text.startswith("9 of 10 pictures are done, 1 failed.")
    assert "broken.jpg: not a readable picture" in text
    assert "Before and after, the least faithful first: output/whole_done/index.html" in text
    assert comfy.string(run, shown).split("\n")[0] == text.split("\n")[0]
    assert {"filename": "index.html", "subfolder": "whole_done", "type": "output"} in run.outputs[node]["files"]
    pictures = run.outputs[node]["images"]
    assert [each["filename"] for each in pictures] == [f"p{number}.png" for number in (0, 1, 2, 4, 5, 6)]
    assert all(each["type"] == "output" for each in pictures)
    output = comfy.server.base / "output" / "whole_done"
    assert len(list(output.rglob("*.png"))) == 9
    assert (output / "index.html").is_file()
    assert (output / "sub" / "p3.png").is_file()
    progress = [event["data"] for event in run.events if event["type"] == "progress" and event["data"]["node"] == node]
    assert progress[-1]["value"] == progress[-1]["max"] == 10
    assert run.previews >= 1
    assert run.kinds.count("execution_start") == 1
    picture = Image.open(io.BytesIO(comfy.get("/view", filename="p0.png", subfolder="whole_done", type="output")))
    assert picture.size == (64, 64)


def test_a_cancelled_prompt_is_resumed_by_the_next(comfy: Client, products: Callable[..., Path]) -> None:
    products("long", 12, side=160)
    graph, node, _ = folder_graph(tiny_models.RRDB_OLD, folder="long", output_folder="long_done")
    begun = comfy.follow(comfy.queue(graph), until="progress")
    while not lines_of(comfy, "long_done"):
        begun.events += comfy.follow(begun.prompt_id, until="progress").events
    comfy.post("/interrupt", b"{}")
    run = comfy.follow(begun.prompt_id)
    assert run.ending["type"] == "execution_interrupted"
    assert run.ending["data"]["node_id"] == node
    kept = lines_of(comfy, "long_done")
    assert 1 <= len(kept) < 12
    output = comfy.server.base / "output" / "long_done"
    for line in kept:
        with Image.open(output / str(line["output"])) as image:
            image.load()
    text = comfy.string(comfy.succeed(graph), node)
    assert text.startswith(f"12 of 12 pictures are done, {len(kept)} of them from before")
    assert len(lines_of(comfy, "long_done")) == 12
    # The very same prompt a third time is not taken from ComfyUI's cache: the files are looked at again.
    (output / "p0.png").unlink()
    assert "11 of them from before" in comfy.string(comfy.succeed(graph), node)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc", "inside/../../secret", "inside/link", "a\0b", "x" * 300, "y/" * 2000, "..\\secret", ""],
)
def test_a_folder_elsewhere_is_not_read(comfy: Client, name: str) -> None:
    secret = comfy.server.base / "secret"
    inside = comfy.server.base / "input" / "inside"
    for folder in (secret, inside):
        folder.mkdir(exist_ok=True)
    Image.fromarray(drawing(8, 8)).save(secret / "secret.png")
    if not (inside / "link").exists():
        (inside / "link").symlink_to(secret)
    graph, _, _ = folder_graph(folder=name, output_folder="attacked")
    refused(comfy, graph)
    assert not (comfy.server.base / "output" / "attacked").exists()


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/elsewhere", "link/x", "a\0b", "x" * 300, "z/" * 2000, "", "."])
def test_nothing_is_written_elsewhere(comfy: Client, products: Callable[..., Path], name: str) -> None:
    if not (comfy.server.base / "input" / "few").exists():
        products("few", 1)
    elsewhere = comfy.server.base / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    link = comfy.server.base / "output" / "link"
    link.parent.mkdir(exist_ok=True)
    if not link.exists():
        link.symlink_to(elsewhere)
    graph, _, _ = folder_graph(folder="few", output_folder=name)
    refused(comfy, graph)
    assert list(elsewhere.iterdir()) == []
    assert not (comfy.server.base.parent / "elsewhere").exists()


def refused(comfy: Client, graph: Graph) -> None:
    """By /prompt, because no such folder is on the list, or by the node with a sentence."""
    said = answer_to(comfy, graph)
    reasons = ("not in list", "leads outside", "is not a path", "output_folder is empty")
    assert any(reason in said.lower() for reason in reasons), said


def answer_to(comfy: Client, graph: Graph) -> str:
    try:
        prompt = comfy.queue(graph)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.read().decode()
    return comfy.follow(prompt).error


def test_results_hold_the_prompt_that_made_them(comfy: Client, products: Callable[..., Path]) -> None:
    products("made", 3)
    for kind in ("png", "webp"):
        graph, node, _ = folder_graph(folder="made", output_folder=f"made_{kind}", format=kind)
        comfy.succeed(graph)
        path = comfy.server.base / "output" / f"made_{kind}" / f"p0.{kind}"
        with Image.open(path) as image:
            image.load()
            text = image.text["prompt"] if kind == "png" else image.getexif()[0x0110].removeprefix("prompt:")
        assert json.loads(text)[node]["class_type"] == "BackplateUpscaleFolder"
        assert json.loads(text)[node]["inputs"]["output_folder"] == f"made_{kind}"
    graph, _, _ = folder_graph(folder="made", output_folder="made_bare", metadata="none")
    comfy.succeed(graph)
    with Image.open(comfy.server.base / "output" / "made_bare" / "p0.png") as image:
        image.load()
        assert image.text == {}


def test_commercial_use_is_refused_before_any_work(comfy: Client, products: Callable[..., Path]) -> None:
    products("shop", 1)
    graph, _, _ = folder_graph(folder="shop", output_folder="shop_done", commercial_use=True)
    run = comfy.run(graph)
    assert "is not known here, so commercial use is not known to be allowed" in run.error
    assert not (comfy.server.base / "output" / "shop_done").exists()
