"""A setting that won, as a file that upscale, batch, video and the folder node take."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

from ...model_loader.files import sha256_of
from ...model_loader.find import model_files
from ..atomic_write import write_atomic
from ..errors import InputError

KIND = "backplate preset"
FORMAT = 1
LARGEST = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Preset:
    """``label``: what it was called in the study. ``model``: the name of the model's file; ``sha256`` says which it is.
    ``sharpen`` 0 is none. ``size``: as ``--size``, ``scale``: as ``--scale``; at most one of them."""

    label: str
    model: str
    sha256: str
    engine: str = "pytorch"
    precision: str = "auto"
    sharpen: float = 0.0
    size: str | None = None
    scale: float | None = None
    fit: str | None = None


def preset_of(label: str, settings: Mapping[str, Any]) -> Preset:
    """From what a study stores of a side. Raises ``InputError`` if that is nothing, or no model."""
    if not settings:
        raise InputError(
            f"The study was made from finished results, which do not say what made {label}; make the study with "
            "--models to get a preset."
        )
    if not settings.get("sha256"):
        raise InputError(f"{label} is plain resampling and needs no model, so it has no preset.")
    return _checked(label, {**settings, "label": label})


def write_preset(path: Path, preset: Preset) -> None:
    """Raises ``OSError``."""
    data = {"kind": KIND, "format": FORMAT, **asdict(preset)}
    write_atomic(path, (json.dumps(data, indent=1) + "\n").encode())


def read_preset(path: Path) -> Preset:
    """Raises ``InputError`` for a file that is no preset."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} is too large for a preset; name the file that --write-preset wrote.")
        data: Any = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); name a preset.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a preset ({error}); name the file that --write-preset wrote.") from error
    if not isinstance(data, dict) or cast("dict[str, Any]", data).get("kind") != KIND:
        raise InputError(f"{path} is not a preset; name the file that `backplate study tally --write-preset` wrote.")
    given = cast("dict[str, Any]", data)
    if given.get("format") != FORMAT:
        raise InputError(f"{path} has format {given.get('format')}, and this version reads {FORMAT}; update it.")
    return _checked(str(path), given)


def _checked(name: str, data: Mapping[str, Any]) -> Preset:
    known = {each.name: each.default for each in fields(Preset)}
    given = {field: value for field, value in data.items() if field in known}
    texts, numbers = ("label", "model", "sha256", "engine", "precision", "size", "fit"), ("sharpen", "scale")
    for field, value in given.items():
        optional = value is None and field in ("size", "scale", "fit")
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1000
        if not (optional or (field in texts and isinstance(value, str)) or (field in numbers and number)):
            raise InputError(f"{name}: {field} of a preset cannot be {value!r}.")
    digits = given.get("sha256", "")
    if len(digits) != 64 or set(digits) - set("0123456789abcdef") or not given.get("model") or "label" not in given:
        raise InputError(f"{name}: a preset needs label, model and sha256, of 64 small hexadecimal digits.")
    return Preset(**given)


def model_of(preset: Preset, folders: Sequence[Path]) -> Path:
    """The file of the preset's model, whatever it is called here. Raises ``InputError`` if no file has its content."""
    files = model_files(folders)
    stem = Path(preset.model).stem.lower()
    for path in sorted(files.values(), key=lambda path: path.stem.lower() != stem):
        if sha256_of(path) == preset.sha256:
            return path
    raise InputError(
        f"The preset {preset.label} needs the model {preset.model} (SHA-256 {preset.sha256[:12]}...), and none of the "
        f"{len(files)} models in {', '.join(map(str, folders))} matches; put it there."
    )
