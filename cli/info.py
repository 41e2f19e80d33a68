"""``backplate info``."""

from __future__ import annotations

import json

import typer

from .errors import reporting, say
from .options import AsJson, ModelFile, ModelsDir


@reporting
def info(
    model: ModelFile,
    models_dir: ModelsDir = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a model file is."""
    from dataclasses import asdict

    from ..core.engines.export.files import is_engine_file, open_engine_file
    from ..core.jobs.model_info import model_of_file
    from ..model_loader.find import default_folders, find_model
    from ..model_loader.licence_index import index_note
    from ..model_loader.loaded import load_model
    from ..model_loader.precision import Precision, choose_device

    path = find_model(model, default_folders(models_dir))
    if is_engine_file(path):
        opened = open_engine_file(path, choose_device(None))
        record = asdict(opened.record) if opened.record else None
        known = model_of_file(opened, Precision.AUTO)
        values = {
            "path": str(path),
            "name": opened.name,
            "sha256": opened.sha256,
            "licence": known.licence or None,
            "commercial_use": known.commercial_use,
            "record": record,
        }
        typer.echo(json.dumps(values, indent=2) if as_json else f"{opened.text()}\n{known.licence_line()}\n{path}")
        return
    facts = load_model(path).facts
    if as_json:
        typer.echo(json.dumps({"path": str(path), **asdict(facts)}, indent=2))
    else:
        typer.echo(f"{facts.text()}\n{path}")
        if facts.licence is None and (note := index_note()):
            say(note)
