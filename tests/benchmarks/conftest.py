"""The scripts of ``benchmarks`` import one another by name, as when one is run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """A module of that folder by its name."""
    # Where the checkout's own folder is called that, pytest knows it as a package of this name.
    sys.modules.pop("drill", None)
    return importlib.import_module
