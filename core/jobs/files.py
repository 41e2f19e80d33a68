"""Files that appear whole."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Writes to a temporary name in the same folder, then renames. Raises ``OSError``."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Waits until the content of a finished file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_leftovers(outputs: Iterable[Path]) -> int:
    """Removes the temporary files that a killed run left beside ``outputs``; how many there were."""
    removed = 0
    wanted: dict[Path, set[str]] = {}
    for output in outputs:
        wanted.setdefault(output.parent, set()).add(f".{output.name[:100]}")
    for folder, names in wanted.items():
        for path in folder.glob(".*.????????.part") if folder.is_dir() else ():
            if path.name[: -len(".12345678.part")] in names:
                path.unlink(missing_ok=True)
                removed += 1
    return removed
