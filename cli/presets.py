"""Completes a command's options: with the winner of a study, and with a model if none was named."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import UsageProblem, say

if TYPE_CHECKING:
    from ..core.study.preset import Preset

Options = TypeVar("Options")


def with_preset(options: Options, written: frozenset[str]) -> Options:
    """The options with the settings of the file named by ``preset``; those ``written`` on the command line stay. A
    ``preset`` that is neither a path nor a .json file is one of the encoder's. Raises ``InputError`` and
    ``UsageProblem``."""
    given: Any = options
    named: Path | str | None = given.preset
    if not named or (isinstance(named, str) and not named.lower().endswith(".json")):
        return options
    from ..core.study.preset import model_of, read_preset
    from ..model_loader.find import default_folders

    preset = read_preset(Path(named))
    known = {field.name for field in fields(given)}
    changes = {name: value for name, value in _wanted(preset, written).items() if name in known and name not in written}
    if preset.sharpen and "sharpen" not in known:
        raise UsageProblem(
            f"{named} sharpens by {preset.sharpen:g}, which this command cannot do; set sharpen to 0 in it."
        )
    if "model" not in written:
        changes["model"] = str(model_of(preset, default_folders(given.models_dir)))
    if isinstance(named, str):
        changes["preset"] = ""
    say(f"{named}: {preset.label}, which is {preset.model} (SHA-256 {preset.sha256[:12]}).")
    return replace(given, **changes)


def with_model(options: Options, written: frozenset[str], *, video: bool = False) -> Options:
    """``with_preset``, then a model where none is named. Raises ``InputError``, ``ModelError`` and ``UsageProblem``."""
    from ..model_loader.find import AUTO, BUNDLED, default_folders, preferred_model

    settled: Any = with_preset(options, written)
    if settled.model != AUTO:
        return settled
    name = preferred_model(default_folders(settled.models_dir), video=video)
    if not (BUNDLED / f"{name}.safetensors").is_file():
        say(f"The model is {name}, which is installed; --model takes another.")
    return replace(settled, model=name)


def _wanted(preset: Preset, written: frozenset[str]) -> dict[str, object]:
    wanted: dict[str, object] = {"engine": preset.engine, "precision": preset.precision}
    if preset.sharpen:
        wanted["sharpen"] = preset.sharpen
    if not {"size", "scale", "megapixels"} & written:
        wanted |= {"size": preset.size, "scale": preset.scale, "fit": preset.fit}
    return wanted
