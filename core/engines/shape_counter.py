"""Which input shapes come back often enough that preparing something for each of them pays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Shape = tuple[int, ...]

SEEN_BEFORE = 1
"""Earlier calls with the same shape after which preparing pays: tiles of a picture and frames of a video repeat."""


class RepeatedShapes:
    """Counts shapes, and picks the first ``limit`` that come back. ``expected`` is picked at once: the tile that the
    caller said will be run."""

    def __init__(self, limit: int, expected: Shape | None = None) -> None:
        self._limit = limit
        self._seen: Counter[Shape] = Counter()
        self._picked: set[Shape] = set() if expected is None else {expected}

    def pick(self, shape: Sequence[int]) -> bool:
        """Whether this call should be prepared for; to be asked once for each call."""
        key = tuple(shape)
        if key not in self._picked and self._seen[key] >= SEEN_BEFORE and len(self._picked) < self._limit:
            self._picked.add(key)
        self._seen[key] += 1
        return key in self._picked
