"""Memory goes back to the system."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy
import pytest
import torch
from backplate.core.backends.memory import release_cached


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
