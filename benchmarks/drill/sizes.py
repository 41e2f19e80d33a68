"""Part 3 in other sizes."""

from __future__ import annotations

from .race import row_of
from .rows import Row, Settings

CASES = (
    ("rrdbnet", 2048, 2048),
    ("general", 2048, 2048),
    ("rrdbnet", 512, 512),
    ("general", 512, 512),
    ("rrdbnet", 1280, 720),
    ("general", 1024, 1024),
)


def rows(settings: Settings) -> list[Row]:
    return [row_of(*case, settings) for case in CASES]
