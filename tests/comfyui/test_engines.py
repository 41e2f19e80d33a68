"""Engines and exports in a real ComfyUI; one whose package is missing there has to be replaced by PyTorch aloud."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import tiny_models
from comfy_server import Client, Graph, Server
from graphs import Link, load_image, load_model, tiled_upscale
from reference import PNG_TOLERANCE, drawing, largest_difference, untiled

pytestmark = pytest.mark.comfyui


@pytest.fixture(scope="module")
def packages(comfyui_python: Path) -> set[str]:
    """Those of the optional packages that ComfyUI's interpreter has."""
    names = ["ncnn", "onnx", "onnxscript", "onnxruntime"]
    script = f"import importlib.util, json; print(json.dumps([n for n in {names} if importlib.util.find_spec(n)]))"
    done = subprocess.run([str(comfyui_python), "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def load_with_engine(graph: Graph, name: str, engine: str) -> Link:
    model = load_model(graph, name)
    graph.nodes[str(model[0])]["inputs"]["engine"] = engine
    return model


@pytest.mark.parametrize("engine", ["auto", "pytorch", "onnxruntime", "ncnn"])
def test_every_engine_gives_the_same_picture_in_our_nodes_and_core_runs_the_model_too(
    comfy: Client, server: Server, packages: set[str], engine: str
) -> None:
    picture = drawing(70, 90)
    graph = Graph()
    image = load_image(graph, comfy, picture, "engines.png")
    model = load_with_engine(graph, tiny_models.COMPACT, engine)
    ours = graph.save([tiled_upscale(graph, model, image, tile_size=32), 0])
    theirs = graph.save([graph.add("ImageUpscaleWithModel", upscale_model=model, image=image), 0])
    before = len(server.log.read_text(errors="replace"))
    run = comfy.succeed(graph)
    expected = untiled(server.base / "models" / "upscale_models" / tiny_models.COMPACT, picture)
    assert largest_difference(comfy.picture(run, ours), expected) <= PNG_TOLERANCE
    assert largest_difference(comfy.picture(run, theirs), expected) <= PNG_TOLERANCE
    needed = {"onnxruntime": {"onnx", "onnxscript", "onnxruntime"}, "ncnn": {"ncnn"}}.get(engine, set())
    said = server.log.read_text(errors="replace")[before:]
    assert ("instead of" in said) == (not needed <= packages)


def test_an_export_is_written_into_the_output_folder_only(comfy: Client, server: Server, packages: set[str]) -> None:
    if "ncnn" not in packages:
        pytest.skip("ComfyUI's interpreter has no ncnn")

    def export(name: str) -> tuple[Graph, str]:
        graph = Graph()
        model = load_model(graph, tiny_models.RRDB_NEW)
        node = graph.add(
            "BackplateExportModel", upscale_model=model, format="ncnn", file_name=name, half_precision=False,
            overwrite=False,
        )  # fmt: skip
        return graph, graph.text([node, 0])

    graph, text = export("engines/tiny")
    report = comfy.string(comfy.succeed(graph), text)
    folder = server.base / "output" / "engines"
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.bin", "tiny.param", "tiny.param.json"]
    assert "largest difference to PyTorch" in report
    for name in ("../outside", "/tmp/outside", "engines/../../outside", ""):
        graph, _ = export(name)
        assert comfy.run(graph).error
    assert not (server.base / "outside.param").exists()
    graph, _ = export("engines/tiny")
    assert "exists already" in comfy.run(graph).error
