"""Votes on their way to the disk: an accepted vote survives a kill or a power cut."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from .design import VOTES, Design
from .votes import UNDONE, Vote, count, read_all

FILE = "served.jsonl"


class BallotBox:
    """All votes of a study that is being served, by one process at a time. Raises ``OSError`` if the disk refuses."""

    def __init__(self, folder: Path, design: Design) -> None:
        (folder / VOTES).mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._path = folder / VOTES / FILE
        self._votes: dict[str, list[Vote]] = {}
        self._ids: set[str] = set()
        for vote in read_all(folder, design)[0]:
            self._remember(vote)
        self._file = open(self._path, "ab", buffering=0, opener=partial(os.open, mode=0o600))  # noqa: SIM115  open while it serves
        self._end_broken_line()
        _settle_name(folder / VOTES)

    def _end_broken_line(self) -> None:
        """A line truncated by a kill was never acknowledged; the next one must not be appended to it."""
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
                os.write(self._file.fileno(), b"\n")

    def take(self, vote: Vote) -> bool:
        """Writes the vote to the disk and returns whether it counts. A vote that is there already, or on a trial that
        the voter has voted on, does not. Raises ``OSError`` if the disk refuses it; nothing of it is kept then."""
        with self._lock:
            mine = self._counted(vote.voter)
            if vote.id in self._ids or (vote.choice != UNDONE and any(each.place == vote.place for each in mine)):
                return False
            self._write(vote.to_line().encode())
            self._remember(vote)
            return True

    def _write(self, line: bytes) -> None:
        handle = self._file.fileno()
        length = os.fstat(handle).st_size
        try:
            if os.write(handle, line) != len(line):
                raise OSError("the disk took only part of a vote")
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, length)
            raise

    def _remember(self, vote: Vote) -> None:
        self._ids.add(vote.id)
        self._votes.setdefault(vote.voter, []).append(vote)

    def _counted(self, voter: str) -> list[Vote]:
        return count(self._votes.get(voter, ()))[0]

    def done(self, voter: str) -> set[int]:
        """Numbers of the trials that the voter has voted on."""
        with self._lock:
            return {vote.number for vote in self._counted(voter) if vote.number is not None}

    def progress(self, voters: Iterable[str]) -> tuple[int, int]:
        """How many of these have voted, and how many votes count in all."""
        with self._lock:
            counted = {voter: len(self._counted(voter)) for voter in self._votes}
        return sum(counted.get(voter, 0) > 0 for voter in voters), sum(counted.values())


def _settle_name(folder: Path) -> None:
    """Flushes the directory entry of a new file to the disk, where the system supports that."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
