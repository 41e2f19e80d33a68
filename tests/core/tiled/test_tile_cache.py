"""Results that are used again are those of computing everything, whichever way each picture goes."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
import torch
from backplate.core.errors import OutOfMemory
from backplate.core.image.fit import Fit, Target
from backplate.core.image.frame_difference import FrameReuse
from backplate.core.image.tiling import Edge
from backplate.core.tiled import tile_cache as reuse_module
from backplate.core.tiled.pipeline import TileSettings, upscale_to
from backplate.core.tiled.tile_cache import Reuse
from backplate.core.types import SizeRule
from backplate.core.upscaler import Halo, UpscalerSpec
from torch.nn.functional import avg_pool2d, interpolate, pad

HALO = 3


class Tiled:
    """Looks 3 pixels around each pixel and enlarges twice, in tiles of about 24x24; remembers what it was given."""

    def __init__(self, at_once: int = 1, most: int = 10**9, budget: int = 38 * 38) -> None:
        self.spec = UpscalerSpec(
            name="blurred",
            scale=2,
            input_channels=3,
            output_channels=3,
            size_rule=SizeRule(),
            halo=Halo(pixels=HALO, exact=True),
            max_tile_pixels=budget,
            batch_size=at_once,
        )
        self.most = most
        self.tiles = self.pixels = self.streamed = 0

    def compute(self, picture: torch.Tensor) -> torch.Tensor:
        return interpolate(avg_pool2d(pad(picture, (HALO,) * 4), 2 * HALO + 1, stride=1), scale_factor=2)

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        if picture.shape[0] * picture.shape[2] * picture.shape[3] > self.most:
            raise OutOfMemory("forced")
        self.tiles += len(picture)
        self.pixels += picture[:, 0].numel()
        return self.compute(picture)


class Streaming(Tiled):
    """The same by rows. ``breaks`` makes it run out of memory after that many portions."""

    breaks = 10**9

    def stream_height(self, width: int) -> int:
        return 16

    def stream(self, chunks: Iterator[torch.Tensor], count: int) -> Generator[torch.Tensor]:
        self.streamed += 1
        # Rounded otherwise than in tiles, as real models are.
        whole = self.compute(torch.cat(list(chunks), dim=2).double()).float()
        for number, portion in enumerate(whole.split(17, dim=2)):
            if number == self.breaks:
                raise OutOfMemory("forced")
            yield portion


TARGET = Target(fit=Fit.STRETCH, width=150, height=110)
SIZE = (96, 120)


def noise(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def sequence(seed: int) -> list[torch.Tensor]:
    """Held pictures, small and large changes, and cuts, in a drawn order."""
    generator = torch.Generator().manual_seed(seed)
    pictures = [noise(seed)]
    for _ in range(10):
        following = pictures[-1].clone()
        kind, left, top = (int(each) for each in torch.randint(0, 90, (3,), generator=generator))
        side = (0, 5, 60, 200)[kind % 4]
        patch = following[..., top : top + side, left : left + side]
        patch[:] = torch.rand(patch.shape, generator=generator)
        pictures.append(following)
    return pictures


@pytest.mark.parametrize("model", [Tiled, Streaming])
@pytest.mark.parametrize("edge", Edge)
@pytest.mark.parametrize(
    "target",
    [TARGET, Target(fit=Fit.COVER, width=200, height=60), Target(fit=Fit.PAD, width=300, height=400)],
    ids=["stretched", "cropped", "two passes, padded"],
)
def test_every_picture_is_that_of_computing_everything(model: type[Tiled], edge: Edge, target: Target):
    settings, reuse, with_reuse, without = TileSettings(edge=edge), Reuse(FrameReuse()), model(), model()
    for picture in sequence(1):
        again = upscale_to(picture, None, with_reuse, target, settings, reuse=reuse).picture
        wanted = upscale_to(picture, None, without, target, settings).picture
        assert (again - wanted).abs().max() <= (0 if model is Tiled else 1e-5)
    assert with_reuse.tiles == reuse.counts.tiles_run
    assert with_reuse.streamed == reuse.counts.streamed
    if model is Tiled:
        assert reuse.counts.tiles_run + reuse.counts.tiles_reused == without.tiles
        assert reuse.counts.tiles_reused > without.tiles / 5
    else:
        assert 0 < reuse.counts.streamed < without.streamed
        assert with_reuse.tiles > 0


def test_pictures_that_differ_everywhere_are_streamed_each():
    model, reuse = Streaming(), Reuse(FrameReuse())
    for seed in range(5):
        upscale_to(noise(seed), None, model, TARGET, reuse=reuse)
    assert (model.streamed, model.tiles) == (5, 0)
    assert (reuse.counts.streamed, reuse.counts.tiles_run, reuse.counts.tiles_reused) == (5, 0, 0)


def test_after_a_streamed_picture_only_the_tiles_that_see_a_change_are_computed():
    model, reuse, picture = Streaming(), Reuse(FrameReuse()), noise()
    own = TileSettings(keep_colours=False)
    first = upscale_to(picture, None, model, TARGET, own, reuse=reuse).picture
    changed = picture.clone()
    changed[..., 5, 7] += 0.01
    second = upscale_to(changed, None, model, TARGET, own, reuse=reuse).picture
    assert (model.streamed, model.tiles) == (1, 1)
    count = reuse.counts
    assert (count.streamed, count.tiles_run) == (1, 1)
    assert count.tiles_reused > 5
    # The change, what the model makes of it, and three coarse pixels of the resampling.
    assert torch.equal(first[..., 40:, :], second[..., 40:, :])
    assert not torch.equal(first, second)


def test_a_change_is_looked_for_in_tiles_smaller_than_the_device_could_take():
    model, reuse, picture = Streaming(budget=200 * 200), Reuse(FrameReuse()), torch.rand(1, 3, 400, 300)
    target = Target(fit=Fit.STRETCH, width=450, height=500)
    upscale_to(picture, None, model, target, reuse=reuse)
    changed = picture.clone()
    changed[..., 210:214, 110:114] = 0
    again = upscale_to(changed, None, model, target, reuse=reuse).picture
    assert (model.streamed, model.tiles) == (1, 1)
    assert model.pixels <= (64 + 2 * HALO) ** 2
    assert (again - upscale_to(changed, None, Tiled(), target).picture).abs().max() < 1e-5


def test_a_picture_that_changes_in_most_tiles_is_streamed_again():
    model, reuse, picture = Streaming(), Reuse(FrameReuse()), noise()
    upscale_to(picture, None, model, TARGET, reuse=reuse)
    changed = noise(1)
    changed[..., :30, :30] = picture[..., :30, :30]
    upscale_to(changed, None, model, TARGET, reuse=reuse)
    assert (model.streamed, model.tiles) == (2, 0)


def test_a_wished_tile_size_is_kept_to():
    model, reuse = Streaming(), Reuse(FrameReuse())
    for seed in (0, 1):
        upscale_to(noise(seed), None, model, TARGET, TileSettings(size=32), reuse=reuse)
    assert (model.streamed, reuse.counts.tiles_run) == (0, 2 * 3 * 4)


@pytest.mark.parametrize("at_once", [1, 4])
def test_tiles_that_share_a_forward_are_reused_one_by_one(at_once: int):
    model, reuse, picture = Tiled(at_once), Reuse(FrameReuse()), noise()
    settings = TileSettings(size=32)
    upscale_to(picture, None, model, TARGET, settings, reuse=reuse)
    changed = picture.clone()
    changed[..., 40:44, 50:54] = 0
    again = upscale_to(changed, None, model, TARGET, settings, reuse=reuse).picture
    assert model.tiles == 12 + 1
    assert (again - upscale_to(changed, None, Tiled(), TARGET, settings).picture).abs().max() < 1e-6


def test_tiles_that_had_to_be_halved_are_reused_whole():
    model, reuse, picture = Tiled(most=800), Reuse(FrameReuse()), noise()
    first = upscale_to(picture, None, model, TARGET, TileSettings(size=32), reuse=reuse).picture
    run = model.tiles
    again = upscale_to(picture, None, model, TARGET, TileSettings(size=32), reuse=reuse).picture
    assert model.tiles == run > 12
    assert torch.equal(first, again)


def test_a_stream_that_breaks_off_leaves_nothing_wrong_behind():
    model, reuse, picture, other = Streaming(), Reuse(FrameReuse()), noise(), noise(1)
    upscale_to(picture, None, model, TARGET, reuse=reuse)
    model.breaks = 4
    broken = upscale_to(other, None, model, TARGET, reuse=reuse).picture
    model.breaks = 10**9
    for each, found in ((other, broken), (picture, upscale_to(picture, None, model, TARGET, reuse=reuse).picture)):
        wanted = upscale_to(each, None, Streaming(), TARGET).picture
        assert (found - wanted).abs().max() < 1e-5


def test_small_changes_do_not_add_up():
    """Each picture is within the noise of the one before; a tile is held only while it is within that of its own."""
    reuse, model, picture = Reuse(FrameReuse(threshold=2.0)), Tiled(), noise() * 0.5
    whole = TileSettings(size=200, keep_colours=False)
    for _ in range(7):
        result = upscale_to(picture, None, model, TARGET, whole, reuse=reuse).picture
        exact = upscale_to(picture, None, Tiled(), TARGET, whole).picture
        assert (result - exact).abs().max() < 2.1 / 255
        picture = picture + 0.9 / 255
    assert model.tiles == 3  # 0, 2.7 and 5.4 levels


def test_nothing_is_kept_over_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reuse_module, "MEMORY_LIMIT", 1000)
    model, reuse = Streaming(), Reuse(FrameReuse())
    results = [upscale_to(noise(), None, model, TARGET, reuse=reuse).picture for _ in range(2)]
    assert model.streamed == 2
    assert torch.equal(*results)


def test_what_is_forgotten_or_not_wanted_is_computed():
    model, reuse = Tiled(), Reuse(FrameReuse(reuse=False))
    for _ in range(2):
        upscale_to(noise(), None, model, TARGET, TileSettings(size=32), reuse=reuse)
    assert (model.tiles, reuse.counts.tiles_reused) == (24, 0)
    reuse = Reuse(FrameReuse())
    for _ in range(2):
        upscale_to(noise(), None, model, TARGET, TileSettings(size=32), reuse=reuse)
        reuse.forget()
    assert (model.tiles, reuse.counts.tiles_reused) == (48, 0)
