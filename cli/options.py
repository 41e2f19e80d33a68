"""Options that several commands have, and how a command takes its options as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from ..core.engines.names import Engine
from ..model_loader.find import AUTO

if TYPE_CHECKING:
    from ..core.jobs.model_info import Model
    from ..core.jobs.protect import ProtectSettings
    from ..core.upscaler import Upscaler
    from ..model_loader.precision import Precision

Options = TypeVar("Options")

# Values that options take, spelled out for ``--help``: what defines them would import PyTorch.
FITS = "cover|contain|pad|stretch|longest|shortest|megapixels|factor"
ANCHORS = "center|top|bottom|left|right|top-left|top-right|bottom-left|bottom-right"
EDGES = "plain|replicate|wrap horizontal|wrap both"
PRECISIONS = "auto|fp32|tf32|fp16|bf16"
ENGINES = "|".join(Engine)
EXPORTS = "onnx|ncnn|tensorrt"
PROTECT_MODES = "resample|anchor"
FORMATS = "png|jpg|webp|tiff|avif"
SCHEDULERS = "ray"
SOURCE_TYPES = "algorithmicallyEnhanced|compositeWithTrainedAlgorithmicMedia"

ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help="Name or path of a model file.")]
WantedModel = Annotated[
    str, typer.Option("--model", "-m", metavar="NAME_OR_PATH", help="`backplate models` lists the names.")
]
WantedSize = Annotated[
    str | None,
    typer.Option(
        "--size", metavar="WxH", help="Size of the result: 2000x1000, 2000x, x1000 or 2000. Default: the model's."
    ),
]
Scale = Annotated[float | None, typer.Option(help="Enlarge both sides by this factor instead.")]
WantedFit = Annotated[
    str | None, typer.Option(metavar=FITS, help="How to meet --size if the proportions differ. Default: cover.")
]
WantedPrecision = Annotated[str, typer.Option(metavar=PRECISIONS, help="Floating-point type that the model runs in.")]
NoTune = Annotated[
    bool,
    typer.Option(
        "--no-tune", help="Skip the trial of how a new model runs fastest, like BACKPLATE_TUNE=0; see `backplate tune`."
    ),
]
Device = Annotated[str | None, typer.Option(help="cuda, cuda:1, mps or cpu. Default: the best available.")]
ModelsDir = Annotated[Path | None, typer.Option(help="Folder to search for models first.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Profile = Annotated[
    str | None,
    typer.Option(
        metavar="amazon|google|shopify|FILE",
        help="Make pictures meet a marketplace's rules; see `backplate profiles`.",
    ),
]
C2paCertificate = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="BACKPLATE_C2PA_CERTIFICATE",
        help="Carry C2PA content credentials on: your certificate (PEM), then those that vouch for it.",
    ),
]
C2paKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="BACKPLATE_C2PA_KEY", help="The certificate's private key (PEM)."),
]
C2paTimestamp = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="BACKPLATE_C2PA_TIMESTAMP",
        help="Server that dates each signature (RFC 3161). Default: none.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How models are run."""

    tile_size: Annotated[int, typer.Option(min=0, help="Side of a tile in source pixels; 0 is automatic.")] = 0
    precision: WantedPrecision = "auto"
    engine: Annotated[
        str, typer.Option("--engine", metavar=ENGINES, help="What runs the model; see `backplate engines`.")
    ] = "auto"
    no_tune: NoTune = False
    device: Device = None
    models_dir: ModelsDir = None

    def checked_precision(self) -> Precision:
        """Raises ``UsageProblem``."""
        from ..model_loader.precision import Precision
        from .parsing import choice

        return choice(Precision, self.precision, "--precision")

    def checked_engine(self) -> Engine:
        """Raises ``UsageProblem``."""
        from .parsing import choice

        return choice(Engine, self.engine, "--engine")

    def opener(self, **more: Any) -> Callable[..., tuple[Upscaler, Model]]:
        """``load_upscaler`` with what the options say, and ``more`` of its arguments. Raises ``UsageProblem``."""
        from .picture_job import load_upscaler

        return functools.partial(
            load_upscaler,
            models_dir=self.models_dir,
            device=self.device,
            **{"precision": self.checked_precision(), "engine": self.checked_engine()} | more,
            tile=self.tile_size,
            tune=not self.no_tune,
        )


