"""Strips of a picture, each in a thread of its own, are the whole picture."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from backplate.core.backends.ncnn_engine import NcnnSettings, _load_contents, _matrix
from backplate.core.backends.ncnn_rows import NcnnRows, NotStreamable, RowGraph
from backplate.core.backends.ncnn_strips import MOST_CONTEXT, NcnnStrips
from backplate.core.backends.portable import portable
from backplate.core.progress import Cancelled
from backplate.core.upscaler import OutOfMemory
from backplate.model_loader.loaded import LoadedModel
from torch import nn

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ncnn") is None, reason="ncnn is not installed")


class Wide(nn.Module):
    """Reads three times as far to the sides as up and down, some of it after a magnification."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = nn.Conv2d(3, 12, (1, 5), padding=(0, 4), dilation=(1, 2))
        self.around = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = nn.functional.pixel_shuffle(self.sides(x), 2)
        return self.around(large) + nn.functional.interpolate(x, scale_factor=2)


def noise(height: int, width: int) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(6))


def strips_of(network: nn.Module, threads: int, made: list[int] | None = None) -> NcnnStrips:
    graph = RowGraph(network)

    def make(count: int) -> NcnnRows:
        if made is not None:
            made.append(count)
        settings = NcnnSettings(threads=count)
        return NcnnRows(graph, lambda *files: _load_contents(*files, settings=settings), _matrix)

    return NcnnStrips(graph, make, threads)


def wide() -> nn.Module:
    torch.manual_seed(3)
    return Wide().eval().requires_grad_(False)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [1, 9, 50, 97, 400])
def test_any_number_of_strips_gives_the_whole_picture(threads: int, width: int):
    network, picture = wide(), noise(40, width)
    found = torch.cat(list(strips_of(network, threads).run(iter(picture.split(7, 1)))), 1)
    assert found.shape == (3, 80, 2 * width)
    assert (found - network(picture[None])[0]).abs().max() < 2e-5


@pytest.mark.parametrize("name", ["compact", "rrdbnet", "span"])
def test_strips_of_real_architectures_give_the_whole_picture(build: Callable[[str], LoadedModel], name: str):
    network = portable(build(name).descriptor.model)
    strips = strips_of(network, 2)
    width = 12 * (strips.width(10_000) - 5_000)
    picture = noise(strips.least_rows + 20, width)
    portions = [picture[:, : strips.least_rows], *picture[:, strips.least_rows :].split(6, 1)]
    assert strips.width(width) < width
    found = torch.cat(list(strips.run(iter(portions))), 1)
    assert (found - network(picture[None])[0]).abs().max() < 2e-5


def test_strips_share_the_threads_and_read_little_twice():
    strips = strips_of(wide(), 6)
    context = strips.width(10_000) - 10_000 / 6
    for width in range(1, 1200, 7):
        cut = strips._strips(width)
        assert 6 % len(cut) == 0
        assert (cut[0].left, cut[0].start, cut[-1].stop, cut[-1].right) == (0, 0, width, width)
        assert all(one.stop == other.start for one, other in pairwise(cut))
        assert sum(strip.right - strip.left for strip in cut) <= width * (1 + MOST_CONTEXT)
        assert strips.width(width) <= width / len(cut) + context + 1
    assert len(strips._strips(1200)) == 6


def test_networks_are_made_once_for_each_number_of_threads():
    made: list[int] = []
    strips = strips_of(wide(), 2, made)
    for width in (400, 10, 400, 10):
        list(strips.run(iter(noise(40, width).split(20, 1))))
    assert made == [1, 2]  # two strips, then one


def test_threads_end_with_the_picture_and_with_its_failure():
    before = threading.active_count()
    strips = strips_of(wide(), 2)
    list(strips.run(iter(noise(40, 400).split(7, 1))))
    assert threading.active_count() == before

    def cancelled() -> Iterator[torch.Tensor]:
        yield from noise(40, 400).split(7, 1)
        raise Cancelled

    with pytest.raises(Cancelled):
        list(strips.run(cancelled()))
    assert threading.active_count() == before
    left = strips.run(iter(noise(40, 400).split(7, 1)))
    next(left)
    left.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_what_fails_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OutOfMemory("no room")

    monkeypatch.setattr("backplate.core.backends.ncnn_rows._extract", fail)
    with pytest.raises(OutOfMemory, match="no room"):
        list(strips_of(wide(), 2).run(iter(noise(40, 400).split(7, 1))))


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(NotStreamable, match="columns"):
        strips_of(nn.Sequential(nn.Conv2d(3, 3, (3, 3), padding=(1, 0))).requires_grad_(False), 2)
