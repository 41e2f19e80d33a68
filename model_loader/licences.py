"""What a model's licence allows: a table by the SHA-256 of files, which is the catalogue, the bundled models and, if
the user has fetched it, OpenModelDB's list (``licence_index``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard, cast

from .catalogue import entry_by_hash
from .errors import LicenceError
from .files import sha256_of
from .find import BUNDLED
from .licence_index import has_index, index_note, indexed

FROM_NOTHING = "LicenseRef-trained-from-nothing"
"""For a model trained from random weights: no other model's licence applies to it."""
CARD_KEY = "backplate.model_card"
"""The field in which a trained file records, in JSON, how it was made and from which model."""
OWN_LICENCE = "modelspec.license"
"""The field in which files state their licence (Stability AI's ModelSpec)."""
LONGEST_LICENCE = 200
LARGEST_HEADER = 100_000_000
"""Bytes of the header of a safetensors file, by the format's own limit."""

ALLOWED = re.compile(
    r"(0BSD|AFL|AGPL|Apache|Artistic|BSD|BSL|CC0|CC-BY(-SA|-ND)?-\d|EPL|EUPL|GPL|ISC|LGPL|LicenseRef-trained-from-nothing"
    r"|MIT|MPL|MS-PL|Unlicense|WTFPL|Zlib)\b",
    re.IGNORECASE,
)
"""Licences that allow commercial use of what they cover, by the beginning of their SPDX identifiers."""
FORBIDDEN = re.compile(r"(^|[-_ ])(NC|non-?commercial|academic|research-?only)([-_ ]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Licence:
    """``text``: usually an SPDX expression. ``commercial_use``: None if unknown. ``source``: where this is stated,
    usually an address."""

    text: str
    commercial_use: bool | None
    source: str


def allows_commercial_use(text: str | None) -> bool | None:
    """What an SPDX expression says about commercial use; None for a licence that is not known here."""
    if not text:
        return None
    verdicts = [
        [_one(term.strip(" ()")) for term in re.split(r"\sAND\s", choice)] for choice in re.split(r"\sOR\s", text)
    ]
    choices = [False if False in terms else None if None in terms else True for terms in verdicts]
    return True if True in choices else None if None in choices else False


def _one(term: str) -> bool | None:
    if FORBIDDEN.search(term):
        return False
    return True if ALLOWED.match(term) else None


def licence_of(sha256: str) -> Licence | None:
    """The licence of the published file with that hash, if the table has it."""
    if entry := entry_by_hash(sha256):
        return Licence(entry.licence, entry.commercial_use, entry.url)
    if sha256 in _bundled_hashes():
        return Licence("Apache-2.0", True, "comes with Backplate")
    if found := indexed(sha256):
        return Licence(found.licence, allows_commercial_use(found.licence), found.page) if found.licence else None
    return None


def licence_of_file(path: Path, sha256: str) -> Licence | None:
    """The licence of a weights file: by its hash, or by what it states about itself and the model it was trained
    from."""
    if path.parent.resolve() == BUNDLED.resolve():
        return Licence("Apache-2.0", True, "comes with Backplate")
    return licence_of(sha256) or _said_by(path)


@lru_cache(maxsize=1)
def _bundled_hashes() -> frozenset[str]:
    return frozenset(sha256_of(path) for path in BUNDLED.glob("*.safetensors"))


def _said_by(path: Path) -> Licence | None:
    card = card_of(path)
    base, name = str(card.get("base_sha256") or ""), str(card.get("base_model") or "")[:80]
    if parent := licence_of(base):
        return Licence(parent.text, parent.commercial_use, f"of {name}, from which it was trained; {parent.source}")
    trained, own = card.get("base_licence"), _metadata_of(path).get(OWN_LICENCE)
    if _is_short(trained):
        how = "trained from nothing" if trained == FROM_NOTHING else f"of {name}, from which it was trained"
        return said(trained, f"{how}, says the file")
    return said(own, "says the file") if _is_short(own) else None


def said(licence: str, source: str) -> Licence | None:
    """A licence stated only by its ``source``; None if that states none."""
    return Licence(licence, allows_commercial_use(licence), source) if licence else None


def _is_short(text: Any) -> TypeGuard[str]:
    return isinstance(text, str) and 0 < len(text) <= LONGEST_LICENCE


def _metadata_of(path: Path) -> dict[str, Any]:
    """Of a safetensors file; empty for others."""
    if path.suffix.lower() not in (".safetensors", ".sft"):
        return {}
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: Any = json.loads(file.read(length)) if length <= LARGEST_HEADER else {}
        found: Any = header.get("__metadata__", {})
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def card_of(path: Path) -> dict[str, Any]:
    """What a trained file records about its training; empty for other files."""
    try:
        card: Any = json.loads(_metadata_of(path).get(CARD_KEY, "{}"))
    except (ValueError, TypeError, RecursionError):
        return {}
    return cast("dict[str, Any]", card) if isinstance(card, dict) else {}


def licence_line(licence: str | None, commercial_use: bool | None, source: str = "") -> str:
    """For a person."""
    if not licence:
        return "licence not known: see where the model comes from"
    verdict = {True: "allowed", False: "NOT allowed", None: "not known"}[commercial_use]
    return f"licence {licence}: commercial use {verdict}" + (f" ({source})" if source else "")


def refuse_unless_commercial(name: str, sha256: str, licence: str | None, commercial_use: bool | None) -> None:
    """Raises ``LicenceError`` for a model whose commercial use is forbidden or unknown."""
    if commercial_use:
        return
    hashed = f"(SHA-256 {sha256})"
    instead = "choose one that allows it, such as RealESRGAN_x4plus (BSD-3-Clause) or backplate-lite-x4 (Apache-2.0)"
    if commercial_use is False:
        raise LicenceError(f"{name} {hashed} is under {licence}, which forbids commercial use: {instead}.")
    if licence:
        raise LicenceError(
            f"{name} {hashed} is under {licence}, and whether that allows commercial use is not known here: read it and"
            f" leave out the demand for commercial use if it does, or {instead}."
        )
    note = index_note()
    way = "" if has_index() and not note else "look it up with `backplate models index fetch` (OpenModelDB), or "
    listed = ", nor to OpenModelDB's list" if has_index() and not note else ""
    raise LicenceError(
        f"The licence of {name} {hashed} is not known here{listed}, so commercial use is not known to be allowed:"
        f" {way}{instead}.{f' {note}' if note else ''}"
    )
