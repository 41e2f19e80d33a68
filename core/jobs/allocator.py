"""Memory that threads have freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def _trim() -> Callable[[int], Any] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None


def return_freed_memory() -> None:
    """glibc keeps what each thread frees, in pieces; over a folder of large pictures that adds up. Elsewhere this does
    nothing."""
    if trim := _trim():
        trim(0)
