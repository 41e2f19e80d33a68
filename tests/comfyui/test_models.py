"""Loading, describing and blending models."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
import torch
from comfy_server import Client, Graph
from graphs import graph_with, load_model, tiled_upscale
from reference import PNG_TOLERANCE, drawing, largest_difference, untiled

pytestmark = pytest.mark.comfyui


def facts_of(comfy: Client, name: str, precision: str) -> str:
    graph = Graph()
    model = load_model(graph, name, precision)
    shown = graph.text([model[0], 1])
    return comfy.string(comfy.succeed(graph), shown)


def test_the_facts_name_architecture_and_scale(comfy: Client) -> None:
    facts = facts_of(comfy, tiny_models.RRDB_OLD, "auto")
    assert "ESRGAN" in facts
    assert "4" in facts


def test_a_precision_that_this_device_cannot_run_is_reported(comfy: Client) -> None:
    plain, wished = (facts_of(comfy, tiny_models.COMPACT, precision) for precision in ("fp32", "fp16"))
    assert wished.startswith(plain.rstrip())
    reason = wished[len(plain.rstrip()) :]
    assert "fp16" in reason
    assert "fp32" in reason


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_a_blend_has_the_weights_in_between(comfy: Client, models: Path, weight: float, tmp_path: Path) -> None:
    picture = drawing(32, 40)
    graph, image = graph_with(comfy, picture, "blend.png")
    pair = [load_model(graph, name) for name in (tiny_models.COMPACT, tiny_models.COMPACT_OTHER)]
    blend = graph.add("BackplateBlendUpscaleModels", model_a=pair[0], model_b=pair[1], weight=weight)
    saved = graph.save([tiled_upscale(graph, [blend, 0], image), 0])
    core = graph.save([graph.add("ImageUpscaleWithModel", upscale_model=[blend, 0], image=image), 0])
    run = comfy.succeed(graph)
    first, second = tiny_models.compact(seed=1), tiny_models.compact(seed=2)
    torch.save({key: torch.lerp(first[key], second[key], weight) for key in first}, tmp_path / "blend.pth")
    expected = untiled(tmp_path / "blend.pth", picture)
    assert largest_difference(comfy.picture(run, saved), expected) <= PNG_TOLERANCE
    assert largest_difference(comfy.picture(run, core), expected) <= PNG_TOLERANCE


def test_models_of_different_shape_do_not_blend(comfy: Client) -> None:
    graph = Graph()
    pair = [load_model(graph, name) for name in (tiny_models.COMPACT, tiny_models.RRDB_OLD)]
    blend = graph.add("BackplateBlendUpscaleModels", model_a=pair[0], model_b=pair[1], weight=0.5)
    graph.text([blend, 1])
    assert "blend" in comfy.run(graph).error.lower()


def test_a_replaced_file_is_read_again(comfy: Client, models: Path) -> None:
    picture = drawing(24, 24)
    results = []
    for seed in (11, 12):
        torch.save({"params": tiny_models.compact(seed=seed)}, models / "replaced.pth")
        graph, image = graph_with(comfy, picture, "replaced.png")
        saved = graph.save([tiled_upscale(graph, load_model(graph, "replaced.pth"), image), 0])
        results.append((comfy.picture(comfy.succeed(graph), saved), untiled(models / "replaced.pth", picture)))
    for result, expected in results:
        assert largest_difference(result, expected) <= PNG_TOLERANCE
    assert largest_difference(results[0][1], results[1][1]) > 5
