"""Working memory for ncnn: two pools that all of its networks share.

Left to itself, every network keeps a pool of its own in which a small value may occupy a block of any size: the rows
that a stream carries from portion to portion then sit in blocks that were made for whole layers.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

LEAST_FILLED = 0.5
"""Part of a block that a value must fill to be put there."""


@cache
def _pools() -> tuple[Any, Any]:
    """For values, and for the work space of convolutions. Never destroyed: values of a generator that somebody still
    holds may outlive every network."""
    ncnn: Any = importlib.import_module("ncnn")
    pools = ncnn.PoolAllocator(), ncnn.PoolAllocator()
    for pool in pools:
        pool.set_size_compare_ratio(LEAST_FILLED)
    return pools


def share_pools(options: Any) -> None:
    """For a network that is not loaded yet."""
    options.blob_allocator, options.workspace_allocator = _pools()


def release_unused() -> None:
    """Gives back what no value occupies."""
    for pool in _pools():
        pool.clear()
