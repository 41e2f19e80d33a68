"""Pictures in folders: listing and ordering them, naming their results, and sharing them out between machines."""

# Pillow publishes partial types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from ..errors import InputError
from ..image.fit import Target, pixels_for_model
from ..types import Size
from .picture.mask import SIDECAR, is_of_a_picture, is_sidecar
from .picture.read import READABLE_SUFFIXES, format_of, readable_formats

FIELD = re.compile(r"\{(stem|suffix|model|index)(?:(?<=index):(0?[1-9]d))?\}")
LONGEST_TEMPLATE = 200
LONGEST_PATH = 1000
MOST_KINDS_NAMED = 6


class Source(NamedTuple):
    """A picture to read. ``name`` is its path relative to the input folder, with ``/`` on every system."""

    name: str
    path: Path


class FileTask(NamedTuple):
    """A picture to read and the file to write. ``output_name`` is the path of ``output`` relative to the output folder,
    with ``/``."""

    name: str
    source: Path
    output_name: str
    output: Path


@dataclass(frozen=True)
class Shard:
    """The ``number``-th (from 1) of ``parts`` parts of a folder."""

    number: int
    parts: int

    def __str__(self) -> str:
        return f"{self.number}/{self.parts}"

    @property
    def suffix(self) -> str:
        """The part of a file name that identifies this shard."""
        return f".shard-{self.number}-of-{self.parts}"

    def holds(self, name: str) -> bool:
        """Whether the picture of that name belongs to this shard. Only the SHA-256 of the name decides, neither the
        machine nor the other pictures."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.parts == self.number - 1


@dataclass(frozen=True)
class NameTemplate:
    """The name of a result, without suffix: ``text`` with ``{stem}`` and ``{suffix}`` of the source, its number
    ``{index}`` in the folder (from 1; ``{index:04d}`` with leading zeros) and the name of the ``{model}``."""

    text: str
    model: str

    def name_for(self, source: PurePosixPath, index: int) -> str:
        values = {"stem": source.stem, "suffix": source.suffix.lower()[1:], "index": index, "model": self.model}
        return FIELD.sub(lambda field: format(values[field[1]], field[2] or ""), self.text)


def parse_shard(text: str) -> Shard:
    """``2/4`` is the second of four parts. Raises ``InputError`` for anything else."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    shard = Shard(int(match[1]), int(match[2])) if match else Shard(0, 0)
    if not 1 <= shard.number <= shard.parts:
        raise InputError(f"{text!r} is not a part of a folder; write 1/4 to 4/4 for four parts.")
    return shard


def parse_template(text: str, model: str) -> NameTemplate:
    """Checks a name template. Raises an ``InputError`` that lists the fields."""
    if re.search(r"[{}]", FIELD.sub("", text)):
        raise InputError(
            f"The name template {text[:60]!r} has an unknown field; the fields are {{stem}}, {{suffix}}, {{index}}, "
            "{index:04d} and {model}."
        )
    if not 0 < len(text) <= LONGEST_TEMPLATE or re.search(r"[/\\\x00]", text) or text[0] in ". " or text.isspace():
        raise InputError(
            f"The name template {text[:60]!r} is not a file name; write 1 to {LONGEST_TEMPLATE} characters, no slashes."
        )
    return NameTemplate(text, PurePosixPath(model.replace("\\", "/")).name)


def natural_order(name: str) -> tuple[list[list[tuple[int, int, str]]], str]:
    """Sorts ``frame 2`` before ``frame 10``, ignoring case unless only case differs, folder by folder."""
    parts = [
        [
            (0, int(chunk), "") if chunk.isdecimal() else (1, 0, chunk.casefold())
            for chunk in re.findall(r"\d+|\D+", part)
        ]
        for part in name.split("/")
    ]
    return parts, name


LITTER = frozenset(
    (
        "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler",
        "system volume information", "__macosx", "lost+found", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db",
        "desktop.ini",
    )
)  # fmt: skip
"""What network drives, Windows and macOS leave in folders, in lower case: thumbnails, deleted files, snapshots."""


def is_litter(name: str) -> bool:
    """Whether a file or folder of that name is hidden or belongs to the system."""
    return name.startswith(".") or name.casefold() in LITTER


