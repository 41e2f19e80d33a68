"""Rows streamed through ncnn are those of the whole picture."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial

import pytest
import torch
from backplate.core.engines.autotune.tiles_and_rows import TilesAndRows
from backplate.core.engines.autotune.trial import measure
from backplate.core.engines.fuse import fuse_for_export
from backplate.core.engines.ncnn import engine as ncnn_engine
from backplate.core.engines.ncnn import strips as ncnn_strips
from backplate.core.engines.ncnn.engine import NcnnSettings, _load_contents, _matrix, open_model
from backplate.core.engines.ncnn.rows import MOST_PARAMETERS, NcnnRows, NotStreamable, Place, RowGraph, RowsRun
from backplate.core.engines.ncnn.strips import _placed
from backplate.core.engines.plan import Candidate, RunPlan
from backplate.core.engines.registry import EngineRequest, EngineUnusable
from backplate.core.image.fit import Fit, Target
from backplate.core.image.tiling import Edge
from backplate.core.tiled.pipeline import TileSettings, upscale, upscale_to
from backplate.core.tiled.row_blocks import plan_bands
from backplate.core.types import Box
from backplate.core.upscaler import StreamingUpscaler
from backplate.model_loader.loaded import LoadedModel
from devices import noise
from torch import nn

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed")

CPU = torch.device("cpu")


def rows_of(network: nn.Module, *, blocks_of_six: bool = False) -> NcnnRows:
    settings = NcnnSettings(threads=1, blocks_of_six=blocks_of_six)
    return NcnnRows(RowGraph(network), partial(_load_contents, settings=settings), _matrix)


def streamed(rows: NcnnRows, portions: list[torch.Tensor]) -> torch.Tensor:
    run = rows.start()
    return torch.cat([run.step(*placed) for placed in _placed(iter(portions))], 1)


@pytest.mark.parametrize("name", ["compact", "rrdbnet", "span"])
@pytest.mark.parametrize("step", [1, 5, 12, 100])
@pytest.mark.parametrize("extra", [0, 7])
def test_portions_of_any_height_give_the_whole_picture(
    build: Callable[[str], LoadedModel], name: str, step: int, extra: int
):
    network = fuse_for_export(build(name).descriptor.model)
    stream = rows_of(network)
    lead = RowGraph(network).least_rows + extra
    picture = noise(lead + 37, 21)
    expected = network(picture)
    portions = [picture[0, :, :lead], *picture[0, :, lead:].split(step, 1)]
    found = streamed(stream, portions)
    assert found.shape == expected.shape[1:]
    assert (found - expected[0]).abs().max() < 2e-5


class Shapes(nn.Module):
    """Two branches of different reach that meet twice, before and after a magnification."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(3, 6, 1)
        self.far = nn.Conv2d(3, 6, 5, padding=4, dilation=2)
        self.tall = nn.Conv2d(12, 12, (7, 1), padding=(3, 0))
        self.last = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.near(x), self.far(x)], 1)
        large = nn.functional.pixel_shuffle(self.tall(both) + both, 2)
        return self.last(large) * 0.5 + nn.functional.interpolate(x, scale_factor=2)


@pytest.mark.parametrize("step", [1, 4, 9])
def test_branches_of_different_reach_meet_in_step(step: int):
    torch.manual_seed(1)
    network, picture = Shapes().eval().requires_grad_(False), noise(60, 17)
    portions = [picture[0, :, :20], *picture[0, :, 20:].split(step, 1)]
    found = streamed(rows_of(network), portions)
    assert (found - network(picture)[0]).abs().max() < 2e-5


