"""Images brought to a wanted size, with and without a model."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models
from comfy_server import Client, Graph, Run
from graphs import fitting, graph_with, load_model, mask_of
from reference import PNG_TOLERANCE, drawing, largest_difference

pytestmark = pytest.mark.comfyui

BY_MODEL = {"tile_size": 0, "edge": "plain"}


def fit(graph: Graph, image: list[object], model: list[object] | None = None, **changed: object) -> str:
    if model is None:
        return graph.add("BackplateFitToResolution", image=image, **fitting(**changed))
    inputs = {**fitting(**changed), **BY_MODEL}
    return graph.add("BackplateUpscaleToResolution", upscale_model=model, image=image, **inputs)


def numbers(comfy: Client, run: Run, *nodes: str) -> tuple[int, ...]:
    return tuple(int(comfy.string(run, node)) for node in nodes)


@pytest.mark.parametrize("with_model", [True, False])
@pytest.mark.parametrize(
    ("request_", "size"),
    [
        ({"fit": "cover", "width": 300, "height": 200}, (300, 200)),
        ({"fit": "contain", "width": 300, "height": 200}, (267, 200)),
        ({"fit": "pad", "width": 300, "height": 200}, (300, 200)),
        ({"fit": "stretch", "width": 90, "height": 200}, (90, 200)),
        ({"fit": "longest", "width": 150, "height": 150}, (150, 113)),
        ({"fit": "factor", "factor": 2.5}, (100, 75)),
        ({"fit": "cover", "width": 301, "height": 200, "multiple_of": 16}, (304, 208)),
    ],
)
def test_the_result_has_the_size_that_was_asked_for(
    comfy: Client, with_model: bool, request_: dict, size: tuple[int, int]
) -> None:
    graph, image = graph_with(comfy, drawing(30, 40), "fit.png")
    model = load_model(graph, tiny_models.COMPACT) if with_model else None
    node = fit(graph, image, model, **request_)
    saved, padded = graph.save([node, 0]), graph.save_mask([node, 1])
    width, height = graph.text([node, 2]), graph.text([node, 3])
    run = comfy.succeed(graph)
    found = numbers(comfy, run, width, height)
    assert comfy.picture(run, saved).shape == (found[1], found[0], 3)
    assert comfy.picture(run, padded).shape == (found[1], found[0], 3)
    assert found == size


def test_padding_is_reported_and_coloured(comfy: Client) -> None:
    graph, image = graph_with(comfy, drawing(32, 32), "square.png")
    changes = {"fit": "pad", "width": 128, "height": 64, "pad_with": "colour", "pad_colour": "#ff0000"}
    node = fit(graph, image, **changes)
    saved, padded = graph.save([node, 0]), graph.save_mask([node, 1])
    run = comfy.succeed(graph)
    result, area = comfy.picture(run, saved), comfy.picture(run, padded)[..., 0]
    assert (result[:, :32] == (255, 0, 0)).all()
    assert (result[:, 96:] == (255, 0, 0)).all()
    assert area[:, :32].min() == 255
    assert area[:, 32:96].max() == 0
    assert area[:, 96:].min() == 255


def test_transparent_padding_makes_an_image_with_alpha(comfy: Client) -> None:
    graph, image = graph_with(comfy, drawing(32, 32), "square.png")
    node = fit(graph, image, fit="pad", width=128, height=64, pad_with="transparent")
    saved, mask = graph.save([node, 0]), graph.save_mask([node, 4])
    run = comfy.succeed(graph)
    result = comfy.picture(run, saved)
    assert result.shape == (64, 128, 4)
    assert result[:, :32, 3].max() == 0
    assert result[:, 32:96, 3].min() == 255
    assert largest_difference(comfy.picture(run, mask)[..., 0], 255.0 - result[..., 3]) <= PNG_TOLERANCE


def test_a_mask_is_brought_to_the_same_size(comfy: Client) -> None:
    picture = np.concatenate([drawing(30, 40), np.full((30, 40, 1), 255, np.uint8)], axis=-1)
    picture[:, 20:, 3] = 0
    graph, image = graph_with(comfy, picture, "masked.png")
    node = fit(graph, image, load_model(graph, tiny_models.COMPACT), mask=mask_of(image), width=80, height=60)
    saved, mask = graph.save([node, 0]), graph.save_mask([node, 4])
    run = comfy.succeed(graph)
    transparent = comfy.picture(run, mask)[..., 0]
    assert comfy.picture(run, saved).shape == (60, 80, 3)
    assert transparent[:, :36].max() == 0
    assert transparent[:, 44:].min() == 255


def test_the_model_makes_a_difference(comfy: Client) -> None:
    graph, image = graph_with(comfy, drawing(30, 40), "fit.png")
    size = {"width": 160, "height": 120}
    ours = graph.save([fit(graph, image, load_model(graph, tiny_models.COMPACT), **size), 0])
    plain = graph.save([fit(graph, image, **size), 0])
    run = comfy.succeed(graph)
    assert largest_difference(comfy.picture(run, ours), comfy.picture(run, plain)) > 10
