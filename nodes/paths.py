"""Folders that a graph can name: ComfyUI's input and output folder, and those that the user adds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import folder_paths  # pyright: ignore[reportMissingImports]

from ..core.errors import InputError
from ..core.media.picture_folder import LONGEST_PATH, contained, within

EXTRA_ROOTS = "BACKPLATE_EXTRA_ROOTS"
WHOLE_INPUT = "."
LONGEST_PREFIX = 200
"""Bytes of a name: 255 that file systems take, less a number, a suffix and what a temporary name has more."""


def extra_roots() -> list[Path]:
    """Folders beside ComfyUI's own that may be read and written, from ``BACKPLATE_EXTRA_ROOTS`` (as in ``PATH``)."""
    named = os.environ.get(EXTRA_ROOTS, "").split(os.pathsep)
    return [Path(entry).expanduser() for entry in named if entry.strip() and Path(entry).expanduser().is_absolute()]


def picture_folders() -> list[str]:
    """The readable folders: ComfyUI's input folder, its sub-folders, the extra roots and the folders directly in
    them."""
    below = [
        name for name in folder_paths.get_input_subfolders() if not any(p.startswith(".") for p in name.split("/"))
    ]
    extra = [str(folder) for root in extra_roots() if root.is_dir() for folder in (root, *_folders_in(root))]
    return [WHOLE_INPUT, *below, *extra]


def _folders_in(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def input_roots() -> tuple[Path, ...]:
    return (Path(folder_paths.get_input_directory()), *extra_roots())


def picture_folder(name: str) -> Path:
    """The folder behind a name of ``picture_folders``. Raises ``InputError`` for one that is not there or leads out of
    the folders that may be read."""
    inside, *others = input_roots()
    folder = contained(name, inside, others)
    if not folder.is_dir():
        raise InputError(f"There is no folder {name!r} in {inside}; create it, or choose another.")
    return folder


def input_file(name: str) -> Path:
    """The file of that name in ComfyUI's input folder, or an absolute one in an extra root; it need not exist. Raises
    ``InputError`` for one that leads out of them."""
    inside, *others = input_roots()
    return contained(name, inside, others)


def listed(paths: Iterable[Path]) -> list[dict[str, str]]:
    """The files as /history lists them and /view takes them; without those outside of ComfyUI's output folder."""
    base = Path(folder_paths.get_output_directory()).resolve()
    inside = [path.resolve() for path in paths if within(path, [base])]
    return [
        {"filename": path.name, "subfolder": path.parent.relative_to(base).as_posix(), "type": "output"}
        for path in inside
    ]


def shown(path: Path) -> str:
    """The path as the user knows it: relative to ComfyUI's folder, if the file lies there."""
    for base in (folder_paths.get_output_directory(), folder_paths.get_temp_directory()):
        if within(path, [Path(base)]):
            return f"{Path(base).name}/{path.resolve().relative_to(Path(base).resolve()).as_posix()}"
    return str(path)


def result_file(name: str, suffix: str) -> Path:
    """The file of that name, to which ``suffix`` is added, in ComfyUI's output folder, or an absolute one in an extra
    root. Raises ``InputError`` for one that leads out of them."""
    base, name = Path(folder_paths.get_output_directory()), name.strip()
    if name.lower().endswith(suffix):
        name = name[: -len(suffix)]
    if not name or name.endswith(("/", "\\", ".")):
        raise InputError("file_name has no file name in it; write one, such as engines/my_model.")
    return contained(name + suffix, base, extra_roots())


def numbered_name(prefix: str, base: str, width: int = 0, height: int = 0) -> tuple[Path, str, str]:
    """Where the next file or folder of that prefix goes, as ComfyUI numbers its own: the folder, the name without a
    suffix, and the sub-folder of ``base``. ``%width%`` and ``%height%`` in a prefix become the sides.

    Raises ``InputError`` for a prefix that is not a name, or leads out of ``base``, also through a link.
    """
    if fault := _fault(prefix):
        raise InputError(f"filename_prefix {prefix[:60]!r} {fault}; try video/backplate.")
    if not within(Path(base, prefix).parent, [Path(base)]) or prefix.startswith(("/", "\\")):
        raise InputError(f"filename_prefix {prefix[:60]!r} leads outside ComfyUI's folder; name one inside it.")
    try:
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, base, width, height)
    except Exception as error:  # ComfyUI raises plain ones, which name folders of the server
        reason = error.strerror if isinstance(error, OSError) else "it is not allowed there"
        raise InputError(f"filename_prefix {prefix[:60]!r} cannot be used ({reason}); choose another.") from error
    return Path(folder), f"{name}_{counter:05}_", subfolder


def _fault(prefix: str) -> str:
    """Why a prefix is not a valid file name."""
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in prefix):
        return "has a character that no name may have"
    parts = prefix.replace("\\", "/").split("/")
    longest = max(len(part.encode()) for part in parts)
    if longest > LONGEST_PREFIX or len(prefix) > LONGEST_PATH:
        allowed = f"{LONGEST_PREFIX} and {LONGEST_PATH} are allowed"
        return f"has {longest} bytes in a part and {len(prefix)} letters, and {allowed}"
    return "names no file" if parts[-1] in ("", ".", "..") else ""


def result_folder(name: str) -> Path:
    """The folder of that name in ComfyUI's output folder, or an absolute one in an extra root; it need not exist.
    Raises ``InputError`` for one that leads out of them, and for the output folder itself."""
    base = Path(folder_paths.get_output_directory())
    folder = contained(name.strip(), base, extra_roots())
    if os.path.realpath(folder) == os.path.realpath(base):
        raise InputError("output_folder is empty; name a folder for the results, such as products_2000.")
    return folder
