"""Model files in folders: stable names for them, and the file for a name that a user typed."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import platformdirs

from .catalogue import entry_by_name
from .errors import ModelError, ModelNotFoundError

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".sft")
"""Suffixes of files that may hold weights which this package reads."""

BUNDLED = Path(__file__).parent / "bundled"
"""The models that come with this package."""

AUTO = "auto"
"""Stands for the model that ``preferred_model`` chooses."""

DEFAULT_MODEL = "backplate-standard-x4"
"""The bundled model for pictures when none is named and no Real-ESRGAN is installed."""

DEFAULT_VIDEO_MODEL = "backplate-lite-x4"
"""The same for video: small and fast."""

FOR_ANY_PICTURE = ("RealESRGAN_x4plus", "RealESRNet_x4plus", "RealESRGAN_x2plus", "realesr-general-x4v3")
"""Models of the catalogue that everybody may use and that are not just for drawings, in order of preference."""

_FOR_ANY_VIDEO = ("realesr-general-x4v3",)
"""Those of them that are small enough for video."""


def user_folder() -> Path:
    """Where models of this user are kept if no other folder is named; it need not exist yet."""
    return Path(platformdirs.user_data_dir("backplate", appauthor=False)) / "models"


def default_folders(models_dir: Path | None = None) -> list[Path]:
    """Folders to look in, most important first, without repeats; all but ``models_dir`` need not exist.

    ``models_dir``, then the folders in ``BACKPLATE_MODELS`` (separated as in ``PATH``), then
    ``$COMFYUI_PATH/models/upscale_models``, then ``user_folder()``, then ``BUNDLED``. Raises ``ModelError`` if
    ``models_dir`` is not a folder.
    """
    folders: list[Path] = []
    if models_dir is not None:
        if not models_dir.is_dir():
            raise ModelError(f"{models_dir} is not a folder: name the folder that holds the models.")
        folders.append(models_dir)
    named = os.environ.get("BACKPLATE_MODELS", "")
    folders += [Path(entry).expanduser() for entry in named.split(os.pathsep) if entry.strip()]
    if comfyui := os.environ.get("COMFYUI_PATH"):
        folders.append(Path(comfyui).expanduser() / "models" / "upscale_models")
    folders += [user_folder(), BUNDLED]
    return list(dict.fromkeys(folders))


def preferred_model(folders: Sequence[Path], *, video: bool = False) -> str:
    """The name, among ``folders``, of the model to use when none is named.

    The first of ``FOR_ANY_PICTURE`` that is there (for video only those that are small enough for it), else a bundled
    one. Models for anime are never chosen automatically: they wipe out the texture of photographs.
    """
    found: dict[str, str] = {}
    for name in model_files(folders):
        if entry := entry_by_name(PurePosixPath(name).name):
            found.setdefault(entry.name, name)
    order = (found[name] for name in (_FOR_ANY_VIDEO if video else FOR_ANY_PICTURE) if name in found)
    return next(order, DEFAULT_VIDEO_MODEL if video else DEFAULT_MODEL)


def model_files(folders: Sequence[Path], suffixes: Sequence[str] = SUFFIXES) -> dict[str, Path]:
    """Every model file in ``folders`` and below, by its path within its folder (with ``/`` on all systems).
    ``suffixes``: of the files to include, in lower case.

    Sorted by name without regard to case. Where two folders hold the same name, the earlier folder wins.
    Hidden files and folders are left out, links are followed, folders that do not exist are skipped.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for path in _walk(folder):
            if path.suffix.lower() in suffixes:
                found.setdefault(path.relative_to(folder).as_posix(), path)
    return dict(sorted(found.items(), key=lambda item: (item[0].lower(), item[0])))


def _walk(folder: Path) -> Iterator[Path]:
    visited: set[str] = set()
    for root, subfolders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in visited:  # a link to a parent folder
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (Path(root, name) for name in names if not name.startswith("."))


def find_model(name_or_path: str, folders: Sequence[Path], *, allow_paths: bool = True) -> Path:
    """The file that ``name_or_path`` means.

    In this order: the name of a file within one of ``folders`` (as ``model_files`` gives it), the path of an
    existing file (unless ``allow_paths`` is false: then nothing outside of ``folders`` is ever returned), a
    name without suffix or folder or in another case if just one file fits it. Raises ``ModelNotFoundError``
    with the source of a known model or the closest names, ``ModelError`` if several files fit.
    """
    name = name_or_path.strip()
    if not name:
        raise ModelNotFoundError("No model was named: give a file name or a path.")
    if inside := _file_within(name, folders):
        return inside
    if allow_paths and Path(name).expanduser().exists():
        return require_file(Path(name).expanduser())
    files = model_files(folders)
    fitting = [known for known in files if _fits(name, known)]
    if len(fitting) > 1:
        raise ModelError(f"{name} may mean {_list(fitting)}: give the whole name.")
    if not fitting:
        raise missing(name, files, folders)
    return files[fitting[0]]


def require_file(path: Path) -> Path:
    """``path`` if it is a file; otherwise a ``ModelError`` that says what is there or what comes close."""
    if path.is_dir():
        inside = list(model_files([path]))
        hint = f"name a file in it, such as {inside[0]}" if inside else "name a file of weights"
        raise ModelError(f"{path} is a folder: {hint}.")
    if not path.exists():
        raise missing(path.name, model_files([path.parent]), [path.parent])
    if not path.is_file():
        raise ModelError(f"{path} is not a regular file: name a file of weights.")
    return path


def missing(name: str, files: dict[str, Path], folders: Sequence[Path]) -> ModelNotFoundError:
    """The error for a model ``name`` that is not among ``files``, the model files of ``folders``."""
    where = _list([str(folder) for folder in folders]) or "no folder"
    lead = f"There is no model {name} in {where}"
    if entry := entry_by_name(PurePosixPath(name.replace("\\", "/")).name):
        return ModelNotFoundError(
            f"{lead}: download {entry.file} (licence {entry.licence}) from {entry.url} into"
            f" {folders[0] if folders else user_folder()}."
        )
    by_key = {known.lower(): known for known in files} | {_stem(known): known for known in files}
    close = difflib.get_close_matches(_stem(name), by_key, n=5, cutoff=0.5)
    if names := list(dict.fromkeys(by_key[key] for key in close))[:3]:
        return ModelNotFoundError(f"{lead}: did you mean {_list(names)}?")
    if files:
        return ModelNotFoundError(f"{lead}: choose one of its {len(files)}, such as {next(iter(files))}.")
    return ModelNotFoundError(f"{lead}: put a file of weights ({', '.join(SUFFIXES[:4])}) there.")


def _file_within(name: str, folders: Sequence[Path]) -> Path | None:
    """The file of that relative name, whether a model or not, unless the name leads outside its folder."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or Path(name).is_absolute():
        return None
    return next((folder / parts for folder in folders if (folder / parts).is_file()), None)


def _fits(name: str, known: str) -> bool:
    wanted = name.replace("\\", "/").lower()
    known = known.lower()
    base = known.rpartition("/")[2]
    return wanted in {known, base, known.rpartition(".")[0], base.rpartition(".")[0]}


def _stem(name: str) -> str:
    base = name.replace("\\", "/").rpartition("/")[2].lower()
    return base.rpartition(".")[0] if base.endswith(SUFFIXES) else base


def _list(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))
