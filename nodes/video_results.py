"""Where the video node's results are, and whether they still exist."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import folder_paths  # pyright: ignore[reportMissingImports]

from ..core.types import Size
from . import paths as places
from .video_inputs import TEMP


def result_folder(wanted: dict[str, Any]) -> str:
    return folder_paths.get_temp_directory() if wanted["save_to"] == TEMP else folder_paths.get_output_directory()


def result_file(wanted: dict[str, Any], size: Size) -> tuple[Path, str]:
    """A new name in the folder that was chosen, and its sub-folder; ``size`` is what %width% and %height% stand for.
    Raises ``InputError``; see ``numbered_name``."""
    prefix, base = wanted["filename_prefix"], result_folder(wanted)
    folder, name, subfolder = places.numbered_name(prefix, base, size.width, size.height)
    return folder / f"{name}.{wanted['container']}", subfolder


class Results:
    """The last result of each combination of settings, and how many times one was found to be gone."""

    def __init__(self) -> None:
        self._last: dict[str, Path] = {}
        self._losses: Counter[str] = Counter()

    def remember(self, wanted: dict[str, Any], output: Path) -> None:
        self._last[self._key(wanted)] = output

    def losses(self, wanted: dict[str, Any]) -> int:
        """Grows by one when a result was moved away, and stays there when it has been made again."""
        key = self._key(wanted)
        if key in self._last and not self._last[key].is_file():
            del self._last[key]
            self._losses[key] += 1
        return self._losses[key]

    @staticmethod
    def _key(wanted: dict[str, Any]) -> str:
        plain = {name: value for name, value in wanted.items() if isinstance(value, (str, int, float, bool))}
        return json.dumps(plain, sort_keys=True)


RESULTS = Results()
