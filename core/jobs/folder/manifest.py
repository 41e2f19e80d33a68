"""The outcome of each picture in a folder: a file with one JSON object per line, appended as pictures are finished."""

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
    """DONE: the output exists. FLAGGED: it exists and should be reviewed. FAILED: there is none."""

    DONE = "done"
    FLAGGED = "flagged"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line. Paths are relative to the folders of sources and results, with ``/``; hashes are SHA-256 in hex; sizes
    in pixels and bytes are 0, and metrics None, if unknown. ``model_licence`` is an SPDX expression, empty if unknown;
    ``model_commercial_use``: whether it allows commercial use.

    ``seconds`` is the time spent on this picture in all threads. ``reason`` says why it failed or was flagged.
    ``kept``: it failed because a file that does not belong to this job has the name of the output, and was left alone.
    ``finished`` is UTC, ISO 8601. ``rules``: the outcome of each rule of the job's marketplace. ``protect_sha256`` is
    the hash of the protection mask and its mode, empty without one; ``protected`` is the protected share of the
    picture, 0 to 1.
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
        """One line without its line break. JSON has no infinity, which becomes the text "Infinity"."""
        values = {name: _plain(value) for name, value in asdict(self).items()}
        return json.dumps(values, separators=(",", ":"), allow_nan=False)


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return "Infinity" if isinstance(value, float) and math.isinf(value) else value


def parse_line(line: str) -> Entry | None:
    """The entry in a line; None for a truncated or invalid one. Unknown names are ignored."""
    try:
        return parse(Entry, json.loads(line))
    except (ValueError, RecursionError):
        return None


def manifest_path(folder: Path, shard: Shard | None = None) -> Path:
    return folder / f"{NAME}{shard.suffix if shard else ''}.jsonl"


def manifest_files(folder: Path) -> list[Path]:
    """The manifests of all workers on this folder of results, those of shards last."""
    parts = sorted(folder.glob(f"{NAME}.shard-*.jsonl"), key=lambda path: natural_order(path.name))
    return [path for path in (manifest_path(folder), *parts) if path.is_file()]


def read_entries(paths: Iterable[Path]) -> tuple[list[Entry], int]:
    """All entries in the order in which they were finished, and the number of unreadable lines."""
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
    """The contents of a folder's manifests, by source."""

    def __init__(self, paths: Sequence[Path] = ()) -> None:
        entries, self.unreadable = read_entries(paths)
        self._remember(entries)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> History:
        """A history of these entries, in the order in which they were finished."""
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
        """The outcomes of those pictures that are known."""
        return [self._verdict(task.name) for task in tasks if task.name in self.latest]

    def finished(self, wanted: Entry) -> Entry | None:
        """The entry of a picture that was written from the same source, to the same name and with the same settings."""
        entry = self.written.get(wanted.source)
        return entry if entry and _same_work(entry, wanted) else None

    def verdicts(self) -> list[Entry]:
        """The outcome of each picture, in natural order: the latest entry, except that a written result takes
        precedence over a later failure of another worker on the same file."""
        return [self._verdict(source) for source in sorted(self.latest, key=natural_order)]

    def _verdict(self, source: str) -> Entry:
        latest, written = self.latest[source], self.written.get(source)
        return written if written and _same_work(written, latest) else latest

    def is_ours(self, output: str, *, begun: bool) -> bool:
        """Whether the job wrote the file of that name in the folder. A killed run may leave one file per thread without
        a line: once the worker's own manifest has ``begun``, files that did not exist at its start are ours."""
        return output in self._outputs or (begun and output not in self._kept)


def _same_work(first: Entry, second: Entry) -> bool:
    return (first.output, first.source_sha256, first.settings_sha256, first.protect_sha256) == (
        second.output,
        second.source_sha256,
        second.settings_sha256,
        second.protect_sha256,
    )


class Manifest:
    """Appends entries; when ``append`` returns, the entry is on the disk. Readers see complete entries only."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = path.open("ab+", buffering=0)
        self.alone = _lock(self._file.fileno())

    def append(self, entry: Entry) -> None:
        """Raises ``OSError`` if the disk refuses; readers ignore the incomplete line then."""
        with self._lock:
            self._end_line()
            self._write(entry.to_json().encode("ascii") + b"\n")
            os.fsync(self._file.fileno())

    def _end_line(self) -> None:
        """After a killed run or a full disk left half a line, the next one must not be appended to it."""
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._write(b"\n")

    def _write(self, content: bytes) -> None:
        """A disk that becomes full accepts a part of the content, and raises on the next write."""
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def close(self) -> None:
        self._file.close()


def _lock(file: int) -> bool:
    """Whether no other process is writing to this file; the system releases the lock when the process ends, in whatever
    way. False if that cannot be determined."""
    try:
        import fcntl
    except ImportError:
        return False
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def merge_manifests(folder: Path) -> list[Entry]:
    """Merges the manifests of all shards into one ``manifest.jsonl``: one line per picture, in natural order. The
    manifests of the shards stay. Raises ``InputError`` if there are none."""
    paths = manifest_files(folder)
    if not paths:
        raise InputError(f"{folder}: no manifest.jsonl and no manifest.shard-*.jsonl; name a folder of results.")
    entries = History(paths).verdicts()
    write_atomic(manifest_path(folder), "".join(entry.to_json() + "\n" for entry in entries).encode("ascii"))
    return entries
