"""An engine of TensorRT at work, through a stand-in that uses PyTorch; and on a real GPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.engines.registry import EngineRequest, EngineUnusable
from backplate.core.engines.tensorrt import engine as tensorrt_engine
from backplate.core.engines.tensorrt import runtime as tensorrt_runtime
from backplate.core.engines.tensorrt.build import profile_for
from backplate.core.engines.tensorrt.upscaler import TensorRTUpscaler, tiled_spec
from backplate.core.errors import ModelOutputError, OutOfMemory
from backplate.core.tiled.pipeline import TileSettings, upscale
from backplate.core.types import Size, SizeRule
from backplate.core.upscaler import Upscaler
from backplate.model_loader.loaded import LoadedModel
from backplate.model_loader.precision import Precision
from recorder import Recorder

from .tensorrt_house import CPU, House, noise


def test_the_profile_is_sized_by_the_tile_that_is_run():
    profile = profile_for(3, SizeRule(multiple_of=4), 301, batch=2)
    assert profile.shapes == ((1, 3, 4, 4), (2, 3, 304, 304), (2, 3, 304, 304))
    assert profile.holds(Size(304, 8))
    assert not profile.holds(Size(305, 8))


@pytest.mark.parametrize("name", ["compact", "rrdbnet x2"])
@pytest.mark.parametrize("asked", [0, 32])
def test_every_tile_of_the_pipeline_fits_the_profile(
    house: Callable[[str], House], monkeypatch: pytest.MonkeyPatch, name: str, asked: int
):
    monkeypatch.setattr(tensorrt_engine, "TILE", 64)
    monkeypatch.setattr("backplate.core.engines.verify.SAMPLE_SIDE", 16)
    monkeypatch.setattr(tensorrt_engine, "SAMPLE_SIDE", 16)
    each = house(name)
    upscaler, progress = each.open(tile=asked), Recorder()
    for height, width in ((90, 77), (20, 150), (150, 20), (64, 64)):
        upscale(noise(1, 3, height, width), upscaler, TileSettings(size=asked), progress)
    assert progress.notes == []


def test_tiles_of_every_size_run_through_the_addresses_that_were_given(house: Callable[[str], House]):
    each = house("compact")
    upscaler = each.open(tile=32)
    picture = noise(1, 3, 90, 71)
    result = upscale(picture, upscaler, TileSettings(size=32))
    assert (result - each.model.descriptor(picture)).abs().max() < 1e-4
    tiny = noise(1, 3, 3, 2)
    assert (upscaler(tiny) - each.model.descriptor(tiny)).abs().max() < 1e-4
    block = each.fake.contexts[0].memory
    assert block[1] == 4096
    assert all(context.memory == block and set(context.streams) == {77} for context in each.fake.contexts)
    assert each.fake.builds[0].network.flags == 2


def test_batches_are_split_as_the_engine_takes_them(house: Callable[[str], House]):
    each = house("compact")
    picture = noise(3, 3, 20, 24)
    assert (each.open()(picture) - each.model.descriptor(picture)).abs().max() < 1e-4


def test_shapes_that_come_back_are_recorded_once(house: Callable[[str], House]):
    each = house("compact")
    upscaler = each.open()
    pictures = [noise(1, 3, 20, 24), 1 - noise(1, 3, 20, 24), noise(1, 3, 20, 24).flip(3)]
    before = each.lane.captured
    results = [upscaler(picture) for picture in pictures]
    assert each.lane.captured == before + 1
    for picture, result in zip(pictures, results, strict=True):
        assert (result - each.model.descriptor(picture)).abs().max() < 1e-4
    for side in range(8, 20):
        upscaler(noise(1, 3, side, side))
        upscaler(noise(1, 3, side, side))
    assert each.lane.captured == tensorrt_runtime.MOST_GRAPHS


def test_a_stream_that_cannot_be_recorded_runs_without(house: Callable[[str], House]):
    each = house("compact")
    each.lane.fails = True
    upscaler = each.open()
    picture = noise(1, 3, 20, 24)
    for _ in range(3):
        assert (upscaler(picture) - each.model.descriptor(picture)).abs().max() < 1e-4


def test_a_tile_over_the_profile_is_cut_by_the_pipeline(house: Callable[[str], House]):
    each = house("compact")
    upscaler = each.open(tile=32)
    with pytest.raises(OutOfMemory, match="tiles of up to"):
        upscaler(noise(1, 3, 300, 20))
    picture = noise(1, 3, 100, 40)
    result = upscale(picture, upscaler, TileSettings(size=100))
    assert (result - each.model.descriptor(picture)).abs().max() < 1e-4


def test_a_run_that_fails_gives_the_reason(house: Callable[[str], House]):
    each = house("compact")
    upscaler = each.open()
    each.fake.runs, each.fake.said = False, "Cuda failure: illegal address"
    with pytest.raises(ModelOutputError, match=r"TensorRT failed on compact at 9x8 .*illegal address"):
        upscaler(noise(1, 3, 8, 9))
    each.fake.said = "Requested amount of GPU memory could not be allocated: out of memory"
    with pytest.raises(OutOfMemory, match="out of memory"):
        upscaler(noise(1, 3, 8, 9))


def test_a_full_device_is_a_smaller_tile_whoever_says_so(
    house: Callable[[str], House], monkeypatch: pytest.MonkeyPatch
):
    upscaler = house("compact").open()

    def full(batch: torch.Tensor) -> torch.Tensor:
        raise torch.AcceleratorError("CUDA error: out of memory")

    monkeypatch.setattr(upscaler, "_runner", SimpleNamespace(run=full))
    with pytest.raises(OutOfMemory, match="out of memory"):
        upscaler(noise(1, 3, 8, 9))


def test_half_precision_that_breaks_is_left_to_pytorch(house: Callable[[str], House]):
    each = house("compact")
    runner = SimpleNamespace(run=lambda batch: torch.full((1, 3, 16, 16), math.nan))
    opened: list[Upscaler] = []

    def fallback() -> Upscaler:
        opened.append(EagerUpscaler(each.model, CPU))
        return opened[-1]

    profile = profile_for(3, SizeRule(), 64)
    spec = tiled_spec(tensorrt_engine.untiled_spec(each.model), profile)
    upscaler = TensorRTUpscaler(runner, spec, profile, CPU, fallback)
    picture = noise(1, 3, 8, 8)
    for _ in range(2):
        assert (upscaler(picture) - each.model.descriptor(picture)).abs().max() < 1e-5
    assert len(opened) == 1


def test_an_engine_that_computes_something_else_is_not_used(house: Callable[[str], House]):
    each = house("compact")
    network = each.fake.network
    each.fake.network = lambda batch: network(batch) * 1.01
    with pytest.raises(EngineUnusable, match="differs by"):
        each.open()


@pytest.mark.cuda
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.FP32])
def test_a_real_engine_computes_what_the_model_computes(
    build: Callable[[str], LoadedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision
):
    if reason := tensorrt_engine.unusable():
        pytest.skip(reason)
    monkeypatch.setenv("BACKPLATE_ENGINES", str(tmp_path / "engines"))
    model = build("compact")
    request = EngineRequest(model=model, device=torch.device("cuda", 0), precision=precision, tile=64)
    upscaler = tensorrt_engine.open_model(request)
    bar = 5e-3 if precision is Precision.FP16 else 1e-4
    picture = noise(1, 3, 200, 150)
    for _ in range(3):
        result = upscale(picture, upscaler, TileSettings(size=64))
        assert (result - model.descriptor(picture)).abs().max() < bar
