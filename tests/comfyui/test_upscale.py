"""Models and images that pass between our nodes and those of ComfyUI."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from comfy_server import Client, Graph
from graphs import Link, graph_with, load_image, load_model, mask_of, tiled_upscale
from PIL import Image
from reference import PNG_TOLERANCE, drawing, largest_difference, untiled

pytestmark = pytest.mark.comfyui

MODELS = [tiny_models.COMPACT, tiny_models.RRDB_OLD, tiny_models.RRDB_NEW]


def load_with_comfyui(graph: Graph, name: str) -> Link:
    return [graph.add("UpscaleModelLoader", model_name=name), 0]


@pytest.mark.parametrize("load", [load_with_comfyui, load_model])
@pytest.mark.parametrize("name", MODELS)
def test_a_tiled_result_equals_one_pass_over_the_whole(
    comfy: Client, models: Path, load: Callable[[Graph, str], Link], name: str
) -> None:
    picture = drawing(70, 90)
    graph, image = graph_with(comfy, picture, "whole.png")
    node = tiled_upscale(graph, load(graph, name), image, tile_size=32)
    result = comfy.result(graph, [node, 0])
    assert largest_difference(result, untiled(models / name, picture)) <= PNG_TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_our_models_work_in_the_upscaler_of_comfyui(comfy: Client, models: Path, name: str) -> None:
    picture = drawing(40, 56, seed=1)
    graph, image = graph_with(comfy, picture, "core.png")
    node = graph.add("ImageUpscaleWithModel", upscale_model=load_model(graph, name), image=image)
    result = comfy.result(graph, [node, 0])
    assert largest_difference(result, untiled(models / name, picture)) <= PNG_TOLERANCE


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_model_shared_with_our_half_precision_run_stays_usable(comfy: Client, models: Path, precision: str) -> None:
    """One model, first in our node with a wish for half precision, then in ComfyUI's, which feeds it fp32."""
    picture = drawing(40, 56, seed=2)
    graph, image = graph_with(comfy, picture, "shared.png")
    model = load_model(graph, tiny_models.COMPACT, precision)
    ours = tiled_upscale(graph, model, image)
    theirs = graph.add("ImageUpscaleWithModel", upscale_model=model, image=image)
    first, second = graph.save([ours, 0]), graph.save([theirs, 0])
    run = comfy.succeed(graph)
    expected = untiled(models / tiny_models.COMPACT, picture)
    assert largest_difference(comfy.picture(run, second), expected) <= PNG_TOLERANCE
    assert largest_difference(comfy.picture(run, first), expected) <= 4


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 64), (64, 1), (3, 5)])
@pytest.mark.parametrize("name", MODELS)
def test_the_smallest_images(comfy: Client, models: Path, name: str, height: int, width: int) -> None:
    picture = drawing(height, width)
    graph, image = graph_with(comfy, picture, "small.png")
    node = tiled_upscale(graph, load_model(graph, name), image)
    result = comfy.result(graph, [node, 0])
    assert largest_difference(result, untiled(models / name, picture)) <= PNG_TOLERANCE


def test_a_batch_of_different_images(comfy: Client, models: Path) -> None:
    pictures = [drawing(33, 47, seed=seed) for seed in (3, 4, 5)]
    graph = Graph()
    links = [load_image(graph, comfy, each, f"batch{i}.png") for i, each in enumerate(pictures)]
    pair = graph.add("ImageBatch", image1=links[0], image2=links[1])
    three = graph.add("ImageBatch", image1=[pair, 0], image2=links[2])
    model = load_model(graph, tiny_models.COMPACT)
    node = tiled_upscale(graph, model, [three, 0], tile_size=32)
    saved = graph.save([node, 0])
    results = comfy.pictures(comfy.succeed(graph), saved)
    assert len(results) == 3
    for result, picture in zip(results, pictures, strict=True):
        expected = untiled(models / tiny_models.COMPACT, picture)
        assert largest_difference(result, expected) <= PNG_TOLERANCE


def test_a_grey_image_file(comfy: Client, models: Path) -> None:
    graph, image = graph_with(comfy, drawing(24, 32, channels=1)[..., 0], "grey.png")
    node = tiled_upscale(graph, load_model(graph, tiny_models.COMPACT), image)
    # ComfyUI turns the file into RGB, versions differing by a level; what it made of it is the reference.
    seen, saved = graph.save(image), graph.save([node, 0])
    run = comfy.succeed(graph)
    expected = untiled(models / tiny_models.COMPACT, comfy.picture(run, seen))
    assert largest_difference(comfy.picture(run, saved), expected) <= PNG_TOLERANCE


