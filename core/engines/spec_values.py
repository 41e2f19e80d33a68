"""The spec of an upscaler as values of JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..types import SizeRule
from ..upscaler import Halo, UpscalerSpec


def spec_values(spec: UpscalerSpec) -> dict[str, Any]:
    return asdict(spec)


def spec_from(values: Mapping[str, Any]) -> UpscalerSpec:
    """Of what ``spec_values`` gave."""
    parts: dict[str, Any] = {"size_rule": SizeRule(**values["size_rule"]), "halo": Halo(**values["halo"])}
    return UpscalerSpec(**{**values, **parts})
