"""How much context a model needs: known answers, and what is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from backplate.core.engines.halo import VISIBLE, find_sight, receptive_radius
from backplate.core.engines.influence import influence_of_cut
from backplate.core.progress import Cancelled, Progress
from backplate.core.types import Size, SizeRule, size_of
from backplate.core.upscaler import Halo
from backplate.model_loader.loaded import LoadedModel, load_model
from torch import nn


def chain(*kernels: int, dilation: int = 1) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        *(nn.Conv2d(3, 3, k, padding=(k - 1) // 2 * dilation, dilation=dilation) for k in kernels)
    ).requires_grad_(False)


@pytest.mark.parametrize(
    ("model", "radius"),
    [
        (chain(3), 1),
        (chain(3, 3, 5), 4),
        (chain(3, 7, dilation=2), 8),
        (nn.Sequential(chain(3), nn.PReLU(), nn.PixelShuffle(1)), 1),
        (nn.Sequential(chain(3), nn.AdaptiveAvgPool2d(1)), None),
        (nn.Sequential(nn.Conv2d(3, 3, 3, stride=2)), None),
        (nn.Sequential(chain(3), nn.InstanceNorm2d(3)), None),
        (nn.Sequential(nn.Linear(4, 4)), None),
    ],
)
def test_receptive_radius(model: nn.Module, radius: int | None):
    assert receptive_radius(model) == radius


def test_influence_ends_with_the_receptive_field():
    model = chain(3, 5)
    influence = influence_of_cut(model, 16, scale=1, channels=3, size_rule=SizeRule())
    assert influence[2] > 1e-5
    assert influence[3:].max() < 1e-6
    assert torch.equal(influence, influence.cummin(0).values)


@pytest.mark.parametrize(("name", "radius"), [("realesr-general-x4v3", 34), ("realesr-animevideov3", 18)])
def test_halo_of_the_real_models(real_weights: Callable[[str], Path], name: str, radius: int):
    model = load_model(real_weights(name))
    halo = find_sight(
        model.descriptor.model, model.descriptor, scale=4, channels=3, size_rule=SizeRule(), key=model.facts.sha256
    ).halo
    assert halo.exact
    assert halo.pixels == radius


class Everywhere(nn.Module):
    """Looks at the whole picture, though all its parts are local."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.layer(picture) * picture.mean()


def test_a_bound_that_the_trial_contradicts_is_not_believed():
    model = Everywhere().requires_grad_(False)
    assert receptive_radius(model) == 1
    assert not find_sight(model, model, scale=1, channels=3, size_rule=SizeRule(), key="everywhere").halo.exact


def test_a_wide_field_is_cut_where_it_turns_invisible_and_measured_once():
    model = chain(*[3] * 80)
    for layer in model:
        layer.weight.mul_(0.01)
        layer.weight[:, :, 1, 1] += torch.eye(3)
    calls: list[int] = []

    def run(picture: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return model(picture)

    halo = find_sight(model, run, scale=1, channels=3, size_rule=SizeRule(), key="wide").halo
    influence = influence_of_cut(model, 64, scale=1, channels=3, size_rule=SizeRule())
    assert not halo.exact
    assert 0 < halo.pixels < 80
    assert influence[halo.pixels] < VISIBLE
    measured = len(calls)
    assert find_sight(model, run, scale=1, channels=3, size_rule=SizeRule(), key="wide").halo == halo
    assert len(calls) == measured


def test_a_cache_folder_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: Callable[[str], LoadedModel]
):
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    model = chain(*[3] * 70)
    assert not find_sight(model, model, scale=1, channels=3, size_rule=SizeRule(), key="x").halo.exact


def test_the_halo_of_a_wide_network_is_measured_when_it_is_needed(build: Callable[[str], LoadedModel]) -> None:
    model = build("rrdbnet wide")
    runs: list[Size] = []

    def run(picture: torch.Tensor) -> torch.Tensor:
        runs.append(size_of(picture))
        return model.descriptor(picture)

    def sight(lazily: bool) -> Halo:
        return find_sight(model.descriptor.model, run, scale=4, channels=3, size_rule=SizeRule(), key=str(lazily),
                          lazily=lazily).halo  # fmt: skip

    known, lazy = sight(lazily=False), sight(lazily=True)
    before = len(runs)
    assert (lazy.exact, lazy.grid, lazy.unbounded) == (known.exact, known.grid, known.unbounded) == (False, 1, False)
    assert len(runs) == before
    assert lazy.pixels == known.pixels > 0
    measured = len(runs)
    assert measured > before
    assert lazy.overlap == known.overlap
    assert sight(lazily=True).pixels == known.pixels
    assert len(runs) == measured, "what is known costs nothing"


def test_measuring_can_be_stopped_and_made_again(build: Callable[[str], LoadedModel]) -> None:
    model = build("rrdbnet wide")
    halo = find_sight(model.descriptor.model, model.descriptor, scale=4, channels=3, size_rule=SizeRule(), key="stop",
                      lazily=True).halo  # fmt: skip

    class Stopping(Progress):
        def check(self) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        halo.measure(Stopping())
    assert halo.pixels > 0
