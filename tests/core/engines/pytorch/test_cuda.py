"""What must hold on a CUDA card. What can runs on the CPU too, in the half precision of a card, so that the tests are
known to work where there is none."""

from __future__ import annotations

import gc
import importlib.util
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from backplate.core.engines import torch_compile as compiled_engine
from backplate.core.engines.pytorch import eager
from backplate.core.engines.pytorch import half_check as precision_check
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.engines.pytorch.half_check import is_degenerate, is_unfit
from backplate.core.engines.pytorch.transfers import Transfers
from backplate.core.errors import InputError, OutOfMemory
from backplate.core.image.tiling import Edge
from backplate.core.media.picture.read import read_picture
from backplate.core.progress import Cancelled, Progress
from backplate.core.tiled.pipeline import TileSettings, upscale
from backplate.model_loader.loaded import LoadedModel, load_model
from backplate.model_loader.precision import Precision
from devices import DEVICES, EvictingHost, FailingAt, card_with, device_called, noise, open_in, scaled
from recorder import Recorder
from safetensors.torch import save_file

from ..conftest import BUILDERS

EXACT, HALF = 1e-4, 2e-2
"""Largest differences in single precision, whose kernels add up in other orders, and in half."""
ENOUGH_DECIBELS = 50.0
SAMPLE = Path(__file__).parents[4] / "samples" / "cel.png"
Build = Callable[[str], LoadedModel]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    return device_called(request.param)


@pytest.fixture
def card() -> torch.device:
    return device_called("cuda")


@pytest.fixture(autouse=True)
def nothing_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_check, "_unfit", set())


@pytest.fixture
def overflowing(tmp_path: Path) -> LoadedModel:
    """Right in single precision; in half of it the first layer is beyond the largest number."""
    torch.manual_seed(3)
    path = tmp_path / "overflowing.safetensors"
    save_file(scaled(BUILDERS["compact"](), 2.0**24, 2), path)
    return load_model(path)


@pytest.fixture
def vanishing(tmp_path: Path) -> LoadedModel:
    """Right in single precision; in half of it the first layer is 0 and the picture of one colour."""
    torch.manual_seed(3)
    network = BUILDERS["rrdbnet"]()
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    with torch.no_grad():
        for convolution in convolutions:
            # Near a border they would show.
            convolution.bias.zero_()
        convolutions[-1].bias.fill_(0.5)
        convolutions[-1].weight.mul_(40)
    path = tmp_path / "vanishing.safetensors"
    save_file(scaled(network, 2.0**-36, 3), path)
    return load_model(path)


def one_pass(model: LoadedModel, picture: torch.Tensor) -> torch.Tensor:
    """On the CPU, in single precision."""
    with torch.inference_mode():
        return model.descriptor(picture.clone()).clamp(0, 1)


def largest(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.cpu() - wanted.cpu()).abs().max())


