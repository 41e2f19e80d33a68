"""How much one link may ask of the server."""

from __future__ import annotations

import time
from collections.abc import Callable

BURST = 60.0
PER_SECOND = 10.0
LONGEST_BODY = 4096
"""Bytes of a vote; one has about 500."""
RECORDS = 20
"""Votes and undone votes that a voter may send, for each trial."""


class RateLimit:
    """A bucket for each link: ``burst`` requests at once, ``per_second`` in the long run. A clock that jumps back fills
    nothing."""

    def __init__(
        self, burst: float = BURST, per_second: float = PER_SECOND, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.burst, self.per_second, self.clock = burst, per_second, clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def allows(self, link: str) -> bool:
        now = self.clock()
        level, before = self._buckets.get(link, (self.burst, now))
        level = min(self.burst, level + max(0.0, now - before) * self.per_second)
        self._buckets[link] = (level - 1, now) if level >= 1 else (level, now)
        return level >= 1
