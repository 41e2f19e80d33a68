"""A stream of rows is the model on the whole picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.engines.pytorch.rows import NotStreamable, RowStream
from backplate.core.errors import OutOfMemory
from backplate.core.image.fit import Fit, Target
from backplate.core.image.frame_difference import FrameReuse
from backplate.core.image.tiling import Edge
from backplate.core.tiled.pipeline import upscale, upscale_to
from backplate.core.tiled.row_blocks import BandPlan, TileSettings, plan_bands
from backplate.core.tiled.tile_cache import Reuse
from backplate.core.types import Box
from backplate.model_loader.loaded import LoadedModel, load_model
from devices import noise
from torch import nn
from torch.nn import functional

SIZES = [(1, 1), (1, 64), (64, 1), (3, 40), (37, 29)]


def chunks_of(picture: torch.Tensor, height: int) -> tuple[Iterator[torch.Tensor], int]:
    pieces = picture.split(height, dim=2)
    return iter(pieces), len(pieces)


class Residual(nn.Module):
    """Branches of different lag, additions, products and a concatenation, at two scales."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 4, 5, padding=2)
        self.dilated = nn.Conv2d(3, 4, 3, padding=2, dilation=2)
        self.point = nn.Conv2d(8, 12, 1)
        self.after = nn.Conv2d(3, 3, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.wide(picture), functional.leaky_relu(self.dilated(picture), 0.1)], dim=1)
        large = self.shuffle(self.point(both) * 0.5)
        base = functional.interpolate(picture, scale_factor=2, mode="nearest")
        large += base
        return 1 - self.after(large) * base


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("height", [1, 2, 7, 100])
def test_branches_meet_at_the_right_row(size: tuple[int, int], height: int):
    torch.manual_seed(0)
    model = Residual().requires_grad_(False)
    picture = noise(*size)
    rows = torch.cat(list(RowStream(model).run(*chunks_of(picture, height))), dim=2)
    assert torch.allclose(rows, model(picture), atol=1e-5)