def chain(*kernels: tuple[int, int]) -> nn.Module:
    """Convolutions by kernel and dilation, with a magnification before the last."""
    layers: list[nn.Module] = []
    channels = 3
    for kernel, dilation in kernels[:-1]:
        reach = kernel // 2 * dilation
        layers += [nn.Conv2d(channels, 8, kernel, padding=reach, dilation=dilation), nn.PReLU(8)]
        channels = 8
    kernel, dilation = kernels[-1]
    last = nn.Conv2d(2, 3, kernel, padding=kernel // 2 * dilation, dilation=dilation)
    return nn.Sequential(*layers, nn.PixelShuffle(2), last).eval().requires_grad_(False)


CHAINS = [
    ((5, 1), (3, 1)),
    ((3, 1), (5, 1), (5, 1)),
    ((3, 1), (7, 1), (7, 1)),
    ((7, 1), (1, 1), (3, 1)),
    ((3, 3), (5, 2), (3, 1)),
    ((1, 1), (3, 5), (7, 1)),
    ((3, 1), (1, 1), (11, 2)),
]


@pytest.mark.parametrize("kernels", CHAINS, ids=str)
@pytest.mark.parametrize("step", [1, 4])
def test_the_first_portion_may_have_any_height_from_the_least_on(kernels: tuple[tuple[int, int], ...], step: int):
    torch.manual_seed(0)
    network = chain(*kernels)
    rows, least = rows_of(network), RowGraph(network).least_rows
    for first in range(least, least + 6):
        picture = noise(least + 17, 19)
        portions = [picture[0, :, :first], *picture[0, :, first:].split(step, 1)]
        found = streamed(rows, portions)
        assert found.shape == network(picture)[0].shape
        assert (found - network(picture)[0]).abs().max() < 2e-5, first


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_wrong_graph_of_any_portion_is_noticed_when_the_model_is_opened(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch, part: int
):
    step = RowsRun.step

    def halved(run: RowsRun, portion: torch.Tensor, place: Place) -> torch.Tensor:
        return step(run, portion, place) * (0.5 if place == part else 1)

    monkeypatch.setattr(RowsRun, "step", halved)
    with pytest.raises(EngineUnusable, match=r"differs by .* 1e-04 is allowed"):
        open_model(EngineRequest(model=build("compact"), device=CPU))


def test_the_trial_of_auto_leaves_out_an_engine_that_streams_another_picture(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch
):
    step = RowsRun.step
    right, wrong = (open_model(EngineRequest(model=build("compact"), device=CPU)) for _ in range(2))
    monkeypatch.setattr(RowsRun, "step", lambda run, *portion: step(run, *portion) * 0.5)
    monkeypatch.setattr(right, "stream_height", lambda width: 0)
    plan = RunPlan(max_tile_pixels=64 * 64)
    candidates = [Candidate("right", plan, lambda: right), Candidate("wrong", plan, lambda: wrong)]
    trials = {trial.name: trial for trial in measure(candidates)}
    assert trials["right"].seconds is not None
    assert trials["wrong"].seconds is None
    assert "it differs by" in trials["wrong"].reason


def test_blocks_of_six_are_another_way_to_the_same_rows():
    torch.manual_seed(2)
    layers = [nn.Conv2d(3, 40, 3, padding=1), nn.Conv2d(40, 40, 3, padding=1), nn.Conv2d(40, 3, 3, padding=1)]
    network, picture = nn.Sequential(*layers).eval().requires_grad_(False), noise(48, 30)
    portions = picture[0].split(12, 1)
    ways = [rows_of(network), rows_of(network, blocks_of_six=True)]
    usual, sixes = (streamed(way, list(portions)) for way in ways)
    assert (usual - network(picture)[0]).abs().max() < 2e-5
    assert (sixes - network(picture)[0]).abs().max() < 2e-5
    assert not torch.equal(usual, sixes)


def test_what_needs_more_than_some_rows_is_refused(build: Callable[[str], LoadedModel]):
    with pytest.raises(NotStreamable, match="Reorg"):
        rows_of(fuse_for_export(build("rrdbnet x2").descriptor.model))
    with pytest.raises(NotStreamable, match="number of rows"):
        rows_of(nn.Sequential(nn.Conv2d(3, 3, 3)).requires_grad_(False))
    with pytest.raises(NotStreamable, match="parameters"):
        rows_of(nn.Sequential(nn.Conv2d(3, MOST_PARAMETERS // 27 + 1, 3, padding=1)))


def portions_of(monkeypatch: pytest.MonkeyPatch, model: LoadedModel, pixels: int, *, apart: bool = False) -> None:
    """Portions of so many pixels for each strip; ``apart``: of several strips where there are threads for them."""
    channels = RowGraph(fuse_for_export(model.descriptor.model)).channels
    monkeypatch.setattr(ncnn_strips, "PORTION_VALUES", pixels * channels)
    monkeypatch.setattr(ncnn_engine, "_leaves_python_running", lambda: apart)


@pytest.mark.parametrize("edge", list(Edge))
@pytest.mark.parametrize("size", [(300, 64), (64, 300), (20, 20)], ids=str)
@pytest.mark.parametrize("apart", [False, True], ids=["one strip", "strips"])
def test_the_pipeline_streams_and_the_picture_is_that_of_tiles(
    build: Callable[[str], LoadedModel], edge: Edge, size: tuple[int, int], apart: bool, monkeypatch: pytest.MonkeyPatch
):
    portions_of(monkeypatch, build("compact"), 64 * 24, apart=apart)
    monkeypatch.setattr(ncnn_engine, "max_tile_pixels", lambda *_: 40 * 40)
    upscaler, picture = open_model(EngineRequest(model=build("compact"), device=CPU)), noise(*size)
    assert isinstance(upscaler, StreamingUpscaler)
    # Strips are narrower where there are several, and their portions taller.
    assert upscaler.stream_height(64) == 24 or (apart and upscaler.stream_height(64) > 24)
    streamed = upscale(picture, upscaler, TileSettings(edge=edge))
    tiled = upscale(picture, upscaler, TileSettings(size=32, edge=edge))
    assert (streamed - tiled).abs().max() < 1e-5
    target = Target(width=150, height=150, fit=Fit.COVER)
    fitted = upscale_to(picture, None, upscaler, target, TileSettings(edge=edge)).picture
    by_tiles = upscale_to(picture, None, upscaler, target, TileSettings(size=32, edge=edge)).picture
    assert (fitted - by_tiles).abs().max() < 1e-4


@pytest.mark.parametrize(("height", "chunk"), [(39, 0), (40, 24)])
def test_a_picture_of_one_tile_goes_by_rows_from_a_size_on(
    build: Callable[[str], LoadedModel], height: int, chunk: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ncnn_engine, "STREAM_FROM", 64 * 40)
    portions_of(monkeypatch, build("compact"), 64 * 24)
    upscaler, picture = open_model(EngineRequest(model=build("compact"), device=CPU)), noise(height, 64)
    plan = plan_bands(picture, Box(0, 0, 64, height), upscaler, TileSettings())
    assert len(plan.regions) == 1
    assert plan.chunk == chunk
    assert (upscale(picture, upscaler) - upscaler(picture)).abs().max() < 1e-5
    assert plan_bands(picture, Box(0, 0, 64, height), TilesAndRows(upscaler, upscaler), TileSettings()).chunk == 0


@pytest.mark.parametrize("name", ["compact", "rrdbnet", "span"])
def test_the_trial_when_a_model_is_opened_has_portions_of_every_place(
    build: Callable[[str], LoadedModel], name: str, monkeypatch: pytest.MonkeyPatch
):
    """Also where the measured halo is smaller than the rows that layers wait for."""
    places: list[Place] = []
    step = RowsRun.step

    def noted(run: RowsRun, portion: torch.Tensor, place: Place) -> torch.Tensor:
        places.append(place)
        return step(run, portion, place)

    monkeypatch.setattr(RowsRun, "step", noted)
    open_model(EngineRequest(model=build(name), device=CPU))
    assert set(places) == set(Place)
