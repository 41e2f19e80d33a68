"""``backplate models``: which models are known, which are here, and fetching one of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from ..model_loader.catalogue import CATALOGUE, CatalogueEntry, entry_by_name, fetch
from ..model_loader.find import default_folders, model_files
from ..model_loader.licence_index import INDEX_URL, Index, fetch_index, import_index, index_note, index_path, read_index
from .errors import UsageProblem, reporting, say
from .options import AsJson

PIPED_WIDTH = 160

models_app = typer.Typer(rich_markup_mode=None)
ModelsDir = Annotated[Path | None, typer.Option(help="Folder to search first, or to download to.")]


@models_app.callback(invoke_without_command=True)
@reporting
def models(
    context: typer.Context,
    models_dir: ModelsDir = None,
    as_json: AsJson = False,
) -> None:
    """List known models and the model files that are here; fetch a known one."""
    if context.invoked_subcommand:
        context.obj = models_dir
        return
    folders = default_folders(models_dir)
    known, others = _sorted_out(model_files(folders))
    if as_json:
        listing = {
            "folders": [str(folder) for folder in folders],
            "catalogue": [_as_json(entry, known[entry.file]) for entry in CATALOGUE],
            "other": [{"name": name, "path": str(path)} for name, path in others.items()],
        }
        typer.echo(json.dumps(listing, indent=2))
    else:
        _print_table(known, others, folders)


@models_app.command("fetch")
@reporting
def fetch_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A listed model, with or without extension.")],
    models_dir: ModelsDir = None,
    accept_non_commercial: Annotated[
        bool, typer.Option("--accept-non-commercial", help="Accept a licence that forbids commercial use.")
    ] = False,
) -> None:
    """Download a known model; an interrupted download is continued."""
    entry = entry_by_name(name)
    if entry is None:
        raise UsageProblem(f"there is no known model {name}; choose one of {', '.join(e.name for e in CATALOGUE)}.")
    folder = models_dir or context.obj or default_folders()[0]
    forbids = "" if entry.commercial_use else " (forbids commercial use; --accept-non-commercial accepts that)"
    say(f"{entry.file} from {entry.url}, licence {entry.licence}{forbids}")
    with _Download(entry.file) as download:
        path = fetch(entry, folder, on_progress=download.report, accept_non_commercial=accept_non_commercial)
    typer.echo(path)


index_app = typer.Typer(rich_markup_mode=None)
models_app.add_typer(index_app, name="index")


@index_app.callback(invoke_without_command=True)
@reporting
def index(context: typer.Context) -> None:
    """Licences of models by their hashes, as OpenModelDB lists them; says which list is here."""
    if context.invoked_subcommand:
        return
    found = read_index()
    if found is None:
        typer.echo(f"No list of licences is here; `backplate models index fetch` gets one from {INDEX_URL}.")
        return
    typer.echo(f"{_about(found)}, {found.days_old} days ago")
    if note := index_note():
        say(note)


@index_app.command("fetch")
@reporting
def fetch_list(
    url: Annotated[str, typer.Option(metavar="URL", help="Another address of the same list.")] = INDEX_URL,
) -> None:
    """Download OpenModelDB's list (licence GPL-3.0) into your data folder."""
    say(f"OpenModelDB's list of models from {url}, licence GPL-3.0")
    typer.echo(_about(fetch_index(url)))


@index_app.command("import")
@reporting
def import_list(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="models.json, or the folder data/models of OpenModelDB's repository.")
    ],
) -> None:
    """Read a list that was downloaded by hand."""
    typer.echo(_about(import_index(source)))


def _about(found: Index) -> str:
    known = sum(bool(each.licence) for each in found.files.values())
    return f"{index_path()}: {len(found.files)} files, {known} of them with a licence, from {found.source}"


class _Download:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self, label: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bars = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._task = self._bars.add_task(label, total=None)

    def __enter__(self) -> _Download:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def report(self, done: int, total: int) -> None:
        self._bars.update(self._task, completed=done, total=total)


def _sorted_out(files: dict[str, Path]) -> tuple[dict[str, list[Path]], dict[str, Path]]:
    """Files by the catalogue entry of that name, and the other files by their own name."""
    known: dict[str, list[Path]] = {entry.file: [] for entry in CATALOGUE}
    others: dict[str, Path] = {}
    for name, path in files.items():
        entry = entry_by_name(PurePosixPath(name).name)
        if entry:
            known[entry.file].append(path)
        else:
            others[name] = path
    return known, others


def _as_json(entry: CatalogueEntry, installed: list[Path]) -> dict[str, object]:
    from dataclasses import asdict

    return {"name": entry.name, **asdict(entry), "installed": [str(path) for path in installed]}


def _print_table(known: dict[str, list[Path]], others: dict[str, Path], folders: list[Path]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("model", "scale", "licence", "here", "good at", box=None, pad_edge=False)
    for entry in CATALOGUE:
        licence = entry.licence + ("" if entry.commercial_use else "\n(not commercial)")
        here = "yes" if known[entry.file] else "-"
        table.add_row(*map(Text, (entry.name, f"x{entry.scale}", licence, here, entry.good_at)))
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False).print(table)
    files = {path.name: path for paths in known.values() for path in paths} | others
    if files:
        typer.echo("")
    for name, path in files.items():
        typer.echo(f"{name}: {path}")
    typer.echo(f"Looked in {', '.join(map(str, folders))}. `backplate models fetch NAME` downloads one.", err=True)
