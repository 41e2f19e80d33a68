"""How a model looks at a picture: known cells and reaches, and tiles that equal the model on the whole picture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from backplate.core.engines.halo import Footprint, find_sight
from backplate.core.engines.influence import (
    find_grid,
    gathers_statistics,
    is_local,
    peak_bytes,
    runs_batches,
    sample_strip,
)
from backplate.core.engines.pytorch.eager import EagerUpscaler
from backplate.core.tiled.pipeline import TileSettings, upscale
from backplate.core.types import Size, SizeRule
from backplate.model_loader.loaded import LoadedModel
from recorder import Recorder
from torch import nn

CPU = torch.device("cpu")
HALF_A_LEVEL = 0.5 / 255

Load = Callable[[str], LoadedModel]


def texture(height: int, width: int) -> torch.Tensor:
    return sample_strip(height, width, 3)[1:]


def untiled(model: LoadedModel, picture: torch.Tensor) -> torch.Tensor:
    return model.descriptor(picture.clone())


class Cells(nn.Module):
    """Each cell of ``side`` pixels becomes its mean, as a window of attention mixes what lies in it."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        height, width = picture.shape[-2:]
        pad = (0, -width % self.side, 0, -height % self.side)
        means = nn.functional.avg_pool2d(nn.functional.pad(picture, pad, mode="replicate"), self.side)
        return nn.functional.interpolate(means, scale_factor=self.side)[..., :height, :width] + 0.1 * picture


@pytest.mark.parametrize("side", [1, 2, 6, 7, 8, 20, 32, 64])
def test_the_cell_is_found(side: int):
    assert find_grid(Cells(side), scale=1, channels=3, size_rule=SizeRule()) == side


@pytest.mark.parametrize(
    ("name", "cell"),
    [("SwinIR", 8), ("SwinIR window 7", 7), ("DAT light", 32), ("RCAN unshuffle", 2), ("SCUNet", 64), ("RCAN", 1)],
)
def test_the_cells_of_architectures(seeded: Load, name: str, cell: int):
    """Window and shift; the lesser common multiple of two windows; pixel-unshuffle; a U-Net; none."""
    model = seeded(name)
    rule = SizeRule(minimum=model.facts.minimum_size, multiple_of=model.facts.multiple_of)
    found = find_grid(lambda p: untiled(model, p), scale=model.facts.scale, channels=3, size_rule=rule)
    assert found == cell


@pytest.mark.parametrize("tile", [40, 64])
@pytest.mark.parametrize(
    "name", ["SwinIR", "SwinIR window 7", "DAT light", "FDAT unshuffle", "MoESR", "DRUNet", "SAFMN", "SeemoRe"]
)
def test_tiles_on_the_cells_equal_the_whole_picture(seeded: Load, name: str, tile: int):
    model, picture = seeded(name), texture(110, 90)
    upscaler = EagerUpscaler(model, CPU)
    result = upscale(picture, upscaler, TileSettings(size=tile))
    assert (result - untiled(model, picture)).abs().max() < HALF_A_LEVEL


@pytest.mark.parametrize("name", ["OmniSR", "HVI-CIDNet"])
def test_a_model_that_sees_everything_runs_whole_or_says_what_tiles_cost(seeded: Load, name: str):
    model, picture = seeded(name), texture(130, 110)
    upscaler = EagerUpscaler(model, CPU)
    assert upscaler.spec.halo.unbounded
    notes = Recorder()
    whole = upscale(picture, upscaler, progress=notes)
    assert (whole - untiled(model, picture)).abs().max() < 1e-4
    assert not notes.notes
    tiled = upscale(picture, upscaler, TileSettings(size=64), notes)
    assert (tiled - whole).abs().max() > HALF_A_LEVEL
    assert len(notes.notes) == 1
    assert "of 255 levels where they meet" in notes.notes[0]


def test_tiles_that_agree_are_not_worth_a_word(seeded: Load):
    notes = Recorder()
    upscale(texture(110, 90), EagerUpscaler(seeded("SwinIR"), CPU), TileSettings(size=40), notes)
    assert not notes.notes


@pytest.mark.parametrize("size", [(3, 50), (17, 17), (40, 19)], ids=str)
@pytest.mark.parametrize("name", ["SwinIR", "SAFMN BCIE"])
def test_pictures_below_and_beside_the_least_size(seeded: Load, name: str, size: tuple[int, int]):
    model, picture = seeded(name), texture(*size)
    result = upscale(picture, EagerUpscaler(model, CPU), TileSettings(size=32))
    assert (result - untiled(model, picture)).abs().max() < HALF_A_LEVEL


def test_a_model_may_write_into_its_input(seeded: Load):
    """RCAN multiplies in place."""
    model, picture = seeded("RCAN"), texture(40, 40)
    before = picture.clone()
    result = upscale(picture, EagerUpscaler(model, CPU))
    assert torch.equal(picture, before)
    assert (result - untiled(model, picture)).abs().max() < 1e-4


