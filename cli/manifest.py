"""``backplate manifest``: what became of the pictures of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .errors import reporting
from .options import AsJson

manifest_app = typer.Typer(help="Results of a folder.", rich_markup_mode=None, no_args_is_help=True)


@manifest_app.callback()
def manifest() -> None:
    "Results of a folder."


@manifest_app.command()
@reporting
def merge(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of results.")],
    as_json: AsJson = False,
) -> None:
    """Make one manifest.jsonl of those of all parts (--shard), and sum it up.

    The exit code is that of a folder: 0 if all is done, 2 if some failed or should be looked at, 1 if nothing could
    be done. The manifests of the parts stay.
    """
    from ..core.jobs.folder.manifest import merge_manifests
    from ..core.jobs.folder.summary import summary_of
    from .folder_job import exit_code

    summary = summary_of(merge_manifests(folder))
    typer.echo(summary.to_json() if as_json else summary.text())
    if code := exit_code(summary):
        raise typer.Exit(code)
