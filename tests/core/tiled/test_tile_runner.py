"""Several tiles in one forward and results on their way change nothing but the time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from backplate.core.errors import OutOfMemory
from backplate.core.image.tiling import Edge
from backplate.core.progress import Cancelled, Progress
from backplate.core.tiled.pipeline import TileSettings, upscale
from backplate.core.types import SizeRule
from backplate.core.upscaler import Halo, LazyHalo, UpscalerSpec
from torch.nn.functional import avg_pool2d, interpolate, pad


class Blurred:
    """Looks 3 pixels around each pixel and enlarges twice; remembers the shape of each call."""

    overlaps = False

    def __init__(self, at_once: int, most: int = 10**9) -> None:
        self.spec = UpscalerSpec(
            name="blurred",
            scale=2,
            input_channels=3,
            output_channels=3,
            size_rule=SizeRule(multiple_of=2),
            halo=Halo(pixels=4, exact=True),
            batch_size=at_once,
        )
        self.most = most
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(picture.shape))
        if picture.shape[0] * picture.shape[2] * picture.shape[3] > self.most:
            raise OutOfMemory("forced")
        return interpolate(avg_pool2d(pad(picture, (3, 3, 3, 3)), 7, stride=1), scale_factor=2)


class Overlapping(Blurred):
    """Gives results later; counts how many are on their way. Fails at submission or at collection."""

    overlaps = True

    def __init__(self, at_once: int, most: int = 10**9, fails_late: bool = False) -> None:
        super().__init__(at_once, most)
        self.fails_late = fails_late
        self.waiting = self.most_waiting = 0

    def submit(self, picture: torch.Tensor) -> Callable[[], torch.Tensor]:
        if not self.fails_late:
            self.waiting += 1
            result = self._now(picture)
        self.most_waiting = max(self.most_waiting, self.waiting)

        def collect() -> torch.Tensor:
            if self.fails_late:
                return self(picture)
            self.waiting -= 1
            return result

        return collect

    def _now(self, picture: torch.Tensor) -> torch.Tensor:
        try:
            return self(picture)
        except OutOfMemory:
            self.waiting -= 1
            raise


def noise(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(2))


def expected(picture: torch.Tensor, tile: int) -> torch.Tensor:
    return upscale(picture, Blurred(1), TileSettings(size=tile))


@pytest.mark.parametrize("size", [(96, 200), (33, 65), (130, 96), (8, 8)], ids=str)
@pytest.mark.parametrize("at_once", [2, 3, 8])
@pytest.mark.parametrize("kind", [Blurred, Overlapping])
def test_grouped_tiles_equal_single_ones(size: tuple[int, int], at_once: int, kind: type[Blurred]):
    picture = noise(*size)
    result = upscale(picture, kind(at_once), TileSettings(size=32))
    assert torch.equal(result, expected(picture, 32))


def test_tiles_of_one_size_share_a_forward():
    model = Blurred(4)
    upscale(noise(64, 32 * 6), model, TileSettings(size=32, edge=Edge.REPLICATE))
    assert [shape[0] for shape in model.shapes] == [4, 4, 4]


@pytest.mark.parametrize("most", [3_500, 2_000, 1_500])
@pytest.mark.parametrize("kind", [Blurred, Overlapping, lambda n, most: Overlapping(n, most, fails_late=True)])
def test_out_of_memory_of_a_group_changes_nothing(most: int, kind: Callable[[int, int], Blurred]):
    picture, notes = noise(100, 150), []
    progress = Progress()
    progress.note = notes.append  # type: ignore[method-assign]
    result = upscale(picture, kind(8, most), TileSettings(size=32), progress)
    assert torch.equal(result, expected(picture, 32))
    assert sum("one by one" in note for note in notes) == 1


def test_out_of_memory_that_never_ends_is_an_error():
    with pytest.raises(OutOfMemory, match="even on a tile"):
        upscale(noise(64, 64), Overlapping(4, 10), TileSettings(size=32))


def test_the_next_tile_begins_while_a_result_is_on_its_way():
    model = Overlapping(1)
    upscale(noise(64, 128), model, TileSettings(size=32))
    assert model.most_waiting == 2
    assert model.waiting == 0


def test_flat_tiles_are_seen_once_also_within_a_group():
    picture = torch.full((1, 3, 96, 320), 0.5)
    picture[:, :, :32, :32] = noise(32, 32)
    model = Blurred(4)
    assert torch.equal(upscale(picture, model, TileSettings(size=32)), expected(picture, 32))
    single = Blurred(1)
    upscale(picture, single, TileSettings(size=32))
    assert sum(shape[0] for shape in model.shapes) <= len(single.shapes)


def test_cancelling_between_groups():
    class Impatient(Progress):
        checks = 0

        def check(self) -> None:
            self.checks += 1
            if self.checks == 2:
                raise Cancelled

    model = Overlapping(2)
    with pytest.raises(Cancelled):
        upscale(noise(64, 32 * 8), model, TileSettings(size=32), Impatient())
    assert len(model.shapes) == 1


class Unmeasured(Blurred):
    """Its halo is found when somebody asks for it."""

    def __init__(self, most: int = 10**9, **rule: int | bool) -> None:
        super().__init__(1, most)
        self.asked: list[Progress] = []
        self.spec = replace(
            self.spec, halo=LazyHalo(2, self._find), max_tile_pixels=40 * 40, size_rule=SizeRule(**rule)
        )  # type: ignore[arg-type]

    def _find(self, progress: Progress) -> int:
        self.asked.append(progress)
        return 16


@pytest.mark.parametrize("rule", [{"multiple_of": 2}, {"multiple_of": 4, "minimum": 36}, {"square": True}])
@pytest.mark.parametrize("size", [(30, 40), (17, 23), (40, 40)])
@pytest.mark.parametrize("tile", [0, 64])
def test_a_picture_that_is_one_tile_needs_no_halo(
    size: tuple[int, int], rule: dict[str, int | bool], tile: int
) -> None:
    picture, model, known = torch.rand(1, 3, *size), Unmeasured(**rule), Unmeasured(**rule)
    assert known.spec.halo.pixels == 16
    results = [upscale(picture, each, TileSettings(size=tile)) for each in (model, known)]
    assert torch.equal(*results)
    assert model.shapes == known.shapes
    assert not model.asked


@pytest.mark.parametrize(
    ("size", "settings"),
    [((50, 40), TileSettings()), ((30, 30), TileSettings(edge=Edge.WRAP_BOTH)), ((40, 40), TileSettings(size=32))],
)
def test_the_halo_is_found_before_it_is_needed_and_with_the_progress_of_the_job(
    size: tuple[int, int], settings: TileSettings
) -> None:
    picture, model, known, progress = torch.rand(1, 3, *size), Unmeasured(), Unmeasured(), Progress()
    assert known.spec.halo.pixels == 16
    result = upscale(picture, model, settings, progress)
    assert torch.equal(result, upscale(picture, known, settings))
    assert len(model.asked) == 1
    if len(model.shapes) > 1:
        assert model.asked == [progress]


def test_a_picture_whose_one_tile_does_not_fit_in_memory_is_halved_with_its_halo() -> None:
    picture, model = torch.rand(1, 3, 40, 40), Unmeasured(most=36 * 36)
    assert torch.equal(upscale(picture, model), upscale(picture, Unmeasured()))
    assert len(model.asked) == 1