def decibels(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(-10 * (found.cpu().double() - wanted.cpu().double()).square().mean().log10())


@pytest.mark.cuda
def test_copies_arrive_whole_however_many_are_on_their_way(card: torch.device):
    transfers = Transfers(card)
    pictures = [noise(300, 500 + index, seed=index) for index in range(12)]
    expected, waiting = [3 * picture + 1 for picture in pictures], list[Callable[[], torch.Tensor]]()
    for picture in pictures:
        placed = transfers.upload(picture)
        picture.zero_()  # the caller's memory is the caller's again at once
        waiting.append(transfers.download(3 * placed + 1))
        del placed
    for collect, wanted in zip(waiting, expected, strict=True):
        assert torch.allclose(collect(), wanted, rtol=0, atol=1e-6)


def test_two_that_are_submitted_give_what_two_calls_give(build: Build, device: torch.device):
    model = build("compact")
    upscaler = EagerUpscaler(model, device, Precision.FP32)
    pictures = [noise(60, 50, seed=1), noise(33, 70, seed=2)]
    waiting = [upscaler.submit(picture) for picture in pictures]
    for picture, collect in zip(pictures, waiting, strict=True):
        result = collect()
        assert device.type == "cpu" or result.device.type == "cpu"
        assert largest(result, upscaler(picture)) < 1e-6
        assert largest(result, one_pass(model, picture)) < EXACT
    placed = pictures[0].to(device)
    assert upscaler.submit(placed)().device == placed.device


@pytest.mark.cuda
@pytest.mark.parametrize("near", [False, True])
def test_nobody_waits_for_the_card_before_a_result_is_collected(build: Build, card: torch.device, near: bool):
    upscaler = EagerUpscaler(build("compact"), card)
    picture = noise(64, 64).to(card if near else "cpu")
    upscaler.submit(picture)()
    torch.cuda.set_sync_debug_mode("error")
    try:
        waiting = [upscaler.submit(picture), upscaler.submit(picture)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(waiting[0](), waiting[1]())


@pytest.mark.cuda
@pytest.mark.parametrize("near", [False, True])
def test_how_often_the_card_is_waited_for_does_not_grow_with_the_tiles_of_a_row(
    build: Build, card: torch.device, near: bool
):
    upscaler = EagerUpscaler(build("compact"), card)
    if not near:
        upscaler.room = lambda _wanted: (card, 0)

    def waits(width: int) -> int:
        upscale(noise(32, width), upscaler, TileSettings(size=32))
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                upscale(noise(32, width), upscaler, TileSettings(size=32))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(warning.message) for warning in said)

    assert waits(16 * 32) == waits(4 * 32)


def test_the_check_stays_on_the_device_of_the_result(device: torch.device):
    picture, black = noise(16, 16).to(device), torch.zeros(1, 3, 32, 32, device=device)
    undefined = torch.full_like(black, 0.5)
    undefined[0, 1, 3, 4] = float("nan")
    found = [is_degenerate(black, picture), is_degenerate(undefined, picture), is_degenerate(picture, picture),
             is_degenerate(black, black)]  # fmt: skip
    assert all(flag.device == device for flag in found)
    assert [bool(flag) for flag in found] == [True, True, False, False]


@pytest.mark.parametrize("name", ["overflowing", "vanishing"])
def test_what_half_precision_breaks_is_computed_again(request: pytest.FixtureRequest, device: torch.device, name: str):
    model: LoadedModel = request.getfixturevalue(name)
    picture = noise(40, 30)
    wanted = one_pass(model, picture)
    upscaler = open_in(torch.float16, model, device)
    assert largest(upscale(picture, upscaler, TileSettings(size=32)), wanted) < EXACT
    assert upscaler.dtype == torch.float32
    assert is_unfit(model.facts.sha256, torch.float16, device)
    assert not is_unfit(model.facts.sha256, torch.float32, device)
    if device.type == "cuda":
        assert EagerUpscaler(model, device).dtype == torch.float32


def test_two_broken_ones_on_their_way_do_not_condemn_single_precision(overflowing: LoadedModel, device: torch.device):
    upscaler = open_in(torch.float16, overflowing, device)
    pictures = [noise(20, 20, seed=1), noise(20, 20, seed=2)]
    for picture, collect in zip(pictures, [upscaler.submit(picture) for picture in pictures], strict=True):
        assert largest(collect(), one_pass(overflowing, picture)) < EXACT
    assert upscaler.dtype == torch.float32
    assert not is_unfit(overflowing.facts.sha256, torch.float32, device)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize(
    ("name", "count"), [("cpu", 1), *(pytest.param("cuda", n, marks=pytest.mark.cuda) for n in (1, 3))]
)
def test_wherever_memory_ends_the_picture_is_right_or_there_is_none(
    overflowing: LoadedModel, name: str, count: int, dtype: torch.dtype, near: bool
):
    """Half precision breaks here, so that this holds while its result is replaced, too."""
    device, picture = device_called(name), noise(64, 80)
    wanted = one_pass(overflowing, picture)

    def run(mode: FailingAt) -> torch.Tensor:
        precision_check._unfit.clear()
        eager._copies.clear()
        upscaler = open_in(dtype, overflowing, device)
        # On the CPU another name of the same place.
        upscaler.room = lambda _wanted: (torch.device(name, 0), 1 << 30 if near else 0)
        with mode:
            return upscale(picture, upscaler, TileSettings(size=64))

    whole = FailingAt(device)
    assert largest(run(whole), wanted) < EXACT
    firsts = range(1, whole.done + 1, 5 if device.type == "cpu" and dtype == torch.float16 else count)
    finished = 0
    for first in firsts:
        try:
            result = run(FailingAt(device, first, count))
        except (OutOfMemory, InputError):
            continue
        except torch.OutOfMemoryError:
            # Of what is put together in main memory, which a card has nothing to do with.
            assert device.type == "cpu"
            continue
        finished += 1
        assert largest(result, wanted) < EXACT, f"after operation {first} of {whole.done} found no memory"
    assert finished > len(firsts) / 4, "those of the model are tried again in smaller tiles"


@pytest.mark.cuda
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.AUTO])
def test_a_card_with_little_memory_gives_the_same_picture_or_none(
    build: Build, card: torch.device, precision: Precision
):
    upscaler, picture = EagerUpscaler(build("rrdbnet"), card, precision), noise(300, 400)
    wanted = upscale(picture, upscaler)
    bar, finished, full, said = EXACT if precision is Precision.FP32 else HALF, 0, 0, Recorder()
    for extra in (0, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512):
        with card_with(extra * 2**20):
            try:
                result = upscale(picture, upscaler, progress=said)
            except OutOfMemory:
                full += 1
                continue
        finished += 1
        assert largest(result, wanted) < bar, f"with {extra} MiB more than the weights take"
    assert finished, "512 MiB are enough"
    assert full or said.notes, "no memory at all is not enough"
    assert largest(upscale(picture, upscaler), wanted) < bar


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("waits", [False, True])
def test_an_upscaler_without_memory_says_so_in_one_way(
    overflowing: LoadedModel, device: torch.device, dtype: torch.dtype, waits: bool
):
    """Of copies, of the model, of the check and of what replaces a broken result."""
    picture = noise(20, 24)
    wanted = one_pass(overflowing, picture)

    def run(mode: FailingAt) -> torch.Tensor:
        precision_check._unfit.clear()
        eager._copies.clear()
        upscaler = open_in(dtype, overflowing, device)
        with mode:
            return upscaler(picture) if waits else upscaler.submit(picture)()

    whole = FailingAt(device)
    assert largest(run(whole), wanted) < EXACT
    for first in range(1, whole.done + 1):
        with pytest.raises(OutOfMemory):
            run(FailingAt(device, first))


