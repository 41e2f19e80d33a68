"""``backplate export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .errors import UsageProblem, reporting
from .options import EXPORTS, ModelFile, ModelsDir, Overwrite


@reporting
def export(
    model: ModelFile,
    to: Annotated[str, typer.Option(metavar=EXPORTS, help="Format to export to.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="An .onnx, .param or .engine file. Default: the model's name."),
    ] = None,
    tile: Annotated[
        int, typer.Option(min=0, help="ONNX: for pictures of this side only. TensorRT: largest tile. 0: any size.")
    ] = 0,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Accept pictures of any size, even with --tile.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Store weights in half precision: half the size.")] = False,
    overwrite: Overwrite = False,
    models_dir: ModelsDir = None,
) -> None:
    """Write a model as ONNX or ncnn files or as a TensorRT engine, and prove that they compute what PyTorch computes.

    Files that differ too much are not written. `backplate upscale --model FILE` runs them; NAME.json beside them holds
    what is needed for that.
    """
    # Not at the top: PyTorch would make --help wait.
    from .. import __version__
    from ..core.engines.export.export import ExportKind
    from ..core.jobs.export import ExportRequest, export_as_requested
    from ..model_loader.find import default_folders, find_model
    from ..model_loader.loaded import load_model
    from .parsing import choice
    from .screen import ModelScreen

    kind = choice(ExportKind, to, "--to")
    if tile and kind is ExportKind.NCNN:
        raise UsageProblem(f"--tile {tile}: {kind.value} files take pictures of any size; leave it out.")
    found = load_model(find_model(model, default_folders(models_dir)))
    output = output or Path(found.facts.name + kind.suffix)
    if output.suffix.lower() != kind.suffix:
        raise UsageProblem(f"--output {output}: a file of {kind.value} ends in {kind.suffix}.")
    request = ExportRequest(tile=tile, dynamic=dynamic, half=fp16)
    with ModelScreen(1) as screen:
        screen.start_file(output)
        report = export_as_requested(
            found, output, request, screen, overwrite=overwrite, made_by=f"Backplate {__version__}"
        )  # fmt: skip
    typer.echo(report.text())
