"""The winner of a study as a file that upscale, batch, video and the folder node accept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ...model_loader.files import sha256_of
from ...model_loader.find import model_files
from ..atomic_write import write_atomic
from ..errors import InputError
from ..parsed import parse, read_json

KIND = "backplate preset"
FORMAT = 1
Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """``label``: its name in the study. ``model``: the name of the model's file; ``sha256`` identifies it. ``sharpen``
    0 is none. ``size``: as ``--size``, ``scale``: as ``--scale``; at most one of them. Fields of later versions are
    ignored."""

    __pydantic_config__: ClassVar[Any] = {"allow_inf_nan": False}

    label: Name
    model: Name
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    engine: str = "pytorch"
    precision: str = "auto"
    sharpen: Annotated[float, Field(ge=0, lt=1000)] = 0.0
    size: str | None = None
    scale: Annotated[float, Field(ge=0, lt=1000)] | None = None
    fit: str | None = None


def preset_of(label: str, settings: Mapping[str, Any]) -> Preset:
    """From what a study stores about a side. Raises ``InputError`` if it stores nothing, or the side has no model."""
    if not settings:
        raise InputError(
            f"The study was made from finished results, which do not say what made {label}; make the study with "
            "--models to get a preset."
        )
    if not settings.get("sha256"):
        raise InputError(f"{label} is plain resampling and needs no model, so it has no preset.")
    return parse(Preset, {**settings, "label": label}, f"{label}: ", strict=True)


def write_preset(path: Path, preset: Preset) -> None:
    """Raises ``OSError``."""
    data = {"kind": KIND, "format": FORMAT, **asdict(preset)}
    write_atomic(path, (json.dumps(data, indent=1) + "\n").encode())


def read_preset(path: Path) -> Preset:
    """Raises ``InputError`` for a file that is not a preset."""
    given = read_json(path, "name a preset, which `backplate study tally --write-preset` writes")
    if given.pop("kind", None) != KIND:
        raise InputError(f"{path} is not a preset; name the file that `backplate study tally --write-preset` wrote.")
    if (found := given.pop("format", None)) != FORMAT:
        raise InputError(f"{path} has format {found}, and this version reads {FORMAT}; update it.")
    return parse(Preset, given, f"{path}: ", strict=True)


def model_of(preset: Preset, folders: Sequence[Path]) -> Path:
    """The file of the preset's model, whatever its name here. Raises ``InputError`` if no file has its content."""
    files = model_files(folders)
    stem = Path(preset.model).stem.lower()
    for path in sorted(files.values(), key=lambda path: path.stem.lower() != stem):
        if sha256_of(path) == preset.sha256:
            return path
    raise InputError(
        f"The preset {preset.label} needs the model {preset.model} (SHA-256 {preset.sha256[:12]}...), and none of the "
        f"{len(files)} models in {', '.join(map(str, folders))} matches; put it there."
    )
