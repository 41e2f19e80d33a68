"""What a user reads when something is wrong: a sentence with the numbers, from the node that was asked."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
from comfy_server import Client, Graph
from graphs import SHOOTING, fitting, load_image, load_model, mask_of, tiled_upscale
from reference import drawing

pytestmark = pytest.mark.comfyui


def test_a_width_below_zero_is_refused_before_anything_runs(comfy: Client) -> None:
    graph = Graph()
    image = load_image(graph, comfy, drawing(8, 8), "refused.png")
    graph.save([graph.add("BackplateFitToResolution", image=image, **fitting(width=-5)), 0])
    answer = comfy.refusal(graph)
    assert "width" in answer
    assert "-5" in answer


def test_an_unknown_model_is_refused_before_anything_runs(comfy: Client) -> None:
    graph = Graph()
    image = load_image(graph, comfy, drawing(8, 8), "refused.png")
    graph.save([tiled_upscale(graph, load_model(graph, "no_such_model.pth"), image), 0])
    answer = comfy.refusal(graph)
    assert "no_such_model.pth" in answer
    assert "not in list" in answer.lower()


def test_an_unknown_choice_is_refused_before_anything_runs(comfy: Client) -> None:
    graph = Graph()
    image = load_image(graph, comfy, drawing(8, 8), "refused.png")
    graph.save([graph.add("BackplateFitToResolution", image=image, **fitting(fit="squeeze")), 0])
    assert "squeeze" in comfy.refusal(graph)


def test_a_mask_of_another_size_is_refused_with_both_sizes(comfy: Client) -> None:
    graph = Graph()
    image = load_image(graph, comfy, drawing(30, 40), "large.png")
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


def test_a_truncated_model_file_is_refused_by_name(comfy: Client) -> None:
    graph = Graph()
    image = load_image(graph, comfy, drawing(8, 8), "refused.png")
    graph.save([tiled_upscale(graph, load_model(graph, tiny_models.TRUNCATED), image), 0])
    assert tiny_models.TRUNCATED in comfy.run(graph).error


def test_a_tile_that_is_too_small_is_refused(comfy: Client) -> None:
    graph = Graph()
    image = load_image(graph, comfy, drawing(8, 8), "refused.png")
    graph.save([tiled_upscale(graph, load_model(graph, tiny_models.COMPACT), image, tile_size=8), 0])
    error = comfy.run(graph).error
    assert "8" in error
    assert "32" in error


def test_a_target_without_any_size_is_refused(comfy: Client) -> None:
    graph = Graph()
    image = load_image(graph, comfy, drawing(8, 8), "refused.png")
    graph.save([graph.add("BackplateFitToResolution", image=image, **fitting(width=0, height=0)), 0])
    assert "width 0 and height 0 were given" in comfy.refusal(graph)


def test_a_colour_that_is_none_is_refused(comfy: Client) -> None:
    graph = Graph()
    image = load_image(graph, comfy, drawing(8, 8), "refused.png")
    changes = {"fit": "pad", "pad_with": "colour", "pad_colour": "hellblau", "height": 64}
    graph.save([graph.add("BackplateFitToResolution", image=image, **fitting(**changes)), 0])
    assert "pad_colour: 'hellblau' is not an opaque colour" in comfy.refusal(graph)


@pytest.mark.parametrize(("value", "said"), [(-1, "tile_size is -1"), (99_999, "tile_size is 99999")])
def test_a_number_over_a_link_is_held_to_the_limits_of_the_input(comfy: Client, value: int, said: str) -> None:
    graph = Graph()
    image = load_image(graph, comfy, drawing(8, 8), "refused.png")
    number = graph.add("PrimitiveInt", value=value)
    graph.save([tiled_upscale(graph, load_model(graph, tiny_models.COMPACT), image, tile_size=[number, 0]), 0])
    ended = comfy.run(graph)
    assert f"{said}; give a whole number from 0 to 4096." in ended.error
    assert ended.ending["data"]["exception_type"] == "backplate.InputError"


@pytest.mark.parametrize("prefix", ["a\0b", "x" * 300, "../../out"])
def test_a_prefix_that_is_no_name_is_refused_without_the_servers_paths(comfy: Client, prefix: str) -> None:
    graph = Graph()
    images = load_image(graph, comfy, drawing(48, 64), "refused.png")
    model = load_model(graph, tiny_models.COMPACT)
    settings = {**SHOOTING, "filename_prefix": prefix}
    graph.add("BackplateModelShootout", images=images, model_1=model, **settings)
    error = comfy.run(graph).error
    assert error.startswith("filename_prefix ")
    assert "/tmp" not in error
    assert "Error" not in error