def list_pictures(folder: Path, *, recursive: bool, without: Path | None = None) -> list[Source]:
    """The picture files in ``folder`` in natural order, by their suffix. Leaves out hidden and system files and
    folders, masks beside pictures (``NAME.protect.png``), and the folder ``without`` (where the results go). Links are
    followed, once each.

    Raises ``InputError`` if there are none, or the folder cannot be listed.
    """
    names = sorted(filter(_is_picture, _names(folder, recursive, without)), key=natural_order)
    if not names:
        where = "in or below" if recursive else "directly inside"
        others = passed_over_text(passed_over(folder, recursive=recursive, without=without))
        raise InputError(f"{folder}: no pictures {where} ({', '.join(READABLE_SUFFIXES)}).{others and f' {others}'}")
    return [Source(name, folder / name) for name in names]


def passed_over(folder: Path, *, recursive: bool, without: Path | None = None) -> Counter[str]:
    """How many files of each suffix ``list_pictures`` skips because they are not pictures."""
    names = (name for name in _names(folder, recursive, without) if not (_is_picture(name) or is_sidecar(name)))
    return Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in names)


def passed_over_text(counts: Mapping[str, int]) -> str:
    """A sentence, empty if there was nothing."""
    if not counts:
        return ""
    total = sum(counts.values())
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kinds = [f"{count:,} {suffix}" for suffix, count in order[:MOST_KINDS_NAMED]]
    kinds += (
        [f"{sum(count for _, count in order[MOST_KINDS_NAMED:]):,} others"] if len(order) > MOST_KINDS_NAMED else []
    )
    files = "1 file was" if total == 1 else f"{total:,} files were"
    return f"{files} passed over: {', '.join(kinds)}."


def lone_masks(folder: Path, *, recursive: bool, without: Path | None = None) -> list[str]:
    """Masks without a picture of the same name beside them, in natural order."""
    names = list(_names(folder, recursive, without))
    beside: dict[PurePosixPath, set[str]] = {}
    for path in map(PurePosixPath, names):
        beside.setdefault(path.parent, set()).add(path.name)
    others = {parent: frozenset(inside) for parent, inside in beside.items()}
    paths = [PurePosixPath(name) for name in names if is_sidecar(name)]
    lone = [path.as_posix() for path in paths if not is_of_a_picture(path.name, others[path.parent])]
    return sorted(lone, key=natural_order)


def lone_masks_text(names: Sequence[str]) -> str:
    """A sentence, empty if there are none."""
    if not names:
        return ""
    more = f" and {len(names) - MOST_KINDS_NAMED:,} more" if len(names) > MOST_KINDS_NAMED else ""
    has, it = ("A mask has", "it") if len(names) == 1 else (f"{len(names):,} masks have", "them")
    listed = ", ".join(names[:MOST_KINDS_NAMED])
    return f"{has} no picture of the same name beside {it}: {listed}{more}; photo{SIDECAR} goes with photo.jpg."


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in READABLE_SUFFIXES and not is_sidecar(name)


def _names(folder: Path, recursive: bool, without: Path | None) -> Iterator[str]:
    """All files that are neither hidden nor the system's."""
    left_out = {os.path.realpath(without)} if without is not None else set[str]()
    for root, subfolders, files in os.walk(folder, followlinks=True, onerror=_refuse(folder)):
        real = os.path.realpath(root)
        if real in left_out:
            subfolders.clear()
            continue
        left_out.add(real)
        subfolders[:] = sorted(name for name in subfolders if recursive and not is_litter(name))
        for name in files:
            path = Path(root, name)
            if not is_litter(name) and path.is_file():
                yield path.relative_to(folder).as_posix()


def _refuse(folder: Path) -> Callable[[OSError], None]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename or folder}: cannot be listed ({error.strerror or error}).") from error

    return refuse


def plan_tasks(
    sources: Sequence[Source],
    output: Path,
    suffix: str | None = None,
    template: NameTemplate | None = None,
    allowed: Sequence[str] = (),
) -> list[FileTask]:
    """What to read and what to write, in the order of ``sources``; sub-folders are mirrored under ``output``.

    Names are kept. So are suffixes, unless ``suffix`` is given or the source's format cannot be written (then PNG). If
    ``allowed`` lists suffixes, its first one replaces any other suffix. If two results would have the same name (a.png
    and a.jpg, both to PNG; also A.png and a.png), the source that has the suffix of the result keeps the name, else the
    first one; every other source's suffix becomes part of its name (a_jpg.png), with a number if that is taken too. So
    names do not depend on which pictures are processed when.
    """
    wanted = [_wanted_name(source, index, suffix, template, allowed) for index, source in enumerate(sources, start=1)]
    order = sorted(range(len(sources)), key=lambda i: not _keeps_suffix(sources[i].name, wanted[i]))
    taken: set[str] = set()
    names = dict.fromkeys(range(len(sources)), "")
    for index in order:
        names[index] = _free_name(wanted[index], sources[index].name, taken)
        taken.add(names[index].casefold())
    return [FileTask(*source, names[index], output / names[index]) for index, source in enumerate(sources)]


