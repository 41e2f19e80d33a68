"""``backplate engines`` and ``backplate doctor``: what is here."""

from __future__ import annotations

import json

import typer

from .. import __version__
from .errors import reporting
from .options import AsJson


@reporting
def engines(as_json: AsJson = False) -> None:
    """List what can run models, and why what cannot be used here cannot."""
    from ..core.engines.built_cache import artifact_folder
    from ..core.engines.registry import list_engines

    rows = list_engines()
    if as_json:
        listing = [{"engine": row.engine.value, "usable": row.reason is None, "reason": row.reason} for row in rows]
        typer.echo(json.dumps({"engines": listing, "built": str(artifact_folder())}, indent=2))
        return
    width = max(len(row.engine.value) for row in rows)
    for row in rows:
        typer.echo(f"{row.engine.value:{width}}  {row.reason or 'usable'}")
    built = [path for path in artifact_folder().glob("*") if path.is_file()] if artifact_folder().is_dir() else []
    size = sum(path.stat().st_size for path in built)
    typer.echo(f"Built engines: {artifact_folder()} ({len(built)} files, {size / 1e6:.1f} MB; may be deleted)")


@reporting
def doctor() -> None:
    """Print what a report of a fault needs: versions, device, engines, paths, outdated parsers."""
    from ..core.jobs.doctor import diagnosis

    typer.echo(diagnosis(__version__))
