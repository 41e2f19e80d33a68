"""Choices that were measured before, on disk with everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from ...errors import InputError
from ...parsed import parse
from ..json_cache import FactStore, device_name, package_version, processor_name
from ..plan import Candidate, Choice

logger = logging.getLogger(__name__)

plans = FactStore("plans", version=11)
_chosen: dict[str, Choice] = {}


def identify(model_sha256: str, device: torch.device, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Whatever a trial's outcome depends on: another value of it means another trial."""
    engines = sorted({candidate.plan.engine for candidate in candidates} - {"pytorch", "compiled"})
    return {
        "model": model_sha256,
        "device": device_name(device),
        "processor": processor_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "engines": {engine: package_version(engine) or package_version(f"{engine}-gpu") for engine in engines},
        "candidates": [{"name": each.name, **asdict(each.plan)} for each in candidates],
    }


def recall(identity: dict[str, Any], limit: float) -> Choice | None:
    """The choice of an earlier trial, from this process or the disk, unless ``limit`` seconds would measure more."""
    key = _key(identity)
    if key in _chosen and _chosen[key].holds_under(limit):
        return _chosen[key]
    choice = _read(key)
    if choice is None or not choice.holds_under(limit):
        return None
    _chosen[key] = choice
    return choice


def keep(identity: dict[str, Any], choice: Choice) -> None:
    """For ``recall``; in this process alone if the trial was disturbed."""
    key = _key(identity)
    _chosen[key] = choice
    if choice.disturbed:
        logger.info("Something else kept the machine busy during a trial of speed; it will be made again next time.")
        return
    plans.add(key, asdict(choice))


def _key(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _read(key: str) -> Choice | None:
    """An earlier choice; None if there is none or the file is damaged, which only costs a new trial."""
    try:
        choice = parse(Choice, plans.read().get(key))
    except InputError:
        return None
    return choice if choice.trials else None