class StopAfter(Progress):
    def __init__(self, tiles: int) -> None:
        self.left = tiles

    def advance(self, steps: int = 1) -> None:
        self.left -= steps

    def check(self) -> None:
        if self.left <= 0:
            raise Cancelled


@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_who_stops_in_the_middle_leaves_nothing_behind(build: Build, device: torch.device, tiles: int):
    model, picture = build("compact"), noise(96, 96)
    upscaler = EagerUpscaler(model, device, Precision.FP32)
    wanted = upscale(picture, upscaler, TileSettings(size=32))
    held = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    with pytest.raises(Cancelled):
        upscale(picture, upscaler, TileSettings(size=32), StopAfter(tiles))
    if device.type == "cuda":
        gc.collect()  # the traceback that pytest kept
        torch.cuda.synchronize()
        assert torch.cuda.memory_allocated() == held
    assert largest(upscale(picture, upscaler, TileSettings(size=32)), wanted) < 1e-6


def test_the_shared_model_stays_as_it_was_loaded(build: Build, device: torch.device):
    model = build("compact")
    before = {key: value.clone() for key, value in model.descriptor.model.state_dict().items()}
    strides = [each.stride() for each in model.descriptor.model.parameters()]
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        upscale(noise(20, 20), open_in(dtype, model, device))
    for key, value in model.descriptor.model.state_dict().items():
        assert (value.dtype, value.device.type) == (torch.float32, "cpu")
        assert torch.equal(value, before[key])
    assert [each.stride() for each in model.descriptor.model.parameters()] == strides


