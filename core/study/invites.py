"""Personal links: whoever has the token votes as that voter; no name or address is stored."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from ..atomic_write import write_atomic
from ..parsed import parse, read_json
from .design import digest

INVITES = "invites.json"


@dataclass(frozen=True)
class Invite:
    """``place``: the voter's number in the study, from 0, which decides what is shown in which order."""

    token: str
    place: int

    @property
    def voter(self) -> str:
        """The name under which votes are stored; the link cannot be derived from it."""
        return digest(self.token.encode())[:16]


def read_invites(folder: Path) -> list[Invite]:
    """The invites made so far. Raises ``InputError`` for a file that cannot be read."""
    path = folder / INVITES
    if not path.exists():
        return []
    data = read_json(path, "restore a complete copy, or links stop working")
    return [Invite(token, place) for place, token in enumerate(parse(list[str], data.get("invites"), f"{path}: "))]


def more_invites(folder: Path, wanted: int) -> list[Invite]:
    """At least ``wanted`` invites: the existing ones, and new ones as needed. Only its owner may read the file. Raises
    ``InputError`` and ``OSError``."""
    tokens = [invite.token for invite in read_invites(folder)]
    if len(tokens) < wanted:
        tokens += [secrets.token_urlsafe(24) for _ in range(wanted - len(tokens))]
        write_atomic(folder / INVITES, json.dumps({"invites": tokens}, indent=1).encode(), private=True)
    return [Invite(token, place) for place, token in enumerate(tokens)]
