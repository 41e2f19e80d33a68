"""Every example workflow that needs no diffusion checkpoint runs, with small models under the published names."""

from __future__ import annotations

import copy
import json
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfy_server import REPOSITORY, Client, Graph, Server
from PIL import Image
from tiny_models import compact

pytest.importorskip("av", reason="the workflows for videos are tried with a clip made by PyAV")
from clips import drawing, pictures_of, write_clip

pytestmark = pytest.mark.comfyui

DIFFUSION = {"CheckpointLoaderSimple", "KSampler"}
FIRST_RELEASE = REPOSITORY / "tests" / "first_release.json"


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def prompts() -> dict[str, dict[str, dict[str, Any]]]:
    """Those of today's templates and of the first release's, by name."""
    today = {path.stem: read(path) for path in sorted((REPOSITORY / "workflows" / "api").glob("*.json"))}
    return today | {f"first release: {name}": each["prompt"] for name, each in read(FIRST_RELEASE).items()}


def needs_diffusion(prompt: dict[str, dict[str, Any]]) -> bool:
    return bool(DIFFUSION & {node["class_type"] for node in prompt.values()})


RUNNABLE = {name: prompt for name, prompt in prompts().items() if not needs_diffusion(prompt)}


def product() -> np.ndarray:
    """On paper that is nearly white, in its size already: a model of random numbers would tint the paper."""
    picture = np.full((2000, 2000, 3), 246, np.uint8)
    picture[100:1900, 600:1400] = (20, 60, 140)
    return picture


def has_profile(inputs: dict[str, Any]) -> bool:
    return inputs.get("profile", "none") != "none"


@pytest.mark.parametrize("name", RUNNABLE)
def test_workflow_runs(name: str, comfy: Client, server: Server, tmp_path: Path) -> None:
    graph = Graph()
    graph.nodes = copy.deepcopy(RUNNABLE[name])
    ramp = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    for number, node in enumerate(graph.nodes.values()):
        inputs = node["inputs"]
        if node["class_type"] == "BackplateLoadUpscaleModel":
            file = server.base / "models" / "upscale_models" / inputs["model_name"]
            if not file.exists():
                torch.save({"params": compact(seed=number)}, file)
        if node["class_type"] == "LoadImage":
            comfy.upload(ramp, inputs["image"])
        if node["class_type"] == "BackplateUpscaleFolder":
            folder = server.base / "input" / inputs["folder"]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(product() if has_profile(inputs) else ramp).save(folder / "ramp.png")
        if node["class_type"] == "LoadVideo":
            path = write_clip(tmp_path / inputs["file"], pictures=[drawing(0), drawing(1)], audio=True)
            comfy.upload_file(path.read_bytes(), inputs["file"])
    run = comfy.succeed(graph)
    savers = [key for key, node in graph.nodes.items() if node["class_type"] == "SaveImage"]
    folders = [node["inputs"] for node in graph.nodes.values() if node["class_type"] == "BackplateUpscaleFolder"]
    videos = [key for key, node in graph.nodes.items() if node["class_type"] == "BackplateUpscaleVideo"]
    studies = [node["inputs"]["study"] for node in graph.nodes.values() if node["class_type"] == "BackplateStudyAdd"]
    assert savers or folders or videos or studies
    for study in studies:
        assert (server.base / "output" / study / "page.html").is_file()
        assert len(list((server.base / "output" / study / "pictures").iterdir())) >= 2
    for key in videos:
        (file,) = run.outputs[key]["images"]
        frames = pictures_of(server.base / file["type"] / file["subfolder"] / file["filename"])
        assert len(frames) == 2
        assert graph.nodes[key]["inputs"]["height"] == frames[0].shape[0]
    for inputs in folders:
        suffix = "png" if inputs["format"] == "as source" else inputs["format"]
        with Image.open(server.base / "output" / inputs["output_folder"] / f"ramp.{suffix}") as image:
            assert image.size == ((inputs["width"], inputs["height"]) if inputs["width"] else (2000, 2000))
            assert not has_profile(inputs) or image.getpixel((0, 0)) == (255, 255, 255)
    for saver in savers:
        assert min(comfy.picture(run, saver).shape[:2]) > 64


def test_workflows_are_offered_as_templates(comfy: Client) -> None:
    offered = comfy.get_json("/api/workflow_templates")
    (names,) = [names for pack, names in offered.items() if pack == "backplate"]
    assert sorted(names) == sorted(path.stem for path in (REPOSITORY / "workflows").glob("*.json"))
    for name in map(urllib.parse.quote, names):
        assert comfy.get_json(f"/api/workflow_templates/backplate/{name}.json")["version"] == 0.4
        assert comfy.get(f"/api/workflow_templates/backplate/{name}.jpg")[:2] == b"\xff\xd8"
