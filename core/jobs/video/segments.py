"""Finished segments on the disk, from which an interrupted job continues."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from ...atomic_write import fsync_file, write_atomic
from ...errors import InputError
from ...media.video.join import Segment
from ...metrics.flicker import Flicker

LAYOUT = 2
"""Changes when what is written here is not understood by earlier versions, or the other way round."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was done for some frames. ``streamed`` ones went through the model row by row, not in tiles."""

    frames: int = 0
    reused: int = 0
    tiles_run: int = 0
    tiles_reused: int = 0
    streamed: int = 0
    damaged: int = 0
    flicker: Flicker = Flicker()

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            frames=self.frames + other.frames,
            reused=self.reused + other.reused,
            tiles_run=self.tiles_run + other.tiles_run,
            tiles_reused=self.tiles_reused + other.tiles_reused,
            streamed=self.streamed + other.streamed,
            damaged=self.damaged + other.damaged,
            flicker=self.flicker + other.flicker,
        )


class SegmentStore:
    """A folder of segments. One counts as finished when the note beside it is there, which is written last."""

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
            # Nobody knows what made the segments, if there are any: they are made again.
            for left in self.folder.glob("[0-9]*.json"):
                left.unlink()
            write_atomic(note, json.dumps(self._identity, indent=1).encode())
        while facts := self._finished(len(self.segments)):
            self._add(facts)

    def _finished(self, number: int) -> dict[str, Any] | None:
        """The note of a segment that is whole, or None."""
        facts = _read(self._note(number))
        if facts is None:
            return None
        try:
            frames, path = [(int(pts), int(length)) for pts, length in facts["frames"]], self.folder / facts["file"]
            counts = dict(facts["counts"])
            Counts(flicker=Flicker(**counts.pop("flicker")), **counts)
            sound = bool(frames) and isinstance(facts["reorder"], int) and path.parent == self.folder
            return facts if sound and path.stat().st_size else None
        except (KeyError, TypeError, ValueError, OSError):
            return None

    def next_file(self) -> Path:
        """Where the next segment is to be written."""
        return self.folder / f"{len(self.segments):06}.part"

    def close(self, frames: list[tuple[int, int]], reorder: int, counts: Counts) -> None:
        """The file at ``next_file`` is whole and becomes a segment."""
        part = self.next_file()
        fsync_file(part)
        name = part.with_suffix(".video").name
        part.replace(self.folder / name)
        facts = {"file": name, "frames": frames, "reorder": reorder, "counts": asdict(counts)}
        write_atomic(self._note(len(self.segments)), json.dumps(facts).encode())
        self._add(facts)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _note(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"

    def _add(self, facts: dict[str, Any]) -> None:
        first, last = (tuple[int, int](facts["frames"][place]) for place in (0, -1))
        note = self._note(len(self.segments))
        self.segments.append(
            Segment(path=self.folder / facts["file"], note=note, first=first, last=last, reorder=facts["reorder"])
        )
        counts = dict(facts["counts"])
        flicker = Flicker(**counts.pop("flicker"))
        self.counts += Counts(flicker=flicker, **counts)

    def _check_same(self, earlier: dict[str, Any]) -> None:
        names = sorted({*earlier, *self._identity})
        other = [name for name in names if earlier.get(name) != self._identity.get(name)]
        if other:
            raise InputError(
                f"{self.folder} holds what an interrupted run finished with a different {', '.join(other)}; use "
                "the same to continue it, or discard it (--no-resume)."
            )


def _read(path: Path) -> dict[str, Any] | None:
    """A note, or None for one that is not there or damaged."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return cast("dict[str, Any]", content) if isinstance(content, dict) else None
