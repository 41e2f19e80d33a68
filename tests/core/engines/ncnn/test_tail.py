"""The end of a network that magnifies, in portions of rows, is what it is in one piece."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import pytest
import torch
from backplate.core.engines.fuse import fuse_for_export
from backplate.core.engines.ncnn import engine, tail
from backplate.core.engines.ncnn.convert import ncnn_layers
from backplate.core.engines.ncnn.engine import NcnnSettings, _load_contents, _matrix
from backplate.core.engines.ncnn.tail import NcnnTail, cut
from backplate.core.engines.registry import EngineRequest
from backplate.model_loader.loaded import LoadedModel

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed")


def layers_of(model: LoadedModel):
    return ncnn_layers(fuse_for_export(model.descriptor.model))


def picture(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(5))


def test_rrdbnet_is_cut_where_it_begins_to_magnify(build: Callable[[str], LoadedModel]):
    layers, result = layers_of(build("rrdbnet"))
    front, behind = cut(layers, result)
    assert len(front) + len(behind) - 1 == len(layers)
    assert all(layer.kind not in ("Interp", "PixelShuffle") for layer in front)
    assert [layer.kind for layer in behind[:2]] == ["Input", "Interp"]
    assert max(source for layer in behind for source in layer.inputs) == len(behind) - 2


def test_a_network_whose_picture_is_added_at_the_end_cannot_be_cut(build: Callable[[str], LoadedModel]):
    assert cut(*layers_of(build("compact"))) is None


@pytest.mark.parametrize("height", [1, 3, 17, 40])
@pytest.mark.parametrize("most", [1, 2**14, 2**22])
def test_a_tile_through_both_parts_is_what_pytorch_makes(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch, height: int, most: int
):
    monkeypatch.setattr(engine, "_rows_of", lambda network, settings: None)
    monkeypatch.setattr(tail, "PORTION_VALUES", most)
    model = build("rrdbnet")
    upscaler = engine.open_model(EngineRequest(model=model, device=torch.device("cpu")))
    assert upscaler._tail is not None
    given = picture(height, 21)
    with torch.inference_mode():
        expected = model.descriptor.model(given).clamp(0, 1)
    assert (upscaler(given) - expected).abs().max() < 1e-3


def test_portions_are_no_larger_than_they_have_to_be(build: Callable[[str], LoadedModel], monkeypatch):
    _, behind = cut(*layers_of(build("rrdbnet")))
    end = NcnnTail(behind, partial(_load_contents, settings=NcnnSettings(threads=1)), _matrix)
    graph = end._graph
    monkeypatch.setattr(tail, "PORTION_VALUES", 12 * graph.channels * graph.scale**2 * 21)
    heights = [rows.shape[1] for rows in end._portions(torch.zeros(8, 100, 21))]
    assert sum(heights) == 100
    assert heights[0] == max(12, graph.least_rows)
    assert max(heights[1:]) == 12
