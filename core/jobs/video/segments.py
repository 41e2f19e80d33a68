"""Finished segments on the disk, after which an interrupted job continues."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field

from ...atomic_write import fsync_file, write_atomic
from ...errors import InputError
from ...media.video.join import Segment
from ...metrics.flicker import Flicker
from ...parsed import parse

LAYOUT = 2
"""Changes when earlier versions cannot read what this one writes, or vice versa."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How some frames were processed. ``streamed`` ones went through the model row by row, not in tiles."""

    frames: int = 0
    reused: int = 0
    tiles_run: int = 0
    tiles_reused: int = 0
    streamed: int = 0
    damaged: int = 0
    flicker: Flicker = Flicker()

    def __add__(self, other: Counts) -> Counts:
        names = [field.name for field in fields(self)]
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class Note:
    """The record of a finished segment: its file, the time stamp and duration of each frame, and the counts."""

    file: str
    frames: Annotated[list[tuple[int, int]], Field(min_length=1)]
    reorder: int
    counts: Counts


class SegmentStore:
    """A folder of segments. A segment is finished when the note beside it exists, which is written last."""

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self._identity = {"layout": LAYOUT, **json.loads(json.dumps(identity))}
        self.segments: list[Segment] = []
        self.counts = Counts()

    def open(self, resume: bool) -> None:
        """Finds what an earlier run finished, or, unless ``resume``, removes it.

        Raises ``InputError`` if that run had another source or other settings.
        """
        if not resume:
            self.remove()
        try:
            self._open()
        except OSError as error:
            raise InputError(f"{self.folder} cannot be used ({error.strerror or error}).") from error

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "job.json"
        earlier = _read(note)
        if earlier is not None and self._finished(0):
            self._check_same(earlier)
        else:
            # It is unknown what made the segments, if there are any, so they are made again.
            for left in self.folder.glob("[0-9]*.json"):
                left.unlink()
            write_atomic(note, json.dumps(self._identity, indent=1).encode())
        while finished := self._finished(len(self.segments)):
            self._add(finished)

    def _finished(self, number: int) -> Note | None:
        """The note of a complete segment, or None."""
        try:
            note = parse(Note, _read(self._note(number)))
            path = self.folder / note.file
            return note if path.parent == self.folder and path.stat().st_size else None
        except (InputError, OSError):
            return None

    def next_file(self) -> Path:
        """Where to write the next segment."""
        return self.folder / f"{len(self.segments):06}.part"

    def close(self, frames: list[tuple[int, int]], reorder: int, counts: Counts) -> None:
        """Turns the complete file at ``next_file`` into a segment."""
        part = self.next_file()
        fsync_file(part)
        name = part.with_suffix(".video").name
        part.replace(self.folder / name)
        note = Note(file=name, frames=frames, reorder=reorder, counts=counts)
        write_atomic(self._note(len(self.segments)), json.dumps(asdict(note)).encode())
        self._add(note)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _note(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"

    def _add(self, note: Note) -> None:
        self.segments.append(
            Segment(
                path=self.folder / note.file,
                note=self._note(len(self.segments)),
                first=note.frames[0],
                last=note.frames[-1],
                reorder=note.reorder,
            )
        )
        self.counts += note.counts

    def _check_same(self, earlier: dict[str, Any]) -> None:
        names = sorted({*earlier, *self._identity})
        other = [name for name in names if earlier.get(name) != self._identity.get(name)]
        if other:
            raise InputError(
                f"{self.folder} holds what an interrupted run finished with a different {', '.join(other)}; use "
                "the same to continue it, or discard it (--no-resume)."
            )


def _read(path: Path) -> dict[str, Any] | None:
    """A note, or None if it is missing or damaged."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return cast("dict[str, Any]", content) if isinstance(content, dict) else None