@pytest.mark.parametrize("tile", [0, 32])
@pytest.mark.parametrize(("edge", "axes"), [(Edge.WRAP_BOTH, (2, 3)), (Edge.WRAP_HORIZONTAL, (3,))])
def test_a_picture_that_wraps_has_no_border(
    build: Build, device: torch.device, edge: Edge, axes: tuple[int, ...], tile: int
):
    """Moved around before or after, it is the same."""
    upscaler, picture = EagerUpscaler(build("compact"), device, Precision.FP32), noise(50, 70)
    shifts = tuple(11 for _ in axes)
    result = upscale(picture, upscaler, TileSettings(size=tile, edge=edge))
    moved = upscale(picture.roll(shifts, axes), upscaler, TileSettings(size=tile, edge=edge))
    scale = upscaler.spec.scale
    assert largest(moved, result.roll(tuple(scale * shift for shift in shifts), axes)) < EXACT


@pytest.mark.parametrize("name", ["compact", "rrdbnet", "rrdbnet x2", "span"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_tiles_equal_the_whole_picture(build: Build, device: torch.device, name: str, dtype: torch.dtype):
    model, picture = build(name), noise(90, 74)
    upscaler = open_in(dtype, model, device)
    wanted = one_pass(model, picture)
    bar = EXACT if dtype == torch.float32 and upscaler.spec.halo.exact else HALF
    for tile in (0, 32, 40):
        assert largest(upscale(picture, upscaler, TileSettings(size=tile)), wanted) < bar
    assert upscaler.dtype == dtype


@pytest.mark.real_weights
@pytest.mark.parametrize("name", ["realesr-general-x4v3", "realesr-animevideov3"])
def test_half_precision_is_within_50_decibels_on_real_weights(
    real_weights: Callable[[str], Path], device: torch.device, name: str
):
    model = load_model(real_weights(name))
    whole = read_picture(SAMPLE).picture
    picture = whole if device.type == "cuda" else whole[:, :, 40:100, 40:100].contiguous()
    upscaler = open_in(torch.float16, model, device)
    wanted = upscale(picture, EagerUpscaler(model, device, Precision.FP32))
    assert decibels(upscale(picture, upscaler), wanted) >= ENOUGH_DECIBELS
    assert upscaler.dtype == torch.float16


@pytest.mark.real_weights
def test_tiles_of_real_weights_equal_the_whole_picture(real_weights: Callable[[str], Path], device: torch.device):
    model = load_model(real_weights("realesr-general-x4v3"))
    picture = read_picture(SAMPLE).picture[:, :, 40:140, 40:160].contiguous()
    upscaler = EagerUpscaler(model, device, Precision.FP32)
    assert upscaler.spec.halo.exact
    assert largest(upscale(picture, upscaler, TileSettings(size=48)), one_pass(model, picture)) < EXACT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_two_models_share_a_device_that_holds_one(build: Build, device: torch.device, dtype: torch.dtype):
    host, models, picture = EvictingHost(), [build("compact"), build("rrdbnet")], noise(40, 30)
    wanted = [one_pass(model, picture) for model in models]
    upscalers = [open_in(dtype, model, device, place=host) for model in models]
    begun = host.placed
    for turn in range(4):
        index = turn % 2
        result = upscale(picture, upscalers[index], TileSettings(size=32))
        assert largest(result, wanted[index]) < (EXACT if dtype == torch.float32 else HALF)
    assert host.placed == begun + 4, "once for each turn, not for each tile"


def test_recorded_graphs_follow_the_shape(build: Build, device: torch.device, monkeypatch: pytest.MonkeyPatch):
    """More shapes than are recorded, each several times, and back again; on the CPU without a compiler's work."""
    if device.type == "cpu":
        monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    elif importlib.util.find_spec("triton") is None:
        pytest.skip("torch.compile needs Triton on CUDA")
    model = build("compact")
    settings = compiled_engine.CompiledSettings(mode="reduce-overhead", dynamic=False, most_shapes=2)
    upscaler = compiled_engine.CompiledUpscaler(model, device, Precision.AUTO, settings)
    shapes = [
        (32, 32),
        (32, 32),
        (32, 32),
        (24, 40),
        (24, 40),
        (24, 40),
        (16, 16),
        (16, 16),
        (32, 32),
        (24, 40),
        (32, 32),
    ]
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    for index, shape in enumerate(shapes):
        picture = noise(*shape, seed=index)
        kept.append((upscaler(picture), one_pass(model, picture)))
    for result, wanted in kept:
        assert largest(result, wanted) < HALF
