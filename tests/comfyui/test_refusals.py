"""What a user reads when something is wrong: a sentence with the numbers, from the node that was asked."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
from comfy_server import Client, Graph
from graphs import SHOOTING, fitting, graph_with, load_image, load_model, mask_of, tiled_upscale
from reference import drawing

pytestmark = pytest.mark.comfyui


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"width": -5}, ["width", "-5"]),
        ({"width": 0, "height": 0}, ["width 0 and height 0 were given"]),
        ({"fit": "squeeze"}, ["squeeze"]),
        (
            {"fit": "pad", "pad_with": "colour", "pad_colour": "hellblau", "height": 64},
            ["pad_colour: 'hellblau' is not an opaque colour"],
        ),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_anything_runs(
    comfy: Client, changed: dict[str, object], said: list[str]
) -> None:
    graph, image = graph_with(comfy, drawing(8, 8), "refused.png")
    graph.save([graph.add("BackplateFitToResolution", image=image, **fitting(**changed)), 0])
    answer = comfy.refusal(graph)
    assert all(part in answer for part in said)


def test_an_unknown_model_is_refused_before_anything_runs(comfy: Client) -> None:
    graph, image = graph_with(comfy, drawing(8, 8), "refused.png")
    graph.save([tiled_upscale(graph, load_model(graph, "no_such_model.pth"), image), 0])
    answer = comfy.refusal(graph)
    assert "no_such_model.pth" in answer
    assert "not in list" in answer.lower()


def test_a_mask_of_another_size_is_refused_with_both_sizes(comfy: Client) -> None:
    graph, image = graph_with(comfy, drawing(30, 40), "large.png")
    hole = np.concatenate([drawing(20, 10), np.zeros((20, 10, 1), np.uint8)], axis=-1)
    small = load_image(graph, comfy, hole, "hole.png")
    model = load_model(graph, tiny_models.COMPACT)
    graph.save([tiled_upscale(graph, model, image, mask=mask_of(small)), 0])
    error = comfy.run(graph).error
    assert "10x20" in error
    assert "40x30" in error


def test_a_mask_beside_an_image_with_alpha_is_refused(comfy: Client) -> None:
    graph = Graph()
    hole = np.concatenate([drawing(20, 10), np.zeros((20, 10, 1), np.uint8)], axis=-1)
    image = load_image(graph, comfy, hole, "hole.png")
    joined = graph.add("JoinImageWithAlpha", image=image, alpha=mask_of(image))
    model = load_model(graph, tiny_models.COMPACT)
    graph.save([tiled_upscale(graph, model, [joined, 0], mask=mask_of(image)), 0])
    assert "alpha channel" in comfy.run(graph).error


@pytest.mark.parametrize(
    ("name", "tile", "said"),
    [(tiny_models.TRUNCATED, 0, [tiny_models.TRUNCATED]), (tiny_models.COMPACT, 8, ["8", "32"])],
)
def test_a_truncated_model_and_a_tile_too_small_are_refused(
    comfy: Client, name: str, tile: int, said: list[str]
) -> None:
    graph, image = graph_with(comfy, drawing(8, 8), "refused.png")
    graph.save([tiled_upscale(graph, load_model(graph, name), image, tile_size=tile), 0])
    error = comfy.run(graph).error
    assert all(part in error for part in said)


@pytest.mark.parametrize(("value", "said"), [(-1, "tile_size is -1"), (99_999, "tile_size is 99999")])
def test_a_number_over_a_link_is_held_to_the_limits_of_the_input(comfy: Client, value: int, said: str) -> None:
    graph, image = graph_with(comfy, drawing(8, 8), "refused.png")
    number = graph.add("PrimitiveInt", value=value)
    graph.save([tiled_upscale(graph, load_model(graph, tiny_models.COMPACT), image, tile_size=[number, 0]), 0])
    ended = comfy.run(graph)
    assert f"{said}; give a whole number from 0 to 4096." in ended.error
    assert ended.ending["data"]["exception_type"] == "backplate.InputError"


@pytest.mark.parametrize("prefix", ["a\0b", "x" * 300, "../../out"])
def test_a_prefix_that_is_no_name_is_refused_without_the_servers_paths(comfy: Client, prefix: str) -> None:
    graph, images = graph_with(comfy, drawing(48, 64), "refused.png")
    model = load_model(graph, tiny_models.COMPACT)
    settings = {**SHOOTING, "filename_prefix": prefix}
    graph.add("BackplateModelShootout", images=images, model_1=model, **settings)
    error = comfy.run(graph).error
    assert error.startswith("filename_prefix ")
    assert "/tmp" not in error
    assert "Error" not in error