def test_whether_pictures_may_share_a_forward():
    def mixes(batch: torch.Tensor) -> torch.Tensor:
        return batch * batch.mean()

    def refuses(batch: torch.Tensor) -> torch.Tensor:
        return batch.reshape(3, *batch.shape[2:])[None]

    rule = SizeRule()
    assert runs_batches(lambda batch: batch * 0.5, channels=3, size_rule=rule)
    assert not runs_batches(mixes, channels=3, size_rule=rule)
    assert not runs_batches(refuses, channels=3, size_rule=rule)


def test_a_model_for_one_picture_at_a_time_gets_one(seeded: Load):
    upscaler = EagerUpscaler(seeded("SeemoRe"), CPU)
    assert not upscaler.spec.batches
    assert upscaler.spec.batch_size == 1
    pair = sample_strip(32, 32, 3)
    alone = torch.cat([upscaler(pair[:1]), upscaler(pair[1:])])
    assert torch.equal(upscaler(pair), alone)


def test_peak_memory_of_a_known_network():
    """Input, two planes of eight channels while the second layer runs; then the first is given back."""
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 3, 1)).requires_grad_(False)
    peak = peak_bytes(network, Size(64, 32), 3)
    assert peak == 64 * 32 * 4 * (8 + 8)


def test_pixels_that_fit():
    assert Footprint(linear=100.0).pixels(5000) == 50
    assert Footprint(linear=100.0, quadratic=1.0).pixels(100 * 40 + 40 * 40) == 40


def test_attention_over_the_whole_picture_counts_as_quadratic():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1), requires_grad=False)

        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            tokens = picture.flatten(2)
            weights = torch.softmax(tokens.mT @ tokens, dim=-1)
            return (tokens @ weights).reshape(picture.shape)

    model = Attention()
    sight = find_sight(model, model, scale=1, channels=3, size_rule=SizeRule(), key="attention")
    assert sight.halo.unbounded
    assert sight.footprint is not None
    assert sight.footprint.quadratic == pytest.approx(2 * 4, rel=0.05)


class Pooled(nn.Module):
    """Squeeze-and-excitation by one of the ways in which the mean of a channel is written."""

    def __init__(self, pool: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return picture * self.pool(picture).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("network", "gathers"),
    [
        (Pooled(nn.AdaptiveAvgPool2d(1)), True),
        (Pooled(nn.AdaptiveMaxPool2d(1)), True),
        (Pooled(lambda picture: picture.mean(dim=(2, 3))), True),
        (Pooled(lambda picture: picture.flatten(2).mean(-1)), False),  # seen by its influence only
        (Pooled(lambda picture: picture.amax((2, 3), keepdim=True)), True),
        (nn.GroupNorm(1, 3), True),
        (nn.InstanceNorm2d(3), True),
        (nn.BatchNorm2d(3).eval(), False),
        (nn.Conv2d(3, 3, 3, padding=1), False),
        (nn.AvgPool2d(4), False),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)), False),
    ],
)
def test_statistics_of_the_whole_picture_are_noticed(network: nn.Module, gathers: bool) -> None:
    with torch.inference_mode():
        assert gathers_statistics(network, channels=3, size_rule=SizeRule()) == gathers


def test_a_model_that_chooses_by_the_whole_picture_gets_it_whole(seeded: Load) -> None:
    """Its choice jumps, so that no trial of small changes shows it."""
    model, picture = seeded("SeemoRe"), texture(220, 300)
    upscaler = EagerUpscaler(model, CPU)
    assert upscaler.spec.halo.unbounded
    assert torch.equal(upscale(picture, upscaler), untiled(model, picture))


def test_a_network_without_cells_is_not_asked_for_each():
    """Whose result depends a little on where in the picture something lies, so that no shift leaves it the same."""
    calls: list[int] = []

    def run(picture: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return picture + 0.01 * torch.linspace(0, 1, picture.shape[3])

    assert find_grid(run, scale=1, channels=3, size_rule=SizeRule()) == 1
    assert len(calls) == 6, "still, by one pixel, and by the largest of each family of cells"


@pytest.mark.parametrize(("name", "local"), [("rrdbnet", True), ("compact", True), ("rrdbnet x2", False)])
def test_convolutions_and_operations_on_pixels_are_local(build: Callable[[str], LoadedModel], name: str, local: bool):
    assert is_local(build(name).descriptor, channels=3, size_rule=SizeRule(multiple_of=4)) == local


def test_what_asks_for_a_mean_of_the_picture_is_not_local():
    def run(picture: torch.Tensor) -> torch.Tensor:
        return picture * picture.mean()

    assert not is_local(run, channels=3, size_rule=SizeRule())
