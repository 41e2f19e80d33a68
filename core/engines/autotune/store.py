"""Choices that were measured before, on disk with everything that they depend on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ...atomic_write import write_whole
from ..json_cache import cache_folder, device_name, processor_name
from ..plan import Candidate, Choice, RunPlan, Trial

logger = logging.getLogger(__name__)

_FORMAT = 8
_chosen: dict[str, Choice] = {}


def identify(model_sha256: str, device: torch.device, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Whatever a trial's outcome depends on: another value of it means another trial."""
    engines = sorted({candidate.plan.engine for candidate in candidates} - {"pytorch", "compiled"})
    return {
        "format": _FORMAT,
        "model": model_sha256,
        "device": device_name(device),
        "processor": processor_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "engines": {engine: _version(engine) for engine in engines},
        "candidates": [{"name": each.name, **asdict(each.plan)} for each in candidates],
    }


def recall(identity: dict[str, Any], limit: float) -> Choice | None:
    """The choice of an earlier trial, from this process or the disk, unless ``limit`` seconds would measure more."""
    key = _key(identity)
    if key in _chosen and _chosen[key].holds_under(limit):
        return _chosen[key]
    choice = _read(key, identity)
    if choice is None or not choice.holds_under(limit):
        return None
    _chosen[key] = choice
    return choice


def keep(identity: dict[str, Any], choice: Choice) -> None:
    """For ``recall``; in this process alone if the trial was disturbed. A folder that cannot be written only costs the
    trial of the next process."""
    key = _key(identity)
    _chosen[key] = choice
    if choice.disturbed:
        logger.info("Something else kept the machine busy during a trial of speed; it will be made again next time.")
        return
    content = {"identity": identity, "limit": choice.limit, "trials": [asdict(trial) for trial in choice.trials]}
    try:
        folder().mkdir(parents=True, exist_ok=True)
        write_whole(folder() / f"{key}.json", json.dumps(content, indent=1).encode("ascii"))
    except OSError as error:
        logger.info("The measured plan could not be kept in %s: %s", folder(), error)


def folder() -> Path:
    return cache_folder() / "plans"


def _key(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _read(key: str, identity: dict[str, Any]) -> Choice | None:
    """An earlier choice; None if there is none or the file is damaged, which only costs a new trial."""
    try:
        data = json.loads((folder() / f"{key}.json").read_text(encoding="ascii"))
        if data["identity"] != identity:
            return None
        trials, limit = tuple(_trial(trial) for trial in data["trials"]), float(data["limit"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Choice(trials, limit) if trials else None


def _trial(data: dict[str, Any]) -> Trial:
    values: dict[str, Any] = {**data, "plan": RunPlan(**data["plan"])}
    return Trial(**values)


def _version(package: str) -> str:
    for name in (package, f"{package}-gpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""
