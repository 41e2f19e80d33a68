"""What became of each picture of a folder: a file of one JSON object a line, appended as pictures are finished."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from ...atomic_write import write_atomic
from ...errors import InputError
from ...media.picture_folder import FileTask, Shard, natural_order
from ...parsed import parse
from ..marketplace.measure import Finding

NAME = "manifest"
VERSION = 1


class Status(str, Enum):
    """DONE: the output is there. FLAGGED: it is there, and somebody should look at it. FAILED: there is none."""

    DONE = "done"
    FLAGGED = "flagged"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line. Paths are within the folder of sources and that of results, with ``/``; hashes are SHA-256 in hex;
    sizes in pixels and bytes are 0, and figures None, where they are not known. ``model_licence`` is an SPDX
    expression, empty where it is not known; ``model_commercial_use``: whether that allows it.

    ``seconds`` is the time spent on this picture in all threads. ``reason`` says why it failed or was flagged.
    ``kept``: it failed because a file that is not of this job has the name of the output, and was left alone.
    ``finished`` is UTC, ISO 8601. ``rules``: what became of each rule of the marketplace that the job is for.
    ``protect_sha256`` is of the mask that says what is protected and of how, empty without one; ``protected`` is the
    share of the picture, 0 to 1.
    """

    source: str
    output: str
    status: Status
    reason: str = ""
    notes: tuple[str, ...] = ()
    kept: bool = False
    source_sha256: str = ""
    source_bytes: int = 0
    source_width: int = 0
    source_height: int = 0
    output_bytes: int = 0
    width: int = 0
    height: int = 0
    model: str = ""
    model_sha256: str = ""
    model_licence: str = ""
    model_commercial_use: bool | None = None
    settings_sha256: str = ""
    passes: int = 0
    seconds: float = 0.0
    lr_psnr: float | None = None
    delta_e: float | None = None
    finished: str = ""
    rules: tuple[Finding, ...] = ()
    version: int = VERSION
    protect_sha256: str = ""
    protected: float = 0.0

    @property
    def written(self) -> bool:
        """Whether the job has written the output."""
        return self.status is not Status.FAILED

    def to_json(self) -> str:
        """One line without its end. JSON has no infinity: it is the text "Infinity"."""
        values = {name: _plain(value) for name, value in asdict(self).items()}
        return json.dumps(values, separators=(",", ":"), allow_nan=False)


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return "Infinity" if isinstance(value, float) and math.isinf(value) else value


def parse_line(line: str) -> Entry | None:
    """The entry of a line; None for one that was cut off or is something else. Unknown names are passed over."""
    try:
        return parse(Entry, json.loads(line))
    except (ValueError, RecursionError):
        return None


def manifest_path(folder: Path, shard: Shard | None = None) -> Path:
    return folder / f"{NAME}{shard.suffix if shard else ''}.jsonl"


def manifest_files(folder: Path) -> list[Path]:
    """The manifests of all workers on this folder of results, those of parts last."""
    parts = sorted(folder.glob(f"{NAME}.shard-*.jsonl"), key=lambda path: natural_order(path.name))
    return [path for path in (manifest_path(folder), *parts) if path.is_file()]


def read_entries(paths: Iterable[Path]) -> tuple[list[Entry], int]:
    """All entries in the order they were finished, and how many lines could not be read."""
    entries: list[Entry] = []
    unreadable = 0
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                entry = parse_line(line) if line.strip() else None
                if entry:
                    entries.append(entry)
                unreadable += bool(line.strip()) and entry is None
    return sorted(entries, key=lambda entry: entry.finished), unreadable


class History:
    """What the manifests of a folder say, by source."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        entries, self.unreadable = read_entries(paths)
        self._remember(entries)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> History:
        """What these lines say, in the order they were finished."""
        history = cls()
        history._remember(entries)
        return history

    def _remember(self, entries: Iterable[Entry]) -> None:
        self.latest: dict[str, Entry] = {}
        self.written: dict[str, Entry] = {}
        for entry in entries:
            self.latest[entry.source] = entry
            if entry.written:
                self.written[entry.source] = entry
        self._outputs = {entry.output for entry in self.written.values()}
        self._kept = {entry.output for entry in self.latest.values() if entry.kept}

    def among(self, tasks: Iterable[FileTask]) -> list[Entry]:
        """What became of those pictures that are known."""
        return [self._verdict(task.name) for task in tasks if task.name in self.latest]

    def finished(self, wanted: Entry) -> Entry | None:
        """The entry of a picture that was written from the same source, to the same name, with the same settings."""
        entry = self.written.get(wanted.source)
        return entry if entry and _same_work(entry, wanted) else None

    def verdicts(self) -> list[Entry]:
        """What became of each picture, in natural order: the latest entry, but a result that was written counts more
        than a later failure of another worker on the same file."""
        return [self._verdict(source) for source in sorted(self.latest, key=natural_order)]

    def _verdict(self, source: str) -> Entry:
        latest, written = self.latest[source], self.written.get(source)
        return written if written and _same_work(written, latest) else latest

    def is_ours(self, output: str, *, begun: bool) -> bool:
        """Whether a file of that name in the folder was written by the job. A killed run may leave one file a thread
        without a line: once the worker's own manifest has ``begun``, what was not found there at its start is ours."""
        return output in self._outputs or (begun and output not in self._kept)


def _same_work(first: Entry, second: Entry) -> bool:
    return (first.output, first.source_sha256, first.settings_sha256, first.protect_sha256) == (
        second.output,
        second.source_sha256,
        second.settings_sha256,
        second.protect_sha256,
    )


class Manifest:
    """Appends entries; each is on the disk when ``append`` returns, whole or not at all in the eyes of a reader."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = path.open("ab+", buffering=0)
        self.alone = _lock(self._file.fileno())

    def append(self, entry: Entry) -> None:
        """Raises ``OSError`` if the disk refuses; what was written of the line is then no line for a reader."""
        with self._lock:
            self._end_line()
            self._write(entry.to_json().encode("ascii") + b"\n")
            os.fsync(self._file.fileno())

    def _end_line(self) -> None:
        """A killed run, or a full disk, left half a line: the next one must not be glued to it."""
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._write(b"\n")

    def _write(self, content: bytes) -> None:
        """A disk that becomes full takes a part, and says why with the next one."""
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def close(self) -> None:
        self._file.close()


def _lock(file: int) -> bool:
    """Whether nobody else is writing to this file; the system lets go of it when the process ends, however it does.
    False where that cannot be found out."""
    try:
        import fcntl
    except ImportError:
        return False
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def merge_manifests(folder: Path) -> list[Entry]:
    """Makes one ``manifest.jsonl`` of those of all parts: one line a picture, in natural order. The parts
    stay. Raises ``InputError`` if there is none."""
    paths = manifest_files(folder)
    if not paths:
        raise InputError(f"{folder}: no manifest.jsonl and no manifest.shard-*.jsonl; name a folder of results.")
    entries = History(paths).verdicts()
    write_atomic(manifest_path(folder), "".join(entry.to_json() + "\n" for entry in entries).encode("ascii"))
    return entries
