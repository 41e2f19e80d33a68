"""Built engines, kept on disk under the hash of everything that shaped them, and checked when they are read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..atomic_write import write_atomic
from ..progress import Progress
from .json_cache import cache_folder

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "BACKPLATE_ENGINES"
_MAGIC = b"backplate artifact 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Something built for a model. ``kind`` is also the suffix; ``label`` makes the file name readable; ``parts`` is
    everything that shapes the content: weights, settings, versions, device."""

    kind: str
    label: str
    parts: Mapping[str, object]

    @property
    def identity(self) -> str:
        """SHA-256 over all parts, in hexadecimal digits."""
        text = json.dumps({"kind": self.kind, **self.parts}, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def path(self) -> Path:
        """Where it is kept."""
        label = re.sub(r"[^A-Za-z0-9.-]+", "-", self.label)[:60].strip("-.") or "model"
        return artifact_folder() / f"{label}-{self.identity}.{self.kind}"


def artifact_folder() -> Path:
    """The user's cache folder, or ``BACKPLATE_ENGINES``; it need not exist. Everything in it may be deleted."""
    named = os.environ.get(FOLDER_VARIABLE, "").strip()
    return Path(named).expanduser() if named else cache_folder() / "engines"


def obtain(artifact: Artifact, build: Callable[[], bytes], progress: Progress) -> bytes:
    """The content of an artifact: from disk if it is there and whole, otherwise built and kept.

    A file that was changed since it was written is built again, and ``progress.note`` is told. What ``build`` raises
    passes through, and nothing is kept. A disk that refuses only costs the building next time.
    """
    kept = read_artifact(artifact, progress)
    if kept is not None:
        return kept
    content = build()
    keep_artifact(artifact, content)
    return content


def read_artifact(artifact: Artifact, progress: Progress) -> bytes | None:
    """The content on disk; None if there is none, or it is not what was written."""
    try:
        stored = artifact.path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.info("The built engine at %s could not be read: %s", artifact.path, error)
        return None
    start = len(_MAGIC) + _DIGEST_BYTES
    content = stored[start:]
    if stored[:start] == _MAGIC + hashlib.sha256(content).digest():
        return content
    progress.note(f"{artifact.path.name} is not as it was built ({len(stored)} bytes); it is built again.")
    return None


def keep_artifact(artifact: Artifact, content: bytes) -> None:
    """Writes the content, whole or not at all."""
    try:
        artifact.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(artifact.path, _MAGIC + hashlib.sha256(content).digest() + content)
    except OSError as error:
        logger.warning("The built engine could not be kept at %s: %s", artifact.path, error)


def drop_artifact(artifact: Artifact) -> None:
    """Forgets what is on disk: for content that is whole but does not work on this machine."""
    artifact.path.unlink(missing_ok=True)
