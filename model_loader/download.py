"""One file from the web to the disk: resumable, and never under its final name unless it is the right one."""

from __future__ import annotations

import http.client
import os
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .errors import DownloadError
from .files import in_megabytes, sha256_of

_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 30.0
_one_at_a_time = threading.Lock()


def download(url: str, target: Path, *, size: int, sha256: str, on_progress: Callable[[int, int], None]) -> Path:
    """Fetch ``url`` to ``target`` and return it.

    The bytes go to ``target`` + ``.part``; an interrupted transfer leaves that file, and the next call
    continues it with an HTTP Range request, or from the start where the server does not know Range. The file
    gets its final name after its size and SHA-256 were checked; on another hash the part is removed.
    ``on_progress`` receives (bytes so far, ``size``) and may raise to stop; its exception passes through.
    Transfers of one process run one after the other. Raises ``DownloadError``.
    """
    with _one_at_a_time:
        if target.exists():
            return check_existing(target, size=size, sha256=sha256)
        part = target.with_name(target.name + ".part")
        _make_room(part, size)
        if _size_of(part) < size:
            _transfer(url, part, size, on_progress)
        _check_part(part, url, size, sha256)
        try:
            os.replace(part, target)
        except OSError as error:
            raise DownloadError(f"{part} could not be renamed to {target.name}: {error.strerror}.") from error
        return target


def check_existing(target: Path, *, size: int, sha256: str) -> Path:
    """``target`` if it holds exactly what was promised; ``DownloadError`` with both hashes otherwise."""
    if not target.is_file():
        raise DownloadError(f"{target} exists and is not a file: move it, then fetch again.")
    try:
        found = sha256_of(target)
    except OSError as error:
        raise DownloadError(f"{target} exists but cannot be read: {error.strerror}.") from error
    if found != sha256:
        raise DownloadError(
            f"{target} exists but differs from the published file ({in_megabytes(_size_of(target))} with"
            f" SHA-256 {found}, expected {in_megabytes(size)} with {sha256}): move it away, then fetch again."
        )
    return target


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _make_room(part: Path, size: int) -> None:
    """Make the folder, drop a part that is too long to be the start of this file, look for free space."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if _size_of(part) > size:
            part.unlink()
        missing, free = size - _size_of(part), shutil.disk_usage(part.parent).free
    except OSError as error:
        raise DownloadError(f"{part.parent} cannot be written: {error.strerror}; name another folder.") from error
    if missing > free:
        raise DownloadError(
            f"{part.parent} has {in_megabytes(free)} free and {in_megabytes(missing)} are needed for"
            f" {part.stem}: free some space or name another folder."
        )


def _transfer(url: str, part: Path, size: int, on_progress: Callable[[int, int], None]) -> None:
    done = _size_of(part)
    request = urllib.request.Request(url, headers={"User-Agent": "backplate"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            if done and not _continues_at(response, done):
                done = 0
            _check_offer(response, url, done, size)
            with _open(part, done) as file:
                _copy(response, file, done, size, on_progress)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:
            part.unlink()  # the next request asks for everything, so this happens once
            return _transfer(url, part, size, on_progress)
        raise DownloadError(
            f"{url} answered {error.code} {error.reason}: try again later or download the file by hand."
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DownloadError(
            f"{url} could not be read ({reason}), {_size_of(part)} of {size} bytes are kept: check the"
            " network and fetch again to continue from there."
        ) from error
    if _size_of(part) < size:
        raise DownloadError(
            f"{url} broke off after {_size_of(part)} of {size} bytes: fetch again to continue from there."
        )


def _continues_at(response: http.client.HTTPResponse, offset: int) -> bool:
    found = response.headers.get("Content-Range", "")
    return response.status == 206 and found.startswith(f"bytes {offset}-")


def _check_offer(response: http.client.HTTPResponse, url: str, done: int, size: int) -> None:
    offered = response.headers.get("Content-Length", "")
    if offered.isdigit() and done + int(offered) != size:
        raise DownloadError(
            f"{url} offers {done + int(offered)} bytes where {size} are expected, so it is not the published"
            " file: try again later or download it by hand."
        )


def _open(part: Path, done: int) -> BinaryIO:
    try:
        return part.open("ab" if done else "wb")
    except OSError as error:
        raise DownloadError(f"{part} cannot be written: {error.strerror}; name another folder.") from error


def _copy(
    response: http.client.HTTPResponse,
    file: BinaryIO,
    done: int,
    size: int,
    on_progress: Callable[[int, int], None],
) -> None:
    on_progress(done, size)
    while done <= size and (chunk := response.read(_CHUNK)):
        done += len(chunk)
        try:
            file.write(chunk)
            file.flush()
        except OSError as error:
            raise DownloadError(
                f"{file.name} could not be written after {done - len(chunk)} of {size} bytes:"
                f" {error.strerror}; free some space and fetch again to continue from there."
            ) from error
        on_progress(min(done, size), size)


def _check_part(part: Path, url: str, size: int, sha256: str) -> None:
    length, found = _size_of(part), sha256_of(part)
    if length == size and found == sha256:
        return
    part.unlink()
    raise DownloadError(
        f"{url} gave {length} bytes with SHA-256 {found} where {size} bytes with {sha256} are expected;"
        " the download was removed: try again, and do not use the file if it happens again."
    )
