"""Strips of a picture, each in a thread of its own, are the whole picture."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import pytest
import torch
from backplate.core.engines.fuse import fuse_for_export
from backplate.core.engines.ncnn import engine as ncnn_engine
from backplate.core.engines.ncnn import strips as ncnn_strips
from backplate.core.engines.ncnn.engine import NcnnSettings, _load_contents, _matrix
from backplate.core.engines.ncnn.rows import NcnnRows, NotStreamable, RowGraph
from backplate.core.engines.ncnn.strips import MOST_CONTEXT, NcnnStrips
from backplate.core.engines.registry import EngineRequest
from backplate.core.errors import OutOfMemory
from backplate.core.image.fit import Fit, Target
from backplate.core.image.resize import RowResampler
from backplate.core.progress import Cancelled
from backplate.core.tiled.pipeline import upscale_to
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
        return NcnnRows(graph, partial(_load_contents, settings=settings), _matrix)

    return NcnnStrips(graph, make, threads, block=6)


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
@pytest.mark.parametrize("values", [ncnn_strips.PORTION_VALUES, 2000])
def test_strips_of_real_architectures_give_the_whole_picture(
    build: Callable[[str], LoadedModel], name: str, values: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ncnn_strips, "PORTION_VALUES", values)
    network = fuse_for_export(build(name).descriptor.model)
    graph, strips = RowGraph(network), strips_of(network, 2)
    picture = noise(graph.least_rows + 20, 24 * graph.columns)
    assert len(strips._strips(picture.shape[2])) > 1
    portions = [picture[:, : graph.least_rows], *picture[:, graph.least_rows :].split(6, 1)]
    found = torch.cat(list(strips.run(iter(portions))), 1)
    assert (found - network(picture[None])[0]).abs().max() < 2e-5


@pytest.mark.parametrize("values", [ncnn_strips.PORTION_VALUES, 3000])
def test_strips_share_the_threads_and_read_little_twice(values: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ncnn_strips, "PORTION_VALUES", values)
    strips = strips_of(wide(), 6)
    counts: set[int] = set()
    for width in range(1, 1600, 7):
        cut = strips._strips(width)
        counts.add(len(cut))
        assert len(cut) == 1 or len(cut) % 6 == 0
        assert (cut[0].left, cut[0].start, cut[-1].stop, cut[-1].right) == (0, 0, width, width)
        assert all(one.stop == other.start for one, other in pairwise(cut))
        assert sum(strip.right - strip.left for strip in cut) <= width * (1 + MOST_CONTEXT)
        assert strips.height(width) % 6 == 0
    assert counts >= {1, 6}
    assert (max(counts) > 6) == (values == 3000)


@pytest.mark.parametrize(
    ("version", "strips"), [("1.0.20260526", 1), ("1.0.20261020", 2), ("1.1", 2), ("1.0.20270101.post1", 2), ("?", 1)]
)
def test_one_strip_where_ncnn_locks_the_interpreter(
    build: Callable[[str], LoadedModel], version: str, strips: int, monkeypatch: pytest.MonkeyPatch
):
    import ncnn

    monkeypatch.setattr(ncnn, "__version__", version)
    upscaler = ncnn_engine.open_model(EngineRequest(model=build("compact"), device=torch.device("cpu")))
    assert isinstance(upscaler, ncnn_engine.NcnnUpscaler)
    assert upscaler._rows is not None
    monkeypatch.setattr(upscaler._rows, "_threads", 2)
    assert len(upscaler._rows._strips(400)) == strips


def test_networks_are_made_once_for_each_number_of_threads():
    made: list[int] = []
    strips = strips_of(wide(), 2, made)
    for width in (400, 10, 400, 10):
        list(strips.run(iter(noise(40, width).split(20, 1))))
    assert made == [1, 2]  # two strips, then one


@pytest.fixture
def torch_threads() -> Iterator[int]:
    """Another number than 1, on any machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(threads)


def test_threads_end_with_the_picture_and_with_its_failure(torch_threads: int):
    strips, before = strips_of(wide(), 2), threading.active_count()

    def left() -> tuple[int, int]:
        return threading.active_count() - before, torch.get_num_threads()

    running = strips.run(iter(noise(40, 400).split(7, 1)))
    next(running)
    assert left() == (2, 1)
    running.close()
    assert left() == (0, torch_threads)
    list(strips.run(iter(noise(40, 400).split(7, 1))))
    assert left() == (0, torch_threads)

    def cancelled() -> Iterator[torch.Tensor]:
        yield from noise(40, 400).split(7, 1)
        raise Cancelled

    with pytest.raises(Cancelled):
        list(strips.run(cancelled()))
    assert left() == (0, torch_threads)


def test_threads_end_when_finished_rows_cannot_be_taken(
    build: Callable[[str], LoadedModel], torch_threads: int, monkeypatch: pytest.MonkeyPatch
):
    """While the error is held: its traceback holds the streams."""

    def fail(*_: object) -> None:
        raise RuntimeError("no room for the result")

    monkeypatch.setattr(ncnn_engine, "STREAM_FROM", 1)
    monkeypatch.setattr(ncnn_strips, "PORTION_VALUES", 2000)
    upscaler = ncnn_engine.open_model(EngineRequest(model=build("compact"), device=torch.device("cpu")))
    monkeypatch.setattr(RowResampler, "push", fail)
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="no room") as held:
        upscale_to(noise(64, 200)[None], None, upscaler, Target(width=300, height=300, fit=Fit.COVER))
    assert held.value.__traceback__ is not None
    assert (threading.active_count(), torch.get_num_threads()) == (before, torch_threads)


def test_what_fails_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OutOfMemory("no room")

    monkeypatch.setattr("backplate.core.engines.ncnn.rows._extract", fail)
    with pytest.raises(OutOfMemory, match="no room"):
        list(strips_of(wide(), 2).run(iter(noise(40, 400).split(7, 1))))


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(NotStreamable, match="columns"):
        strips_of(nn.Sequential(nn.Conv2d(3, 3, (3, 3), padding=(1, 0))).requires_grad_(False), 2)


HELD_AT_THE_END = """
import torch
from backplate.core.engines.ncnn.engine import NcnnSettings, _load_contents, _matrix
from backplate.core.engines.ncnn.rows import NcnnRows, Place, RowGraph

network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3, padding=1)).requires_grad_(False)
rows = NcnnRows(RowGraph(network), lambda *files: _load_contents(*files, settings=NcnnSettings(threads=1)), _matrix)
run = rows.start()
run.step(torch.rand(3, 12, 12), Place.FIRST)
run.itself = run
"""


def test_a_process_may_end_while_rows_are_on_their_way():
    done = subprocess.run([sys.executable, "-c", HELD_AT_THE_END], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "too early" not in done.stderr
