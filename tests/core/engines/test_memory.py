"""Memory goes back to the system."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy
import pytest
import torch
from backplate.core.engines import memory
from backplate.core.engines.memory import release_cached


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed below what is in use")
def test_what_was_freed_below_something_in_use_is_given_back():
    blocks = [numpy.ones(12_000) for _ in range(2000)]  # 96 KB each, not mapped on their own
    last = blocks[-1]
    blocks.clear()
    before = resident()
    release_cached(torch.device("cpu"))
    assert before - resident() > 100 * 2**20
    assert float(last[0]) == 1


class Card:
    """Stands in for CUDA's memory beside a host that keeps a model there."""

    def __init__(self, free: int, kept_by_host: int) -> None:
        self.free, self.kept = free, kept_by_host
        self.asked: list[int] = []

    def free_memory(self, device: torch.device, needed: int) -> None:
        self.asked.append(needed)
        unloaded = min(self.kept, max(0, needed - self.free))
        self.free, self.kept = self.free + unloaded, self.kept - unloaded


@pytest.mark.parametrize(
    ("free", "kept", "wanted", "room"),
    [
        (8000, 4000, 1000, 2000),  # there is room: nothing is unloaded
        (2000, 6000, 1000, 1000),  # the host makes just as much
        (2000, 1000, 1000, 750),  # all that it has is not enough
    ],
)
def test_what_the_host_could_unload_counts_as_room(
    monkeypatch: pytest.MonkeyPatch, free: int, kept: int, wanted: int, room: int
) -> None:
    card = Card(free, kept)
    monkeypatch.setattr(memory, "_free_on_cuda", lambda _device: card.free)
    monkeypatch.setattr(memory._Host, "free_memory", card.free_memory)
    assert memory.device_room(torch.device("cuda"), wanted) == room
    assert card.asked == ([] if free >= 4 * wanted else [4 * wanted])


def test_nothing_is_asked_of_the_host_for_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(0, 10)
    monkeypatch.setattr(memory._Host, "free_memory", card.free_memory)
    memory.make_room(torch.device("cpu"), 10)
    assert memory.device_room(torch.device("cpu"), 10) == 0
    assert card.asked == []