@pytest.mark.parametrize("name", ["compact", "rrdbnet"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_models_as_they_are_loaded(build: Callable[[str], LoadedModel], name: str, size: tuple[int, int]):
    descriptor = build(name).descriptor
    picture = noise(*size)
    with torch.inference_mode():
        rows = torch.cat(list(RowStream(descriptor.model).run(*chunks_of(picture, 5))), dim=2)
        assert torch.allclose(rows, descriptor.model(picture), atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2])
def test_layers_that_catch_up_at_the_end_do_so_in_slices(monkeypatch: pytest.MonkeyPatch, scale: int):
    """Twenty convolutions lag by twenty rows, which would all come at once in the last pass."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 2, 3, padding=1) for _ in range(20)]
    model = nn.Sequential(*layers[:10], nn.Upsample(scale_factor=scale), *layers[10:]).requires_grad_(False)
    picture, heights = noise(40, 9, 2), list[int]()
    expected, convolution = model(picture), functional.conv2d

    def recorded(rows: torch.Tensor, *rest: object) -> torch.Tensor:
        heights.append(rows.shape[2] * 9 // rows.shape[3])
        return convolution(rows, *rest)

    monkeypatch.setattr("backplate.core.engines.pytorch.rows.functional.conv2d", recorded)
    rows = torch.cat(list(RowStream(model).run(*chunks_of(picture, 4))), dim=2)
    assert torch.allclose(rows, expected, atol=1e-5)
    assert max(heights) <= 4 + 3  # with the rows kept above and the zeros below


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 3, 3, stride=2, padding=1)),
        nn.Sequential(nn.Conv2d(3, 3, 3)),
        nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")),
        nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.AdaptiveAvgPool2d(1)),
        nn.Sequential(nn.InstanceNorm2d(3)),
        nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear")),
    ],
    ids=str,
)
def test_what_needs_more_than_its_neighbour_rows_is_refused(model: nn.Module):
    with pytest.raises(NotStreamable):
        RowStream(model)


def test_two_pictures_at_once_do_not_meet():
    torch.manual_seed(0)
    model = Residual().requires_grad_(False)
    stream = RowStream(model)
    first, second = noise(20, 9), noise(20, 9).flip(3)
    together = list(zip(stream.run(*chunks_of(first, 4)), stream.run(*chunks_of(second, 4)), strict=True))
    assert torch.allclose(torch.cat([a for a, _ in together], dim=2), model(first), atol=1e-5)
    assert torch.allclose(torch.cat([b for _, b in together], dim=2), model(second), atol=1e-5)


def streamed(upscaler: EagerUpscaler, picture: torch.Tensor) -> BandPlan:
    whole = Box(0, 0, picture.shape[3], picture.shape[2])
    return plan_bands(picture, whole, upscaler, TileSettings())


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pictures are more than one tile, and are streamed in several chunks."""
    monkeypatch.setattr("backplate.core.engines.pytorch.eager.ALLOCATOR_CLIFF", 4 * 8 * 40 * 40)
    monkeypatch.setattr("backplate.core.engines.pytorch.eager.STREAM_PIXELS", 900)


@pytest.mark.usefixtures("small_budget")
@pytest.mark.parametrize("name", ["compact", "rrdbnet"])
@pytest.mark.parametrize("edge", Edge)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_pipeline_streams_to_the_picture_that_tiles_give(
    build: Callable[[str], LoadedModel], name: str, edge: Edge, channels: int
):
    picture, upscaler = noise(120, 90, channels), EagerUpscaler(build(name), torch.device("cpu"))
    assert streamed(upscaler, picture).chunk
    by_rows = upscale(picture, upscaler, TileSettings(edge=edge))
    by_tiles = upscale(picture, upscaler, TileSettings(edge=edge, size=64))
    exact = upscaler.spec.halo.exact
    assert (by_rows - by_tiles).abs().max() < (1e-5 if exact else 0.5 / 255)


@pytest.mark.usefixtures("small_budget")
@pytest.mark.parametrize("name", ["compact", "rrdbnet"])
def test_rows_and_tiles_take_turns_over_a_sequence(build: Callable[[str], LoadedModel], name: str):
    """Cut, a small change, nothing, another cut: each picture is what it would be alone."""
    upscaler, reuse = EagerUpscaler(build(name), torch.device("cpu")), Reuse(FrameReuse())
    first, target = noise(360, 90), Target(fit=Fit.STRETCH, width=150, height=500)
    second = first.clone()
    second[..., 100:104, 10:14] = 0
    exact = upscaler.spec.halo.exact
    for picture in (first, second, second, 1 - first):
        found = upscale_to(picture, None, upscaler, target, reuse=reuse).picture
        wanted = upscale_to(picture, None, upscaler, target).picture
        assert (found - wanted).abs().max() < (1e-5 if exact else 0.5 / 255)
    assert reuse.counts.streamed == 2
    assert 0 < reuse.counts.tiles_run < reuse.counts.tiles_reused


@pytest.mark.usefixtures("small_budget")
def test_a_wide_model_is_exact_in_rows(build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch):
    """Tiles of an RRDBNet of 23 blocks can only be blended; its rows are the untiled picture."""
    monkeypatch.setattr("backplate.core.engines.halo.PRACTICAL", 8)
    model, picture = build("rrdbnet"), noise(150, 60)
    upscaler = EagerUpscaler(model, torch.device("cpu"))
    assert not upscaler.spec.halo.exact
    assert (upscale(picture, upscaler) - model.descriptor(picture)).abs().max() < 1e-5


@pytest.mark.usefixtures("small_budget")
@pytest.mark.parametrize("failing", [0, 1, 4])
def test_tiles_take_over_when_memory_runs_out(
    build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch, failing: int
):
    model, picture = build("compact"), noise(120, 90)
    upscaler = EagerUpscaler(model, torch.device("cpu"))
    stream = EagerUpscaler.stream

    def broken(self: EagerUpscaler, chunks: Iterator[torch.Tensor], count: int) -> Iterator[torch.Tensor]:
        for index, rows in enumerate(stream(self, chunks, count)):
            if index == failing:
                raise OutOfMemory("forced")
            yield rows

    monkeypatch.setattr(EagerUpscaler, "stream", broken)
    assert (upscale(picture, upscaler) - model.descriptor(picture)).abs().max() < 1e-5


@pytest.mark.usefixtures("small_budget")
def test_flat_tiles_are_run_once_and_are_the_same(build: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch):
    """A small product on white: tiles cost less than rows, because the white ones are run once."""
    model = build("compact")
    picture = torch.ones(1, 3, 300, 300)
    picture[..., 140:160, 140:160] = noise(20, 20)
    upscaler = EagerUpscaler(model, torch.device("cpu"))
    assert not streamed(upscaler, picture).chunk
    calls: list[int] = []
    run = EagerUpscaler.__call__
    monkeypatch.setattr(EagerUpscaler, "__call__", lambda self, p: calls.append(1) or run(self, p))
    result = upscale(picture, upscaler)
    assert (result - model.descriptor(picture)).abs().max() < 1e-5
    assert len(calls) < sum(map(len, streamed(upscaler, picture).tiles)) / 2


@pytest.mark.real_weights
def test_rows_equal_the_untiled_picture_with_real_weights(real_weights: Callable[[str], Path]):
    model = load_model(real_weights("realesr-animevideov3"))
    upscaler = EagerUpscaler(model, torch.device("cpu"))
    picture = noise(200, 700)
    assert streamed(upscaler, picture).chunk
    assert (upscale(picture, upscaler) - model.descriptor(picture)).abs().max() <= 1e-4
