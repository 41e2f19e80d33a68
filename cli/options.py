"""Options that several commands have, and how a command takes its options as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from .choices import ANCHORS, EDGES, ENGINES, FITS, PRECISIONS, PROTECT_MODES

Options = TypeVar("Options")

ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME_OR_PATH",
        help="See `backplate models`. backplate-lite is small and fast; for final quality fetch Real-ESRGAN.",
    ),
]
WantedSize = Annotated[
    str | None,
    typer.Option(
        "--size", metavar="WxH", help="Size of the result: 2000x1000, 2000x, x1000 or 2000. Default: the model's."
    ),
]
Scale = Annotated[float | None, typer.Option(help="Enlarge both sides by this factor instead.")]
WantedFit = Annotated[
    str | None, typer.Option(metavar=FITS, help="How --size is met where the aspect differs. Default: cover.")
]
WantedAnchor = Annotated[
    str,
    typer.Option(metavar=ANCHORS, help="Which part to keep when cropping, or where to place the image when padding."),
]
TileSize = Annotated[int, typer.Option(min=0, help="Side of a tile in source pixels; 0 is automatic.")]
WantedEdge = Annotated[str, typer.Option(metavar=EDGES, help="What lies beyond the border; wrap for textures.")]
WantedPrecision = Annotated[str, typer.Option(metavar=PRECISIONS, help="Float type that the model runs in.")]
EngineOption = Annotated[
    str, typer.Option("--engine", metavar=ENGINES, help="What runs the model; see `backplate engines`.")
]
NoTune = Annotated[
    bool,
    typer.Option(
        "--no-tune", help="No trial of how a new model runs fastest here, as BACKPLATE_TUNE=0; see `backplate tune`."
    ),
]
KeepColours = Annotated[
    bool,
    typer.Option("--keep-colours/--no-keep-colours", help="Give flat areas the source's colours, not the model's."),
]
Fidelity = Annotated[
    float,
    typer.Option(
        min=0, max=1, metavar="0..1", help="Lock results to their sources: at 1, scaled down, they are those."
    ),
]
Device = Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu. Default: the best there is.")]
ModelsDir = Annotated[Path | None, typer.Option(help="Folder to look for models in first.")]
PresetFile = Annotated[
    Path | None,
    typer.Option(
        "--preset", metavar="FILE", help="What won a study (see `backplate study`); other options override it."
    ),
]
ProtectFile = Annotated[
    Path | None,
    typer.Option(
        "--protect",
        metavar="FILE",
        help="Mask of what is not to be invented: white stays the source, only larger. NAME.protect.png beside a "
        "picture does the same for that one, and goes before this.",
    ),
]
ProtectModeOption = Annotated[
    str,
    typer.Option(
        "--protect-mode",
        metavar=PROTECT_MODES,
        help="In the mask: the resampled source, or the model's edges with all that the source can tell.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]


def takes(
    kind: type[Options], adjust: Callable[[Options, frozenset[str]], Options] | None = None
) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Makes a command of a function of one dataclass: its fields, annotated for typer, become the options. ``adjust``
    gets them first, with the names of those that were written on the command line."""
    hints = get_type_hints(kind, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(kind)  # pyright: ignore[reportArgumentType]  any dataclass
    ]
    if adjust is not None:
        parameters.append(inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))

    def command_of(function: Callable[[Options], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(*, context: typer.Context | None = None, **given: Any) -> None:
            options = kind(**given)
            if adjust is not None and context is not None:
                options = adjust(options, frozenset(name for name in given if _written(context, name)))
            function(options)

        del command.__wrapped__
        command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportAttributeAccessIssue]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return command_of


def _written(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
