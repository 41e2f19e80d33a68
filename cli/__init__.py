"""The command ``backplate``. PyTorch is imported by the commands that need it, not by ``--help``."""

from __future__ import annotations

import io
import sys
import warnings
from typing import Annotated

import typer

from .. import __version__
from .batch import batch
from .check_command import check, profiles
from .compare_command import compare
from .diagnose_command import diagnose
from .engines_command import doctor, engines
from .export_command import export
from .info import info
from .manifest import manifest_app
from .models import models_app
from .shootout_command import shootout
from .study import study_app
from .train_command import finetune, train
from .tune_command import tune
from .upscale import upscale
from .video_command import video

app = typer.Typer(
    name="backplate",
    help="Bring pictures to delivery size with super-resolution models, without seams.",
    epilog="Exit codes: 0 everything was written; 1 failure; 2 some pictures of a folder failed or "
    "need a look, or the command line is invalid; 130 interrupted. BACKPLATE_DEBUG=1 shows "
    "tracebacks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(upscale)
app.command()(batch)
app.command()(video)
app.add_typer(models_app, name="models")
app.add_typer(manifest_app, name="manifest")
app.command()(check)
app.command()(profiles)
app.command()(info)
app.command()(engines)
app.command()(doctor)
app.command()(export)
app.command()(tune)
app.command()(diagnose)
app.command()(compare)
app.command()(shootout)
app.add_typer(study_app, name="study")
app.command()(finetune)
app.command()(train)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"backplate {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    write_any_name()
    # Of large pictures and of odd tags, which are refused with a sentence where they matter.
    warnings.filterwarnings("ignore", module="PIL")
    app()


def write_any_name() -> None:
    """A name that the output's encoding does not have is escaped there; it does not end a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
