"""Small studies for every test of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_study import made


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Of A and B, 10 pictures with sources, both questions."""
    made(tmp_path / "study", ["A", "B"], 10)
    return tmp_path / "study"
