"""The promises of the one path: identity at any size, the same picture after out-of-memory, an exact fit."""

from __future__ import annotations

import itertools

import pytest
import torch
from backplate.core.errors import InputError, ModelOutputError, OutOfMemory
from backplate.core.image.canvas import Background
from backplate.core.image.fit import Fit, Target
from backplate.core.image.keep_colours import ColourChange
from backplate.core.image.resize import resize
from backplate.core.image.tiling import Edge
from backplate.core.progress import Cancelled, Progress
from backplate.core.tiled.model_pass import BANDS_HELD, _device_with_room
from backplate.core.tiled.pipeline import TileSettings, upscale, upscale_to, upscale_with_alpha
from backplate.core.types import Box, FloatBox, Size, SizeRule
from backplate.core.upscaler import Halo, UpscalerSpec
from torch.nn.functional import avg_pool2d, interpolate, pad


class Nearest:
    """Nearest neighbour in the place of a model; refuses sizes outside its rule, fails when told to."""

    def __init__(self, scale: int = 4, channels: int = 3, rule: SizeRule | None = None, **changes: object) -> None:
        self.spec = UpscalerSpec(
            **{
                "name": "nearest",
                "scale": scale,
                "input_channels": channels,
                "output_channels": channels,
                "size_rule": rule or SizeRule(),
                "halo": Halo(pixels=0, exact=True),
                **changes,
            }  # type: ignore[arg-type]
        )
        self.calls = 0

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        size = Size(picture.shape[3], picture.shape[2])
        assert self.spec.size_rule.padded(size) == size
        assert picture.shape[1] == self.spec.input_channels
        return interpolate(picture.float(), scale_factor=self.spec.scale)


