"""OpenModelDB's list of models with their hashes and licences, in the user's data folder if it was fetched.

The list (https://openmodeldb.info, format: ``src/lib/schema.ts`` of its repository) is under GPL-3.0 and never comes
with this package. It is read only on request, checked field by field, and kept as a table of hashes.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import platformdirs

from .errors import LicenceIndexError, one_line
from .files import in_megabytes

INDEX_URL = "https://openmodeldb.info/api/v1/models.json"
PAGES = "https://openmodeldb.info/models/"
LARGEST = 32_000_000
"""Bytes of a list; that of 2026 has 1.4 million for 671 models."""
MOST_MODELS = 20_000
OLD_DAYS = 365
FORMAT, VERSION = "backplate.licences", 1
AGAIN = "fetch it again with `backplate models index fetch`"

_TIMEOUT_SECONDS = 30.0
_DAY = 86_400
_IDENTIFIER = re.compile(r"[\w.+()-]{1,120}", re.ASCII)
_LICENCE = re.compile(r"[A-Za-z0-9.+-]{1,64}( (OR|AND|WITH) [A-Za-z0-9.+-]{1,64}){0,8}")
_HASH = re.compile(r"[0-9a-f]{64}")


class Row(NamedTuple):
    """One published file. ``licence``: empty where the list has none."""

    sha256: str
    model: str
    licence: str


@dataclass(frozen=True)
class Indexed:
    """What the list says about a file."""

    model: str
    licence: str

    @property
    def page(self) -> str:
        return PAGES + self.model


@dataclass(frozen=True)
class Index:
    """``made``: seconds since 1970. ``source``: an address or the name of a file."""

    made: float
    source: str
    files: dict[str, Indexed]

    @property
    def days_old(self) -> int:
        return max(0, int((time.time() - self.made) / _DAY))


def index_path() -> Path:
    """Where the table is kept; it need not exist."""
    return Path(platformdirs.user_data_dir("backplate", appauthor=False)) / "openmodeldb.json"


def fetch_index(url: str = INDEX_URL) -> Index:
    """Downloads and stores the list. Raises ``LicenceIndexError`` and then leaves the stored list unchanged."""
    if not url.startswith(("https://", "http://")):
        raise LicenceIndexError(f"{url} is not a web address; it must begin with https://.")
    request = urllib.request.Request(url, headers={"User-Agent": "backplate"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            content: bytes = response.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        raise LicenceIndexError(
            f"{url} answered {error.code} {error.reason}: try again later, or import a file that you downloaded."
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise LicenceIndexError(
            f"{url} could not be read ({reason}): check the network, or import a file that you downloaded."
        ) from error
    return _keep(rows_of(content, url), url)


def import_index(source: Path) -> Index:
    """Reads ``models.json`` as OpenModelDB publishes it, or the folder ``data/models`` of its repository, and keeps it.
    Raises ``LicenceIndexError``."""
    try:
        if source.is_dir():
            return _keep(_rows_of_folder(source), source.name)
        with source.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise LicenceIndexError(f"{source} cannot be read: {error.strerror or error}.") from error
    return _keep(rows_of(content, source.name), source.name)


def _rows_of_folder(folder: Path) -> list[Row]:
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise LicenceIndexError(f"{folder} holds no *.json; name the folder data/models of OpenModelDB's repository.")
    if (size := sum(path.stat().st_size for path in paths)) > LARGEST or len(paths) > MOST_MODELS:
        raise LicenceIndexError(
            f"{folder} holds {len(paths)} files of {in_megabytes(size)}, which cannot be a list of models."
        )
    return [
        row for path in paths for row in _rows_of_model(path.stem, _parsed(path.read_bytes(), path.name), path.name)
    ]


def rows_of(content: bytes, source: str) -> list[Row]:
    """The files of a list; ``source`` is what the errors name. Raises ``LicenceIndexError`` for the first invalid
    field."""
    if len(content) > LARGEST:
        raise LicenceIndexError(f"{source} is larger than {in_megabytes(LARGEST)}, too large for a list of models.")
    models = _parsed(content, source)
    if not isinstance(models, dict) or not 0 < len(cast("dict[str, Any]", models)) <= MOST_MODELS:
        raise LicenceIndexError(
            f"{source} is not a list of models: an object with 1 to {MOST_MODELS:,} of them is expected."
        )
    named = cast("dict[str, Any]", models)
    return [row for name, model in named.items() for row in _rows_of_model(name, model, source)]


def _parsed(content: bytes, source: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = one_line(error, 80)
        raise LicenceIndexError(f"{source} is not JSON ({reason}); it is cut off, or a web page.") from error


def _rows_of_model(name: str, model: Any, source: str) -> list[Row]:
    where = f"{source}: the model {name[:60]!r}"
    if not _IDENTIFIER.fullmatch(name):
        raise LicenceIndexError(f"{where} has an invalid name.")
    if not isinstance(model, dict):
        raise LicenceIndexError(f"{where} is not an object.")
    fields = cast("dict[str, Any]", model)
    licence, resources = fields.get("license", ""), fields.get("resources")
    if not (licence is None or (isinstance(licence, str) and _LICENCE.fullmatch(licence))):
        raise LicenceIndexError(f"{where} has a licence that is not an SPDX expression: {str(licence)[:60]!r}.")
    if not isinstance(resources, list):
        raise LicenceIndexError(f"{where} has no list of resources.")
    hashes = [_hash_of(resource, where) for resource in cast("list[Any]", resources)]
    return [Row(digest, name, licence or "") for digest in hashes if digest]


def _hash_of(resource: Any, where: str) -> str:
    digest = cast("dict[str, Any]", resource).get("sha256") if isinstance(resource, dict) else 0
    if digest is None:
        return ""
    if not isinstance(digest, str) or not _HASH.fullmatch(digest.lower()):
        raise LicenceIndexError(f"{where} has a resource with an invalid SHA-256: {str(digest)[:70]!r}.")
    return digest.lower()


def _keep(rows: list[Row], source: str) -> Index:
    if not rows:
        raise LicenceIndexError(f"{source} names no file with a SHA-256.")
    files: dict[str, Indexed] = {}
    for row in rows:
        known = files.get(row.sha256)
        files[row.sha256] = _both(known, row) if known else Indexed(row.model, row.licence)
    index = Index(float(int(time.time())), source, files)
    values = {
        "format": FORMAT,
        "version": VERSION,
        "made": index.made,
        "source": source,
        "files": {digest: [each.model, each.licence] for digest, each in files.items()},
    }
    _write(index_path(), json.dumps(values, indent=0).encode("ascii"))
    return index


def _both(known: Indexed, row: Row) -> Indexed:
    """One file under two names: both licences apply, and if one is unknown, so is the result."""
    licences = sorted({known.licence, row.licence})
    return Indexed(known.model, "" if "" in licences else " AND ".join(licences))


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
        raise LicenceIndexError(f"{path} cannot be written: {error.strerror or error}.") from error


def read_index() -> Index | None:
    """The stored table; None if there is none. Raises ``LicenceIndexError`` for one that is damaged, or of
    another version."""
    path = index_path()
    try:
        status = path.stat()
    except OSError:
        return None
    key = (str(path), status.st_mtime_ns, status.st_size)
    if _read.get("key") != key:
        _read.update(key=key, index=_read_from(path, status.st_size))
    return _read["index"]


_read: dict[str, Any] = {}
"""The table that was read last, and its file."""


def _read_from(path: Path, size: int) -> Index:
    if size > LARGEST:
        raise LicenceIndexError(f"{path} has {in_megabytes(size)}, more than a table of licences; {AGAIN}.")
    try:
        values: dict[str, Any] = json.loads(path.read_bytes())
        if (values["format"], values["version"]) != (FORMAT, VERSION):
            raise LicenceIndexError(f"{path} is from another version of Backplate; {AGAIN}.")
        files = {
            _sound_hash(digest): Indexed(str(model), str(text)) for digest, (model, text) in values["files"].items()
        }
        return Index(float(values["made"]), str(values["source"]), files)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        if isinstance(error, LicenceIndexError):
            raise
        raise LicenceIndexError(f"{path}, the table of licences, is damaged; {AGAIN}.") from error


def _sound_hash(digest: str) -> str:
    if not _HASH.fullmatch(digest):
        raise ValueError(digest)
    return digest


def indexed(sha256: str) -> Indexed | None:
    """What the table says about a file; None too where there is no table, or a damaged one: see ``index_note``."""
    with suppress(LicenceIndexError):
        index = read_index()
        return index.files.get(sha256.lower()) if index else None
    return None


def has_index() -> bool:
    return index_path().is_file()


def index_note() -> str:
    """A note on the table if it is damaged or old; else empty."""
    try:
        index = read_index()
    except LicenceIndexError as error:
        return str(error)
    if index is None or index.days_old <= OLD_DAYS:
        return ""
    return f"The table of licences is {index.days_old} days old; {AGAIN}."
