"""Determines which files a command reads and writes, before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..core.media.picture.mask import is_sidecar
from ..core.media.picture.read import READABLE_SUFFIXES, format_of
from ..core.media.picture_folder import (
    FileTask,
    NameTemplate,
    Source,
    list_pictures,
    lone_masks,
    lone_masks_text,
    passed_over,
    passed_over_text,
    plan_tasks,
    refuse_inputs_as_outputs,
)
from .errors import UsageProblem
from .parsing import as_usage

SUFFIX_OF_FORMAT = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "tiff": ".tiff", "avif": ".avif"}


def into_one_file(inputs: Sequence[Path], output: Path, file_format: str | None) -> FileTask | None:
    """The task, if ``output`` is a file: it has a picture suffix and is not a folder. Else None.

    Raises ``UsageProblem`` for inputs that do not exist or do not fit into one file, and if the output is the input.
    """
    _refuse_missing(inputs)
    if output.suffix.lower() not in READABLE_SUFFIXES or output.is_dir():
        return None
    if len(set(inputs)) > 1 or inputs[0].is_dir():
        what = f"the folder {inputs[0]}" if len(inputs) == 1 else f"{len(inputs)} inputs"
        raise UsageProblem(f"{what} cannot go into the one file {output}; name a folder.")
    task = FileTask(inputs[0].name, inputs[0], output.name, output)
    with as_usage():
        kind = format_of(output)
        if file_format and kind != format_of(f"x{SUFFIX_OF_FORMAT[file_format]}"):
            raise UsageProblem(
                f"{output} does not match --format {file_format}; change the extension or leave out --format."
            )
        refuse_inputs_as_outputs([task])
    return task


def into_folder(
    inputs: Sequence[Path],
    output: Path,
    file_format: str | None,
    *,
    recursive: bool = False,
    template: NameTemplate | None = None,
    allowed: Sequence[str] = (),
) -> list[FileTask]:
    """One task for each picture among ``inputs`` and in the folders among them; ``output`` need not exist yet. See
    ``core.media.picture_folder.plan_tasks`` for the names.

    Raises ``UsageProblem`` for inputs that do not exist, for two of one name, and for an output that is an input.
    """
    _refuse_missing(inputs)
    if output.exists() and not output.is_dir():
        raise UsageProblem(f"{output} is a file whose name has no picture extension; name a picture or a folder.")
    with as_usage():
        sources = [source for given in _without_masks(inputs) for source in _pictures(given, output, recursive)]
        sources = list({source.path: source for source in sources}.values())
        _refuse_shared_names(sources)
        suffix = SUFFIX_OF_FORMAT[file_format] if file_format else None
        tasks = plan_tasks(sources, output, suffix, template, allowed)
        refuse_inputs_as_outputs(tasks)
    return tasks


def _refuse_missing(inputs: Sequence[Path]) -> None:
    if missing := [str(path) for path in inputs if not path.exists()]:
        raise UsageProblem(f"{', '.join(missing)}: no such file or folder.")


def _without_masks(inputs: Sequence[Path]) -> list[Path]:
    """``*.png`` matches the masks beside pictures as well; a mask named on its own counts as a picture."""
    wanted = [path for path in inputs if path.is_dir() or not is_sidecar(path)]
    return wanted or list(inputs)


def _pictures(given: Path, output: Path, recursive: bool) -> list[Source]:
    if not given.is_dir():
        return [Source(given.name, given)]
    return list_pictures(given, recursive=recursive, without=_results_apart(given, output))


def _results_apart(given: Path, output: Path) -> Path | None:
    """The folder of the results, unless it is the input folder."""
    return output if output.resolve() != given.resolve() else None


def passed_over_in(inputs: Sequence[Path], output: Path, *, recursive: bool) -> str:
    """A sentence or two about files of other kinds, and masks without a picture, in the folders among the inputs; empty
    if there are none."""
    counts: Counter[str] = Counter()
    lone: list[str] = []
    for given in inputs:
        # Beside the results, the manifest and the report lie in the same folder.
        if given.is_dir() and output.resolve() != given.resolve():
            counts += passed_over(given, recursive=recursive, without=output)
        if given.is_dir():
            lone += lone_masks(given, recursive=recursive, without=_results_apart(given, output))
    return " ".join(filter(None, [passed_over_text(counts), lone_masks_text(lone)]))


def _refuse_shared_names(sources: Sequence[Source]) -> None:
    taken: dict[str, Path] = {}
    for name, path in sources:
        if (first := taken.setdefault(name, path)) is not path:
            raise UsageProblem(f"{first} and {path} would both be {name} in the output; run them separately.")
