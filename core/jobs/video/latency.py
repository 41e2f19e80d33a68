"""How long the steps of a stream take, in constant memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

BINS_PER_E = 200
"""Bins are half a percent wide, which is the accuracy of the percentiles."""

PERCENTILES = (50, 95, 99)


class Latency:
    """A histogram of durations."""

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self._bins: Counter[int] = Counter()
        self.total = 0.0
        for each in seconds:
            self.add(each)

    def add(self, seconds: float) -> None:
        self._bins[round(math.log(max(seconds, 1e-7)) * BINS_PER_E)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        return sum(self._bins.values())

    def percentile(self, percent: float) -> float:
        """Seconds within which that percentage of the steps finished (nearest rank); 0 without steps."""
        wanted = math.ceil(self.count * percent / 100)
        for place in sorted(self._bins):
            wanted -= self._bins[place]
            if wanted <= 0:
                return math.exp(place / BINS_PER_E)
        return 0.0

    def milliseconds(self) -> dict[str, float]:
        return {f"p{percent}": round(1000 * self.percentile(percent), 2) for percent in PERCENTILES}
