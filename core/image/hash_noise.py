"""Random numbers that are a function of the position: the same for a pixel in every tile and band and on every
machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Uniform = npt.NDArray[np.float32]


def uniform(rows: range, columns: range, seed: int) -> Uniform:
    """(rows, columns) in [0, 1), white; each value depends only on its row, its column and ``seed``. Rows and columns
    may be negative. The mixing is the finaliser of MurmurHash3 (Appleby, 2011), over a line and then along it."""
    wrap = 0xFFFFFFFF
    lines = _mixed(np.array([(row * 0x9E3779B1 + seed * 0x85EBCA77) & wrap for row in rows], np.uint32))
    places = np.array([(column * 0xC2B2AE3D) & wrap for column in columns], np.uint32)
    return (_mixed(lines[:, None] ^ places[None]) >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def _mixed(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    values = values ^ (values >> np.uint32(16))
    values = values * np.uint32(0x85EBCA6B)
    values = values ^ (values >> np.uint32(13))
    values = values * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))
