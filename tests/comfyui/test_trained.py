"""A model that this package trained, in the nodes of ComfyUI and in ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from backplate.core.training.config import TrainSettings, load_settings
from backplate.core.training.loop import train
from backplate.model_loader.loaded import load_model as read_model
from comfy_server import Client, Server
from graphs import graph_with, load_model, tiled_upscale
from reference import PNG_TOLERANCE, drawing, largest_difference, untiled

pytestmark = pytest.mark.comfyui

BRIEF = (
    "steps=4", "batch=2", "device=cpu", "threads=1", "data.drawn=4", "data.drawn_size=40", "data.crop=32",
    "network.scale=2", "network.features=8", "network.convolutions=2", "validation.every=4", "validation.crop=32",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network from nothing, fine-tuned once more, where ComfyUI finds it."""
    runs = tmp_path_factory.mktemp("runs")
    first = train(load_settings(TrainSettings(), None, BRIEF), runs / "first")
    second = train(load_settings(TrainSettings(), None, [*BRIEF, "seed=1"]), runs / "second", read_model(first.last))
    file = server.base / "models" / "upscale_models" / "fine-tuned.safetensors"
    file.write_bytes(second.last.read_bytes())
    return file


def test_comfyuis_own_nodes_load_and_run_what_was_trained(comfy: Client, trained: Path) -> None:
    picture = drawing(40, 56, seed=7)
    graph, image = graph_with(comfy, picture, "trained.png")
    loader = graph.add("UpscaleModelLoader", model_name=trained.name)
    core = graph.save([graph.add("ImageUpscaleWithModel", upscale_model=[loader, 0], image=image), 0])
    ours = graph.save([tiled_upscale(graph, load_model(graph, trained.name), image, tile_size=32), 0])
    run = comfy.succeed(graph)
    expected = untiled(trained, picture)
    for saved in (core, ours):
        assert largest_difference(comfy.picture(run, saved), expected) <= PNG_TOLERANCE