def cut_out(height: int, width: int) -> np.ndarray:
    """RGBA with a transparent right half under which a glaring colour hides."""
    picture = np.concatenate([drawing(height, width), np.full((height, width, 1), 255, np.uint8)], axis=-1)
    picture[:, width // 2 :] = (255, 0, 255, 0)
    return picture


def test_an_image_with_alpha_comes_out_with_alpha(comfy: Client) -> None:
    graph, image = graph_with(comfy, cut_out(32, 48), "alpha.png")
    joined = graph.add("JoinImageWithAlpha", image=image, alpha=mask_of(image))
    model = load_model(graph, tiny_models.COMPACT)
    node = tiled_upscale(graph, model, [joined, 0])
    saved, mask = graph.save([node, 0]), graph.save_mask([node, 1])
    run = comfy.succeed(graph)
    result = comfy.picture(run, saved)
    assert result.shape == (128, 192, 4)
    assert result[:, :80, 3].min() == 255
    assert result[:, -80:, 3].max() == 0
    assert largest_difference(comfy.picture(run, mask)[..., 0], 255.0 - result[..., 3]) <= PNG_TOLERANCE


def test_a_mask_beside_the_image_comes_out_as_a_mask(comfy: Client) -> None:
    graph, image = graph_with(comfy, cut_out(32, 48), "beside.png")
    model = load_model(graph, tiny_models.COMPACT)
    node = tiled_upscale(graph, model, image, mask=mask_of(image))
    saved, mask = graph.save([node, 0]), graph.save_mask([node, 1])
    run = comfy.succeed(graph)
    result, transparent = comfy.picture(run, saved), comfy.picture(run, mask)[..., 0]
    assert result.shape == (128, 192, 3)
    assert transparent[:, :80].max() == 0
    assert transparent[:, -80:].min() == 255
    # Magenta has no green and full blue; nothing of it may reach the visible side.
    assert np.abs(result[:, 90:95].astype(int) - result[:, 84:89].astype(int)).max() < 120


def test_the_empty_mask_of_an_opaque_file_counts_as_none(comfy: Client) -> None:
    graph, image = graph_with(comfy, drawing(30, 40), "opaque.png")
    model = load_model(graph, tiny_models.COMPACT)
    node = tiled_upscale(graph, model, image, mask=mask_of(image))
    mask = graph.save_mask([node, 1])
    transparent = comfy.picture(comfy.succeed(graph), mask)
    assert transparent.shape == (120, 160, 3)
    assert transparent.max() == 0


def test_events_come_in_the_order_clients_rely_on(comfy: Client) -> None:
    graph, image = graph_with(comfy, drawing(64, 64, seed=9), "events.png")
    model = load_model(graph, tiny_models.COMPACT)
    node = tiled_upscale(graph, model, image, tile_size=32)
    graph.save([node, 0])
    run = comfy.succeed(graph)
    bars = [event["data"] for event in run.events if event["type"] == "progress" and event["data"]["node"] == node]
    assert run.kinds[0] == "execution_start"
    assert [bar["max"] for bar in bars if bar["value"] == bar["max"]]
    assert [bar["value"] for bar in bars] == sorted(bar["value"] for bar in bars)


def test_the_node_shows_the_picture_before_and_after(comfy: Client) -> None:
    picture = drawing(64, 48, seed=9)
    graph, image = graph_with(comfy, picture, "views.png")
    node = tiled_upscale(graph, load_model(graph, tiny_models.COMPACT), image)
    saved = graph.save([node, 0])
    run = comfy.succeed(graph)
    before, after = (
        np.asarray(Image.open(io.BytesIO(comfy.get("/view", **file))), float)
        for file in run.outputs[node]["backplate_before_after"]
    )
    result = comfy.picture(run, saved)
    assert before.shape == after.shape == result.shape
    assert abs(after - result).mean() < 6, "a JPEG of grain"
    plain = np.asarray(Image.fromarray(picture).resize(before.shape[1::-1], Image.Resampling.LANCZOS), float)
    assert abs(before - plain).mean() < 6
