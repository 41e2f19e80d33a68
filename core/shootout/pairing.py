"""Decides which files are compared with which."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import InputError
from ..media.picture.read import READABLE_SUFFIXES
from ..media.picture_folder import is_litter, natural_order

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".y4m")


class Kind(Enum):
    PICTURE = "picture"
    VIDEO = "video"


class FilePair(NamedTuple):
    name: str
    result: Path
    reference: Path


@dataclass(frozen=True)
class Pairing:
    """Pairs in natural order (``frame 2`` before ``frame 10``), and sentences about files without a partner."""

    pairs: tuple[FilePair, ...]
    problems: tuple[str, ...] = ()


def kind_of(path: Path) -> Kind | None:
    """The kind that the suffix indicates; None for neither."""
    suffix = path.suffix.lower()
    return Kind.PICTURE if suffix in READABLE_SUFFIXES else Kind.VIDEO if suffix in VIDEO_SUFFIXES else None


def pair_files(result: Path, reference: Path) -> Pairing:
    """Two files make one pair, whatever their names. Files in two folders and their subfolders are matched by name, or
    otherwise by name without the suffix.

    Raises ``InputError`` for a missing path, a file together with a folder, a folder with nothing to compare, and
    folders without a common name.
    """
    for path in (result, reference):
        if not path.exists():
            raise InputError(f"There is no file or folder {path}.")
    if result.is_dir() != reference.is_dir():
        folder, file = (result, reference) if result.is_dir() else (reference, result)
        raise InputError(f"{folder} is a folder and {file} a file; give two files or two folders.")
    if not result.is_dir():
        return Pairing((FilePair(result.name, result, reference),))
    ours, theirs = files_in(result), files_in(reference)
    pairs, problems = match_names(ours, theirs, (str(result), str(reference)))
    if not pairs:
        raise InputError(
            f"No name in {result} ({next(iter(ours))}, ...) is also in {reference} ({next(iter(theirs))}, ...); give "
            "the result the name of its reference."
        )
    return Pairing(tuple(FilePair(a, ours[a], theirs[b]) for a, b in pairs), tuple(problems))


def files_in(folder: Path) -> dict[str, Path]:
    """Pictures and videos below ``folder`` by their relative path (with /), in natural order, without hidden files and
    folders. Raises ``InputError`` if there are none or the folder cannot be listed."""
    found: dict[str, Path] = {}

    def refuse(error: OSError) -> None:
        raise InputError(f"{folder} cannot be listed ({error.strerror or error}).") from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not is_litter(name)]
        for name in files:
            path = Path(parent, name)
            if not is_litter(name) and kind_of(path):
                found[path.relative_to(folder).as_posix()] = path
    if not found:
        raise InputError(f"{folder} holds no picture or video ({', '.join((*READABLE_SUFFIXES, *VIDEO_SUFFIXES))}).")
    return {name: found[name] for name in sorted(found, key=natural_order)}


def match_names(
    ours: Iterable[str], theirs: Iterable[str], folders: tuple[str, str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs of names, and a sentence for each name on either side without a partner."""
    ours, theirs = list(ours), dict.fromkeys(theirs)
    by_stem: dict[str, list[str]] = {}
    for name in theirs:
        by_stem.setdefault(_stem(name), []).append(name)
    pairs: list[tuple[str, str]] = []
    problems: list[str] = []
    for name in ours:
        candidates = [name] if name in theirs else by_stem.get(_stem(name), [])
        if len(candidates) == 1:
            pairs.append((name, candidates[0]))
        elif candidates:
            problems.append(f"{name} could belong to {' or '.join(candidates)} of {folders[1]}; give it one partner.")
        else:
            problems.append(f"{name} of {folders[0]} has no partner in {folders[1]}.")
    used = {partner for _, partner in pairs}
    stems = {_stem(name) for name in ours}
    problems += [
        f"{name} of {folders[1]} has no partner in {folders[0]}."
        for name in theirs
        if name not in used and _stem(name) not in stems
    ]
    return pairs, problems


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
