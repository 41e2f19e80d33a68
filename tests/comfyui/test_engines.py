"""Engines and exports in a real ComfyUI; one whose package is missing there has to be replaced by PyTorch aloud."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tiny_models
from comfy_server import Client, Graph, Server
from graphs import Link, graph_with, load_model, tiled_upscale
from reference import PNG_TOLERANCE, drawing, largest_difference, untiled

pytestmark = pytest.mark.comfyui


@pytest.fixture(scope="module")
def packages(comfyui_python: Path) -> set[str]:
    """Those of the optional packages that ComfyUI's interpreter has."""
    names = ["ncnn", "onnx", "onnxscript", "onnxruntime", "tensorrt", "tensorrt_rtx"]
    script = f"import importlib.util, json; print(json.dumps([n for n in {names} if importlib.util.find_spec(n)]))"
    done = subprocess.run([str(comfyui_python), "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def load_with_engine(graph: Graph, name: str, engine: str) -> Link:
    model = load_model(graph, name)
    graph.nodes[str(model[0])]["inputs"]["engine"] = engine
    return model


@pytest.mark.parametrize("engine", ["auto", "pytorch", "onnxruntime", "ncnn"])
def test_every_engine_gives_the_same_picture_in_our_nodes_and_core_runs_the_model_too(
    comfy: Client, server: Server, models: Path, packages: set[str], engine: str
) -> None:
    picture = drawing(70, 90)
    graph, image = graph_with(comfy, picture, "engines.png")
    model = load_with_engine(graph, tiny_models.COMPACT, engine)
    ours = graph.save([tiled_upscale(graph, model, image, tile_size=32), 0])
    theirs = graph.save([graph.add("ImageUpscaleWithModel", upscale_model=model, image=image), 0])
    before = len(server.log.read_text(errors="replace"))
    run = comfy.succeed(graph)
    expected = untiled(models / tiny_models.COMPACT, picture)
    assert largest_difference(comfy.picture(run, ours), expected) <= PNG_TOLERANCE
    assert largest_difference(comfy.picture(run, theirs), expected) <= PNG_TOLERANCE
    needed = {"onnxruntime": {"onnx", "onnxscript", "onnxruntime"}, "ncnn": {"ncnn"}}.get(engine, set())
    said = server.log.read_text(errors="replace")[before:]
    assert ("instead of" in said) == (not needed <= packages)


def test_an_exported_model_is_a_model_of_our_loader(
    comfy: Client, server: Server, models: Path, packages: set[str]
) -> None:
    if "ncnn" not in packages:
        pytest.skip("ComfyUI's interpreter has no ncnn")
    graph = Graph()
    node = graph.add(
        "BackplateExportModel", upscale_model=load_model(graph, tiny_models.COMPACT), format="ncnn",
        file_name="engines/alone", half_precision=False, overwrite=False,
    )  # fmt: skip
    graph.text([node, 0])
    comfy.succeed(graph)
    for file in (server.base / "output" / "engines").glob("alone.*"):
        shutil.copy(file, models / file.name)
    picture = drawing(70, 90)
    graph, image = graph_with(comfy, picture, "engines.png")
    result = comfy.result(graph, [tiled_upscale(graph, load_model(graph, "alone.param"), image, tile_size=32), 0])
    assert largest_difference(result, untiled(models / tiny_models.COMPACT, picture)) <= PNG_TOLERANCE
    graph, image = graph_with(comfy, picture, "engines.png")
    model = load_model(graph, "alone.param")
    graph.save([graph.add("ImageUpscaleWithModel", upscale_model=model, image=image), 0])
    assert "alone.param is an exported model" in comfy.run(graph).error


@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime"])
def test_a_deep_model_is_the_same_in_each_engine(
    comfy: Client, server: Server, models: Path, packages: set[str], engine: str
) -> None:
    """RRDBNet with 23 blocks, as narrow as it can be."""
    needed = {"onnxruntime": {"onnx", "onnxscript", "onnxruntime"}, "ncnn": {"ncnn"}}[engine]
    if not needed <= packages:
        pytest.skip(f"ComfyUI's interpreter has not all of {', '.join(sorted(needed))}")
    picture = drawing(40, 56)
    graph, image = graph_with(comfy, picture, "engines.png")
    model = load_with_engine(graph, tiny_models.RRDB_DEEP, engine)
    ours = graph.save([tiled_upscale(graph, model, image), 0])
    before = len(server.log.read_text(errors="replace"))
    result = comfy.picture(comfy.succeed(graph), ours)
    assert "instead of" not in server.log.read_text(errors="replace")[before:]
    expected = untiled(models / tiny_models.RRDB_DEEP, picture)
    assert largest_difference(result, expected) <= PNG_TOLERANCE


def test_auto_says_on_the_node_which_engine_it_took(comfy: Client) -> None:
    picture = drawing(30, 40)
    graph, image = graph_with(comfy, picture, "engines.png")
    graph.save([tiled_upscale(graph, load_with_engine(graph, tiny_models.COMPACT_OTHER, "auto"), image), 0])
    run = comfy.succeed(graph)
    (said,) = [text for text in run.texts if " runs in " in text]
    assert re.match("tiny_compact_x4_b runs in pytorch: this job is too small for another engine", said)


def test_tensorrt_that_is_missing_is_said_by_the_export(comfy: Client, server: Server, packages: set[str]) -> None:
    if packages & {"tensorrt", "tensorrt_rtx"}:
        pytest.skip("ComfyUI's interpreter has TensorRT")
    graph = Graph()
    node = graph.add(
        "BackplateExportModel", upscale_model=load_model(graph, tiny_models.COMPACT), format="tensorrt",
        file_name="engines/rt", half_precision=True, overwrite=False,
    )  # fmt: skip
    graph.text([node, 0])
    assert "is not exported: neither tensorrt nor tensorrt-rtx is installed" in comfy.run(graph).error
    assert not (server.base / "output" / "engines" / "rt.engine").exists()


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
    assert sorted(path.name for path in folder.glob("tiny.*")) == ["tiny.bin", "tiny.param", "tiny.param.json"]
    assert "largest difference to PyTorch" in report
    for name in ("../outside", "/tmp/outside", "engines/../../outside", ""):
        graph, _ = export(name)
        assert comfy.run(graph).error
    assert not (server.base / "outside.param").exists()
    graph, _ = export("engines/tiny")
    assert "already exists" in comfy.run(graph).error