class Noting(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


class Blurred(Nearest):
    """Looks 3 pixels around each pixel: zeros lie beyond its input, as in a convolution."""

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        return super().__call__(avg_pool2d(pad(picture, (3, 3, 3, 3)), 7, stride=1))


class Failing(Nearest):
    """Out of memory at every n-th call, or above so many pixels."""

    def __init__(self, every: int = 0, above: int | None = None, **changes: object) -> None:
        super().__init__(**changes)  # type: ignore[arg-type]
        self.every, self.above = every, above

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        pixels = picture.shape[2] * picture.shape[3]
        self.calls += 1
        if (self.every and self.calls % self.every == 0) or (self.above is not None and pixels > self.above):
            raise OutOfMemory("forced")
        self.calls -= 1
        return super().__call__(picture)


def noise(height: int, width: int, channels: int = 3, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(7))


SIZES = [(1, 1), (1, 64), (64, 1), (33, 65), (130, 97), (20, 300)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tile", [0, 32, 64, 1000])
@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("exact", [True, False])
def test_identity_upscale(size: tuple[int, int], tile: int, scale: int, exact: bool):
    picture = noise(*size)
    model = Nearest(scale, halo=Halo(pixels=9, exact=exact), max_tile_pixels=2500)
    result = upscale(picture, model, TileSettings(size=tile))
    assert torch.allclose(result, interpolate(picture, scale_factor=scale), atol=1e-6)


@pytest.mark.parametrize("rule", [SizeRule(multiple_of=4), SizeRule(minimum=16), SizeRule(multiple_of=2, square=True)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_identity_upscale_under_size_rules(rule: SizeRule, size: tuple[int, int]):
    picture = noise(*size)
    model = Nearest(2, rule=rule, halo=Halo(pixels=3, exact=True))
    assert torch.equal(upscale(picture, model, TileSettings(size=32)), interpolate(picture, scale_factor=2))


@pytest.mark.parametrize("tile", [32, 41, 64])
def test_tiles_are_cut_where_the_halo_is_exact(tile: int):
    picture = noise(150, 101)
    model = Blurred(2, halo=Halo(pixels=3, exact=True))
    settings = TileSettings(size=tile, keep_colours=False)
    assert torch.allclose(upscale(picture, model, settings), model(picture), atol=1e-6)


@pytest.mark.parametrize("edge", [Edge.REPLICATE, Edge.WRAP_HORIZONTAL, Edge.WRAP_BOTH])
@pytest.mark.parametrize("size", [(70, 90), (5, 2), (1, 40)], ids=str)
def test_edges_equal_one_pass_over_the_continued_picture(edge: Edge, size: tuple[int, int]):
    picture = noise(*size)
    rows = torch.arange(-3, size[0] + 3)
    columns = torch.arange(-3, size[1] + 3)
    rows = rows % size[0] if edge.wraps_y else rows.clamp(0, size[0] - 1)
    columns = columns % size[1] if edge.wraps_x else columns.clamp(0, size[1] - 1)
    if edge is Edge.WRAP_HORIZONTAL:
        rows = torch.arange(size[0])
    continued = picture[:, :, rows][:, :, :, columns]
    model = Blurred(1, halo=Halo(pixels=3, exact=True))
    expected = model(continued)[..., 3:-3]
    expected = expected if edge is Edge.WRAP_HORIZONTAL else expected[:, :, 3:-3]
    assert torch.allclose(upscale(picture, model, TileSettings(size=32, edge=edge)), expected, atol=1e-6)


@pytest.mark.parametrize("shift", [2, 38])
def test_a_wrapped_panorama_turns_without_a_seam(shift: int):
    """Turning the panorama before or after the work gives the same picture, also when it is fitted."""
    picture = noise(40, 90)
    settings = TileSettings(size=32, edge=Edge.WRAP_HORIZONTAL, keep_colours=False)
    model = Blurred(2, halo=Halo(pixels=3, exact=True))
    for work in (
        lambda p: upscale(p, model, settings),
        lambda p: upscale_to(p, None, model, Target(width=135, height=60, fit=Fit.STRETCH), settings).picture,
        lambda p: upscale_to(p, None, None, Target(width=45, height=20, fit=Fit.STRETCH), settings).picture,
    ):
        plain, turned = work(picture), work(picture.roll(shift, -1))
        step = shift * plain.shape[-1] // 90
        assert torch.allclose(plain.roll(step, -1), turned, atol=1e-5)


@pytest.mark.parametrize("every", [2, 3, 5])
@pytest.mark.parametrize("size", [(130, 97), (20, 300)], ids=str)
def test_out_of_memory_at_every_nth_call_gives_the_same_picture(every: int, size: tuple[int, int]):
    picture = noise(*size)
    model = Failing(every=every)
    result = upscale(picture, model, TileSettings(size=48))
    assert torch.equal(result, interpolate(picture, scale_factor=4))


def test_out_of_memory_above_a_size_is_met_once():
    notes, model = Noting(), Failing(above=40 * 40, halo=Halo(pixels=2, exact=True))
    picture = noise(200, 200)
    result = upscale(picture, model, TileSettings(size=100), notes)
    assert torch.equal(result, interpolate(picture, scale_factor=4))
    assert 1 <= len(notes.notes) <= 3, "later tiles start at the size that fitted"


def test_out_of_memory_always_ends_with_the_size_tried():
    model = Failing(above=0)
    with pytest.raises(OutOfMemory, match=r"\d+x\d+ pixels"):
        upscale(noise(200, 200), model)
    assert model.calls < 20


@pytest.mark.parametrize(("channels", "model_channels"), list(itertools.product([1, 3], [1, 3, 4])))
def test_channels_are_matched(channels: int, model_channels: int):
    picture = noise(40, 50, channels, batch=2)
    result = upscale(picture, Nearest(2, model_channels), TileSettings(size=32))
    assert torch.allclose(result, interpolate(picture, scale_factor=2), atol=1e-6)


def test_half_precision_pictures_are_taken_and_not_changed():
    picture = noise(40, 50).half()
    before = picture.clone()
    result = upscale(picture, Nearest(2))
    assert result.dtype == torch.float32
    assert torch.equal(picture, before)


@pytest.mark.parametrize(
    "picture",
    [torch.zeros(3, 4, 4), torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 0, 4), torch.full((1, 3, 4, 4), float("nan"))],
)
def test_what_is_no_picture_is_refused(picture: torch.Tensor):
    with pytest.raises(InputError):
        upscale(picture, Nearest())


def test_a_model_that_returns_nan_is_not_believed():
    class Broken(Nearest):
        def __call__(self, picture: torch.Tensor) -> torch.Tensor:
            return super().__call__(picture).log()

    with pytest.raises(ModelOutputError, match="not finite"):
        upscale(torch.zeros(1, 3, 40, 40), Broken())


def test_cancel_is_asked_before_every_tile():
    class StopAtThird(Progress):
        checks = 0

        def check(self) -> None:
            self.checks += 1
            if self.checks == 3:
                raise Cancelled

    model, progress = Nearest(), StopAtThird()
    with pytest.raises(Cancelled):
        upscale(noise(100, 100), model, TileSettings(size=32), progress)
    assert model.calls == 2


def test_progress_announces_as_many_tiles_as_it_reports():
    class Count(Progress):
        total = done = 0

        def begin(self, total: int, what: str = "") -> None:
            self.total += total

        def advance(self, steps: int = 1) -> None:
            self.done += steps

    progress = Count()
    upscale(noise(100, 100, batch=2), Nearest(), TileSettings(size=32), progress)
    assert progress.total == progress.done == 2 * 16


@pytest.mark.parametrize("size", [(40, 64), (97, 33), (1, 1), (3, 50)], ids=str)
@pytest.mark.parametrize("fit", [Fit.COVER, Fit.PAD, Fit.STRETCH])
@pytest.mark.parametrize("wanted", [(100, 100), (301, 77), (640, 480)], ids=str)
@pytest.mark.parametrize("exact", [True, False])
def test_fitting_on_the_way_equals_fitting_afterwards(
    size: tuple[int, int], fit: Fit, wanted: tuple[int, int], exact: bool
):
    """Bands resampled as they arrive are the same picture as the whole x4 picture resampled."""
    picture = noise(*size)
    model = Nearest(4, halo=Halo(pixels=5, exact=exact))
    target = Target(width=wanted[0], height=wanted[1], fit=fit)
    result = upscale_to(picture, None, model, target, TileSettings(size=32), Background())
    assert result.picture.shape[-2:] == (wanted[1], wanted[0])
    if result.passes > 1:
        return
    plan, scale = result.plan, 4 if result.passes else 1
    whole = interpolate(picture, scale_factor=scale)
    box = FloatBox(*(value * scale for value in plan.source_box))
    expected = resize(whole, plan.placed.size, box).clamp(0, 1)
    placed = plan.placed
    shown = result.picture[:, :, placed.y : placed.bottom, placed.x : placed.right]
    assert torch.allclose(shown, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("source", "target", "scale", "passes"),
    [
        (100, 50, 4, 0),
        (100, 100, 4, 0),
        (100, 101, 4, 1),
        (100, 400, 4, 1),
        (100, 410, 4, 2),
        (100, 410, 2, 3),
        (100, 50, 1, 1),
    ],
)
def test_as_few_passes_as_needed(source: int, target: int, scale: int, passes: int):
    model = Nearest(scale)
    result = upscale_to(noise(source, source), None, model, Target(width=target, height=target, fit=Fit.COVER))
    assert result.passes == passes
    assert result.picture.shape[-2:] == (target, target)


def test_several_passes_stay_in_register():
    """A smooth ramp comes out as the same ramp after two passes with a crop: nothing is shifted or scaled twice."""
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 48, 64).contiguous()
    result = upscale_to(ramp, None, Smooth(2), Target(width=300, height=300, fit=Fit.COVER), TileSettings(size=32))
    expected = resize(ramp, Size(300, 300), result.plan.source_box).clamp(0, 1)
    assert result.passes == 3
    assert (result.picture - expected).abs().max() < 0.01


class Smooth(Nearest):
    """Bilinear magnification, its field 1 pixel wide."""

    def __init__(self, scale: int) -> None:
        super().__init__(scale, halo=Halo(pixels=2, exact=True))

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return interpolate(picture, scale_factor=self.spec.scale, mode="bilinear")


def test_alpha_stays_beside_the_picture():
    picture, alpha = noise(40, 50, batch=2), (noise(40, 50, 1, batch=2) > 0.5).float()
    result, enlarged = upscale_with_alpha(picture, alpha, Nearest(2))
    assert enlarged is not None
    assert enlarged.shape == (2, 1, 80, 100)
    assert result.shape == (2, 3, 80, 100)
    assert 0 <= enlarged.min() <= enlarged.max() <= 1
    plain, none = upscale_with_alpha(picture, None, Nearest(2))
    assert none is None
    visible = interpolate(alpha, scale_factor=2).expand_as(plain) > 0
    assert torch.equal(plain[visible], result[visible])


class Roomy(Blurred):
    """Has room for so many bytes on a device of its own, the same memory by another name; runs out of it once, at a
    call."""

    device = torch.device("cpu", 0)

    def __init__(self, room: int, fails_at: int = 0) -> None:
        super().__init__(scale=2, halo=Halo(pixels=3, exact=True), max_tile_pixels=32 * 32)
        self.bytes, self.fails_at = room, fails_at

    def room(self, wanted: int) -> tuple[torch.device, int]:
        return self.device, self.bytes

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        if self.calls + 1 == self.fails_at:
            self.fails_at = 0
            raise torch.OutOfMemoryError("the band did not fit")
        return super().__call__(picture)


@pytest.mark.parametrize(("room", "fails_at"), [(10**9, 0), (10**9, 3), (10**9, 1), (1000, 0)])
def test_a_picture_goes_to_the_device_where_there_is_room_and_back_if_it_does_not_last(room: int, fails_at: int):
    picture, target = noise(70, 50), Target(width=90, height=126, fit=Fit.COVER)
    plain, progress = Blurred(2, halo=Halo(pixels=3, exact=True), max_tile_pixels=32 * 32), Noting()
    result = upscale(picture, Roomy(room, fails_at), progress=progress)
    assert torch.equal(result, upscale(picture, plain))
    assert len(progress.notes) == int(fails_at > 0)
    assert all("no room on cpu:0" in note for note in progress.notes)
    fitted = upscale_to(picture, None, Roomy(room, fails_at), target).picture
    assert (fitted - upscale_to(picture, None, plain, target).picture).abs().max() < 1e-6


def test_room_is_asked_for_the_picture_and_its_bands():
    picture = noise(64, 48)
    whole, band = Box(0, 0, 48, 64), 3 * 48 * 32 * 4
    needed = 4 * (picture.numel() + BANDS_HELD * band)
    assert _device_with_room(picture, whole, Roomy(needed), BANDS_HELD) == Roomy.device
    assert _device_with_room(picture, whole, Roomy(needed - 1), BANDS_HELD) == picture.device


@pytest.mark.cuda
def test_what_is_put_together_on_cuda_is_the_same() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    upscaler = Roomy(10**9)
    upscaler.device = torch.device("cuda", 0)
    picture, target = noise(200, 150), Target(width=333, height=444, fit=Fit.COVER)
    plain = Blurred(2, halo=Halo(pixels=3, exact=True))
    result = upscale(picture, upscaler)
    assert result.device == picture.device
    assert (result - upscale(picture, plain)).abs().max() < 1e-5
    fitted, expected = (upscale_to(picture, None, each, target).picture for each in (upscaler, plain))
    assert (fitted - expected).abs().max() < 1e-5


class Full(Nearest):
    """A device with room for pictures, which has none for one of them; ``error`` says so."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def room(self, wanted: int) -> tuple[torch.device, int]:
        return torch.device("cpu", 0), 1 << 40

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        if self.calls == 2:
            self.calls += 1
            raise self.error
        return super().__call__(picture)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_full_device_costs_only_the_picture_that_it_is_full_for(error: Exception):
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    upscaler, notes = Full(error), Noting()
    result = upscale(pictures, upscaler, TileSettings(size=64), notes)
    assert torch.equal(result, interpolate(pictures, scale_factor=4))
    assert upscaler.calls == 5, "each picture once, and the third once more"
    assert len(notes.notes) == 1
    assert "no room on cpu:0" in notes.notes[0]


def test_another_error_of_a_device_is_not_taken_for_a_full_one():
    upscaler, notes = Full(RuntimeError("CUDA error: an illegal memory access was encountered")), Noting()
    with pytest.raises(RuntimeError, match="illegal memory access"):
        upscale(torch.rand(4, 3, 64, 64), upscaler, TileSettings(size=64), notes)
    assert not notes.notes


def test_several_passes_are_one_progress_that_ends_where_it_was_announced() -> None:
    class Count(Progress):
        def __init__(self) -> None:
            self.begun: list[tuple[int, str]] = []
            self.done: list[int] = [0]

        def begin(self, total: int, what: str = "") -> None:
            self.begun.append((total, what))

        def advance(self, steps: int = 1) -> None:
            assert steps > 0
            self.done.append(self.done[-1] + steps)

    count, picture = Count(), torch.rand(1, 3, 20, 24)
    target = Target(fit=Fit.FACTOR, factor=5.0)
    result = upscale_to(picture, None, Nearest(scale=2), target, TileSettings(size=32), progress=count)
    assert result.passes == 3
    ((total, what),) = count.begun
    assert what == "3 passes of the model"
    assert abs(count.done[-1] - total) <= 3, "every pass is rounded once"
    # Passes over 20x24, 40x48 and what is reduced to 50x60 give the model 480, 1920 and 3000 pixels.
    assert any(abs(done / total - 480 / 5400) < 0.002 for done in count.done)
    assert any(abs(done / total - 2400 / 5400) < 0.002 for done in count.done)


class Tinting(Blurred):
    """Enlarges faithfully but for a colour that moves: everything a little lighter, most in the blue."""

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        tint = torch.tensor([7, 8, 10])[None, :, None, None] / 255
        return (interpolate(picture, scale_factor=self.spec.scale) + tint).clamp(0, 1)


def painted(width: int, height: int) -> torch.Tensor:
    """Three areas of one colour each, and one of texture."""
    picture = torch.tensor([0.95, 0.94, 0.93])[None, :, None, None].repeat(1, 1, height, width)
    picture[..., : height // 2, : width // 2] = torch.tensor([0.2, 0.35, 0.5])[:, None, None]
    picture[..., height // 2 :, width // 2 :] = 0.5 + 0.3 * (
        noise(height, width)[..., height // 2 :, width // 2 :] - 0.5
    )
    return picture


@pytest.mark.parametrize("edge", [Edge.PLAIN, Edge.REPLICATE, Edge.WRAP_HORIZONTAL, Edge.WRAP_BOTH])
@pytest.mark.parametrize("size", [(96, 80), (33, 47)], ids=str)
def test_colours_are_those_of_the_source_at_every_edge(edge: Edge, size: tuple[int, int]):
    picture, model = painted(*size), Tinting(2, halo=Halo(pixels=3, exact=True))
    change = ColourChange()
    result = upscale(picture, model, TileSettings(edge=edge, keep_colours=True), change=change)
    assert (result - interpolate(picture, scale_factor=2)).abs().max() < 0.8 / 255
    assert change.largest == pytest.approx(10, abs=0.5)
    own = upscale(picture, model, TileSettings(edge=edge, keep_colours=False))
    assert torch.equal(own, model(picture))


def test_colours_hold_over_several_passes_with_any_tile_and_alpha():
    picture, model = painted(64, 48), Tinting(2, halo=Halo(pixels=3, exact=True))
    alpha, target = torch.ones(1, 1, 48, 64), Target(fit=Fit.FACTOR, factor=7.0)
    settings = [TileSettings(size=size, keep_colours=True) for size in (0, 32, 40)]
    results = [upscale_to(picture, alpha, model, target, tiles).picture for tiles in settings]
    plain = upscale_to(picture, alpha, None, target).picture
    flat = (slice(None), slice(None), slice(20, 140), slice(20, 190))
    assert (results[0] - plain)[flat].abs().max() < 1.5 / 255
    assert all(torch.equal(results[0], each) for each in results[1:])


def test_a_model_of_scale_one_may_change_colours():
    picture, model = painted(64, 48), Tinting(1, halo=Halo(pixels=3, exact=True))
    assert torch.equal(upscale(picture, model), model(picture))
