"""The reasons why a figure is missing."""

from __future__ import annotations

from ...model_loader.errors import Named
from ..errors import InputError


class NotMeasurable(InputError):
    """These pictures cannot be measured this way (too small, no edge in them); the sentence says why."""


class MetricUnavailable(Named, RuntimeError):
    """The metric needs a package, file or program that is missing; the sentence says what to do."""
