"""What some tests need and not every machine has."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

VARIABLE = "BACKPLATE_EXPECT"


def absent(kind: str, reason: str) -> NoReturn:
    """Skips the test; fails it where ``BACKPLATE_EXPECT`` (comma-separated: comfyui, shared) says that it is here."""
    expected = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    if kind in expected:
        pytest.fail(f"{reason}, and {VARIABLE} says that it is here", pytrace=False)
    pytest.skip(reason)
