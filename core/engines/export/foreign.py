"""Exported models that this program did not write: each is run once in a process of its own, under limits, before it is
opened in this one, which a broken file could end.

What was written here, and what came back whole from such a trial, is remembered by the hashes of all its files in the
user's cache folder; nothing that a file says about itself counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ....model_loader.files import sha256_of
from ...parsed import parse
from ...progress import Progress
from ...upscaler import UpscalerSpec
from ..json_cache import FactStore, package_version
from ..registry import EngineUnusable
from ..worker_process import Limits, run_limited

MEMORY, MEMORY_FACTOR = 2 << 30, 8
"""Bytes that a trial may take, and how many more for each byte of the files."""
SECONDS, SECONDS_PER_MEGABYTE = 5, 4
"""Of processor time: a trial runs a model on a few small pictures, in one thread."""
LONGEST = 120.0
"""Seconds, beside those of processor time, that may pass until everything is loaded."""

_STORE = FactStore("engine-files", 1)
_PACKAGES = ("ncnn", "onnxruntime", "torch")
_WRITTEN = "written here"


def identity_of(files: Mapping[str, str], record: Path) -> str:
    """Of an exported model: ``files`` by the SHA-256 of each, and the file of its ``record``, if there is one."""
    parts = [*sorted(files.items()), sha256_of(record) if record.is_file() else None]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def remember_written(files: Sequence[Path], record: Path) -> None:
    """This program has just written these files."""
    _STORE.add(identity_of({file.name: sha256_of(file) for file in files}, record), _WRITTEN)


def written_here(identity: str) -> bool:
    return _STORE.read().get(identity) == _WRITTEN


def proved(
    main: Path, files: Sequence[Path], spec: UpscalerSpec | None, identity: str, progress: Progress
) -> UpscalerSpec:
    """What a model is that came back whole from its trial: ``spec``, or what was found out where there is none. A trial
    is made once for these files and these versions of the engines.

    Raises ``EngineUnusable`` with what went wrong. Whatever ``progress.check`` raises ends the trial.
    """
    key = f"{identity} {_versions()}"
    known = _STORE.read().get(key)
    if known is not None:
        return spec or parse(UpscalerSpec, json.loads(str(known)))
    size = sum(file.stat().st_size for file in files)
    seconds = SECONDS + SECONDS_PER_MEGABYTE * size // 1_000_000
    limits = Limits(memory=MEMORY + MEMORY_FACTOR * size, seconds=seconds, longest=LONGEST + seconds)
    request = {"main": str(main.resolve()), "spec": spec and asdict(spec), "key": identity}
    found, cause = run_limited("export.foreign_worker", request, progress, limits)
    if cause:
        raise EngineUnusable(f"a trial run in a separate process failed ({cause})")
    _STORE.add(key, json.dumps(found))
    return parse(UpscalerSpec, found)


def _versions() -> str:
    return ", ".join(f"{name} {found}" for name in _PACKAGES if (found := package_version(name)))
