"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 100
"""Bytes of the final name that the temporary one repeats, which leaves room within the 255 of file systems."""

LONGEST_NAME = 255
"""Longest file name that file systems accept, in bytes."""


@contextmanager
def whole_file(path: Path, *, keep: bool = True) -> Generator[Path]:
    """A temporary path beside ``path``, to be written in the block. If the block succeeds, the file is flushed to the
    disk and takes the final name; otherwise, or without ``keep``, it is removed, and an existing file stays untouched.

    Raises ``OSError`` if the disk refuses.
    """
    temporary = path.with_name(f".{_beginning(path.name)}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        fsync_file(temporary)
        if keep:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _beginning(name: str) -> str:
    """As much of the name as fits into ``_LONGEST`` bytes."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST else encoded[:_LONGEST].decode("utf-8", "ignore")


def companion_name(name: str, ending: str) -> str:
    """``.NAME`` and ``ending``; if that is too long for file systems, a unique name with the same beginning."""
    full = f".{name}{ending}"
    if len(os.fsencode(full)) <= LONGEST_NAME:
        return full
    mark = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return f".{_beginning(name)}.{mark}{ending}"


def write_atomic(path: Path, content: bytes, *, private: bool = False) -> None:
    """Writes a file completely or not at all; only its owner may read a ``private`` one. Raises ``OSError``."""
    with whole_file(path) as temporary:
        if private:
            temporary.touch(0o600)
        temporary.write_bytes(content)


def fsync_file(path: Path) -> None:
    """Waits until the content of a finished file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_leftovers(outputs: Iterable[Path]) -> int:
    """Removes the temporary files that a killed run left beside ``outputs``, and returns their number."""
    removed = 0
    wanted: dict[Path, set[str]] = {}
    for output in outputs:
        wanted.setdefault(output.parent, set()).add(f".{_beginning(output.name)}")
    for folder, names in wanted.items():
        for path in folder.glob(".*.????????.part") if folder.is_dir() else ():
            if path.name[: -len(".12345678.part")] in names:
                path.unlink(missing_ok=True)
                removed += 1
    return removed