def _wanted_name(
    source: Source, index: int, suffix: str | None, template: NameTemplate | None, allowed: Sequence[str]
) -> str:
    path = PurePosixPath(source.name)
    ending = suffix or _writable_suffix(path)
    if suffix is None and allowed and ending.lower() not in allowed:
        ending = allowed[0]
    stem = template.name_for(path, index) if template else path.stem
    return (path.parent / f"{stem}{ending}").as_posix()


def _writable_suffix(path: PurePosixPath) -> str:
    try:
        format_of(path)
    except InputError:
        return ".png"
    return path.suffix


def _keeps_suffix(source: str, output: str) -> bool:
    return PurePosixPath(source).suffix.lower() == PurePosixPath(output).suffix.lower()


def _free_name(wanted: str, source: str, taken: set[str]) -> str:
    path = PurePosixPath(wanted)
    own = PurePosixPath(source).suffix.lower()[1:]
    candidate, number = wanted, 1
    while candidate.casefold() in taken:
        ending = f"_{own}" if number == 1 else f"_{own}_{number}"
        candidate = (path.parent / f"{path.stem}{ending}{path.suffix}").as_posix()
        number += 1
    return candidate


def refuse_inputs_as_outputs(tasks: Iterable[FileTask]) -> None:
    """Raises ``InputError`` if a result would replace one of the pictures that are read."""
    tasks = list(tasks)
    sources = {os.path.realpath(task.source): task.source for task in tasks}
    for task in tasks:
        if source := sources.get(os.path.realpath(task.output)):
            raise InputError(f"the output {task.output} is the input {source}; name another file or folder.")


def within(path: Path, roots: Sequence[Path]) -> bool:
    """Whether ``path``, with all links followed, lies in one of ``roots`` or is one."""
    real = os.path.realpath(path)
    real_roots = [os.path.realpath(root) for root in roots]
    return any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for root in real_roots)


def contained(name: str, base: Path, others: Sequence[Path] = ()) -> Path:
    """The path that ``name`` means within ``base``, or an absolute one within ``base`` or ``others``.

    For names from a graph or an API call: links are followed, and what leads out raises ``InputError``.
    """
    parts = name.replace("\\", "/").split("/")
    if "\0" in name or len(name) > LONGEST_PATH or any(len(part.encode("utf-8", "replace")) > 255 for part in parts):
        raise InputError(
            f"{name[:80]!r} is not a path: it has a NUL character, a part of more than 255 bytes, or more than "
            f"{LONGEST_PATH} characters."
        )
    path = base / name
    if not within(path, [base, *others]):
        raise InputError(f"{name[:80]!r} leads outside {base}; name a folder inside it.")
    return path


HEADERS_READ = 64


def pixels_of(paths: Sequence[Path], target: Target | None = None) -> int:
    """About how many pixels of the pictures a model is given together on the way to ``target``, from the headers of up
    to ``HEADERS_READ`` of them; those that cannot be brought to it count as they are."""
    sizes = [size_in_header(path) for path in paths[:: len(paths) // HEADERS_READ + 1]]
    known = [_pixels_for_model(size, target) for size in sizes if size is not None]
    return round(sum(known) / len(known) * len(paths)) if known else 0


def _pixels_for_model(size: Size, target: Target | None) -> int:
    try:
        return pixels_for_model(size, target)
    except InputError:
        return size.pixels


def size_in_header(path: Path) -> Size | None:
    """Width and height from the file's header, not decoded and not turned upright; None if it cannot be read."""
    try:
        with Image.open(path, formats=readable_formats()) as image:
            return Size(image.width, image.height)
    except Exception:  # noqa: BLE001  a damaged file is refused when it is read, with the reason
        return None
