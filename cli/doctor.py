"""``backplate doctor``."""

from __future__ import annotations

import typer

from .. import __version__
from .errors import reporting


@reporting
def doctor() -> None:
    """Print what a report of a fault needs: versions, device, engines, paths, outdated parsers."""
    from ..core.jobs.doctor import diagnosis

    typer.echo(diagnosis(__version__))
