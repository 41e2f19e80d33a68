"""Content hashes and sizes of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of the file's content, hexadecimal. Raises ``OSError``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def in_megabytes(size: int) -> str:
    """A number of bytes for people: ``67.0 MB`` (a megabyte is a million bytes)."""
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size} bytes"
