"""Working memory for ncnn: pools that all of its networks share, two for each thread that runs one.

Left to itself, every network keeps a pool of its own in which a small value may occupy a block of any size: the rows
that a stream carries from portion to portion then sit in blocks that were made for whole layers.
"""

from __future__ import annotations

import ctypes
import importlib
import threading
from typing import Any

LEAST_FILLED = 0.5
"""Part of a block that a value must fill to be put there."""

_pools: list[tuple[Any, Any]] = []

_lock = threading.Lock()


def pools(number: int) -> tuple[Any, Any]:
    """For values, and for the work space of convolutions, of the thread ``number``. Threads that took blocks from the
    same pool would get those that were last in the cache of another core."""
    with _lock:
        while len(_pools) <= number:
            _pools.append(_made())
    return _pools[number]


def _made() -> tuple[Any, Any]:
    ncnn: Any = importlib.import_module("ncnn")
    made = ncnn.PoolAllocator(), ncnn.PoolAllocator()
    for pool in made:
        pool.set_size_compare_ratio(LEAST_FILLED)
        # Never destroyed: values that a traceback holds outlive this module when the process ends, and would be given
        # back to a pool that is gone.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(pool))
    return made


def share_pools(options: Any) -> None:
    """For a network that is not loaded yet."""
    options.blob_allocator, options.workspace_allocator = pools(0)


def release_unused() -> None:
    """Gives back what no value occupies."""
    for pair in list(_pools):
        for pool in pair:
            pool.clear()
