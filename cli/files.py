"""Which files a command reads and writes, settled before any work."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.media.picture_file import READABLE_SUFFIXES, format_of
from ..core.upscaler import InputError
from .errors import UsageProblem

SUFFIX_OF_FORMAT = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "tiff": ".tiff", "avif": ".avif"}


class Errand(NamedTuple):
    """A picture to read and the file to write."""

    source: Path
    output: Path


def plan_errands(inputs: Sequence[Path], output: Path, file_format: str | None) -> list[Errand]:
    """One errand for each picture among ``inputs`` and directly inside the folders among them.

    ``output`` is a file if it has the suffix of a picture and is no folder; it then takes one picture. Otherwise it
    is a folder, which need not exist; names are kept, and so are suffixes unless ``file_format`` asks for another or
    the format cannot be written (then PNG). Raises ``UsageProblem`` for inputs that do not exist, for two pictures
    with one output, and for an output that is an input.
    """
    if missing := [str(path) for path in inputs if not path.exists()]:
        raise UsageProblem(f"{', '.join(missing)}: no such file or folder.")
    sources = list(dict.fromkeys(path for given in inputs for path in _pictures(given)))
    if output.suffix.lower() in READABLE_SUFFIXES and not output.is_dir():
        errands = [_errand_to_file(inputs, output, file_format)]
    else:
        if output.exists() and not output.is_dir():
            raise UsageProblem(f"{output} is a file without the suffix of a picture; name a picture or a folder.")
        errands = [Errand(source, output / _output_name(source, file_format)) for source in sources]
    _refuse_shared_outputs(errands)
    _refuse_inputs_as_outputs(errands)
    return errands


def _pictures(given: Path) -> list[Path]:
    if not given.is_dir():
        return [given]
    inside = [
        path
        for path in given.iterdir()
        if path.suffix.lower() in READABLE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    if not inside:
        raise UsageProblem(f"{given}: no pictures directly inside ({', '.join(READABLE_SUFFIXES)}).")
    return sorted(inside, key=natural_order)


def natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts ``frame 2`` before ``frame 10``, without regard to case where that decides."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts], path.name


def _errand_to_file(inputs: Sequence[Path], output: Path, file_format: str | None) -> Errand:
    if len(inputs) > 1 or inputs[0].is_dir():
        what = f"the folder {inputs[0]}" if len(inputs) == 1 else f"{len(inputs)} inputs"
        raise UsageProblem(f"{what} cannot go into the one file {output}; name a folder.")
    try:
        format_of(output)
    except InputError as error:
        raise UsageProblem(str(error)) from error
    if file_format and format_of(output) != format_of(f"x{SUFFIX_OF_FORMAT[file_format]}"):
        raise UsageProblem(f"{output} is no {file_format}; change the suffix or leave out --format.")
    return Errand(inputs[0], output)


def _output_name(source: Path, file_format: str | None) -> str:
    if file_format:
        return source.stem + SUFFIX_OF_FORMAT[file_format]
    try:
        format_of(source)
    except InputError:
        return source.stem + ".png"
    return source.name


def _refuse_shared_outputs(errands: Iterable[Errand]) -> None:
    taken: dict[str, Path] = {}
    for source, output in errands:
        # Case matters on some file systems only; a clash is refused everywhere, so that a command works everywhere.
        first = taken.setdefault(str(output).casefold(), source)
        if first is not source:
            raise UsageProblem(f"{first} and {source} would both be written to {output}; run them separately.")


def _refuse_inputs_as_outputs(errands: Sequence[Errand]) -> None:
    sources = {os.path.realpath(source): source for source, _ in errands}
    for _, output in errands:
        if source := sources.get(os.path.realpath(output)):
            raise UsageProblem(f"the output {output} is the input {source}; name another file or folder.")