@dataclass(frozen=True, kw_only=True)
class EnlargeOptions(ModelOptions):
    """What pictures and videos have in common."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME_OR_PATH|auto",
            help="See `backplate models`. auto: an installed Real-ESRGAN, otherwise a bundled model: "
            "standard for pictures, the faster lite for video.",
        ),
    ] = AUTO
    size: WantedSize = None
    scale: Scale = None
    fit: WantedFit = None
    anchor: Annotated[
        str,
        typer.Option(
            metavar=ANCHORS, help="Which part to keep when cropping, or where to place the image when padding."
        ),
    ] = "center"
    edge: Annotated[
        str, typer.Option(metavar=EDGES, help="What the model sees beyond the border; wrap for textures.")
    ] = "plain"
    keep_colours: Annotated[
        bool,
        typer.Option("--keep-colours/--no-keep-colours", help="Give flat areas the colours of the source."),
    ] = True
    fidelity: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="0..1",
            help="Lock results to their sources: at 1, a result scaled down is its source.",
        ),
    ] = 0.0
    strip_metadata: Annotated[
        bool,
        typer.Option("--strip-metadata", help="Carry no metadata from the source, only its colour profile."),
    ] = False
    commercial: Annotated[
        bool,
        typer.Option("--commercial", help="Refuse a model whose licence forbids commercial use or is unknown."),
    ] = False
    dither: Annotated[
        str,
        typer.Option(
            metavar="auto|on|off",
            help="Add one level of noise instead of banding; auto: only in smooth gradients. Never on "
            "areas of one colour.",
        ),
    ] = "auto"
    grain: Annotated[
        str, typer.Option(metavar="keep|off", help="Restore the source's grain where the model removed it.")
    ] = "off"
    protect: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Mask of what must not be invented: white stays the source, only larger. "
            "NAME.protect.png beside a picture does the same for that picture and takes "
            "precedence.",
        ),
    ] = None
    protect_mode: Annotated[
        str,
        typer.Option(
            metavar=PROTECT_MODES,
            help="What fills the mask: the resampled source, or the model's edges locked to the source.",
        ),
    ] = "resample"

    def common_settings(self, megapixels: float | None = None, multiple_of: int = 1) -> dict[str, Any]:
        """Of ``PictureSettings`` and ``VideoSettings``. Raises ``UsageProblem`` and ``InputError``."""
        from ..core.image.dither import Dither
        from ..core.image.tiling import Edge
        from ..core.tiled.pipeline import TileSettings
        from .parsing import choice, one_of, requested_target

        edge = choice(Edge, self.edge, "--edge")
        return {
            "target": requested_target(self.size, self.scale, megapixels, self.fit, self.anchor, multiple_of),
            "tiles": TileSettings(size=self.tile_size, edge=edge, keep_colours=self.keep_colours),
            "fidelity": self.fidelity,
            "grain": one_of(("off", "keep"), self.grain, "--grain") == "keep",
            "dither": choice(Dither, self.dither, "--dither"),
        }

    def protection(self) -> ProtectSettings:
        """What is protected. Raises ``UsageProblem``, also for a mask that cannot be read."""
        from ..core.image.protect import ProtectMode
        from ..core.jobs.protect import ProtectSettings, mask_in_file
        from .parsing import as_usage, choice

        mode = choice(ProtectMode, self.protect_mode, "--protect-mode")
        with as_usage():
            return ProtectSettings(mode=mode, mask=self.protect and mask_in_file(self.protect, mode))


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
        # Those of the command itself come first in its help.
        for field in sorted(fields(kind), key=lambda field: field.name not in kind.__annotations__)  # pyright: ignore
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
