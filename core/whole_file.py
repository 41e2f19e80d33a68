"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 100
"""Characters of the final name that the temporary one repeats, which leaves room within a file system's 255."""


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A temporary path beside ``path``, to be written in the block. When the block ends well its content is brought to
    the disk and takes the final name; otherwise it is removed, and what had the name before is untouched.

    Raises ``OSError`` if the disk refuses.
    """
    temporary = path.with_name(f".{path.name[:_LONGEST]}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        settle(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """A file of these bytes, whole or not at all. Raises ``OSError``."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def settle(path: Path) -> None:
    """Waits until the content of a finished file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_leftovers(outputs: Iterable[Path]) -> int:
    """Removes the temporary files that a killed run left beside ``outputs``; how many there were."""
    removed = 0
    wanted: dict[Path, set[str]] = {}
    for output in outputs:
        wanted.setdefault(output.parent, set()).add(f".{output.name[:_LONGEST]}")
    for folder, names in wanted.items():
        for path in folder.glob(".*.????????.part") if folder.is_dir() else ():
            if path.name[: -len(".12345678.part")] in names:
                path.unlink(missing_ok=True)
                removed += 1
    return removed
