"""All settings of a training run, as frozen dataclasses, and the recipes for common purposes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import AfterValidator, Field

from ...model_loader.errors import one_line
from ..errors import InputError
from ..parsed import Strict, as_plain, parse
from .degrade.pipeline import DegradationSettings
from .degrade.random_draws import Listed
from .synthetic.pictures import PAINTERS

Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


def _known_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := set(kinds) - set(PAINTERS):
        raise ValueError(f"there is no {min(unknown)!r}; there are {', '.join(PAINTERS)}")
    return kinds


class Criterion(str, Enum):
    """The validation score that decides whether a model improved."""

    PSNR = "psnr"
    SSIM = "ssim"
    LPIPS = "lpips"
    LINE_PSNR = "line_psnr"
    """PSNR of the dark thin lines."""
    TEXTURE = "texture"
    """Difference of local contrast: lower is better."""


@dataclass(frozen=True, kw_only=True)
class DataSettings(Strict):
    """Where references come from and how they are cropped."""

    folder: str = ""
    """Folder of clean pictures, including subfolders. Empty: pictures that this package draws."""
    drawn: int = 800
    """How many pictures to draw if there is no folder."""
    drawn_size: int = 288
    drawn_kinds: Annotated[tuple[str, ...], Listed, AfterValidator(_known_kinds)] = ()
    """Kinds to draw (leaves, surface, gradient, text, line-art, cel, scene, photograph), each weighted by how often it
    is named; empty: the default mixture."""
    crop: int = 192
    """Side of a training crop in pixels of the reference; a multiple of the scale."""
    flips: bool = True
    """Mirror and rotate by multiples of 90 degrees."""
    shuffle_colours: bool = False
    """Permute the colour channels at random: for drawn pictures, whose colours are arbitrary."""
    cache_megabytes: int = 1024
    """Memory for decoded pictures."""


@dataclass(frozen=True, kw_only=True)
class LossSettings(Strict):
    """The weight of each loss; 0 disables it."""

    pixel: Weight = 1.0
    """Charbonnier."""
    l1: Weight = 0.0
    """Mean absolute error: the pixel loss of Real-ESRGAN."""
    line: Weight = 0.0
    ringing: Weight = 0.0
    """Ripples where the reference is smooth."""
    overshoot: Weight = 0.0
    """Values outside the local range of the reference: halos at edges."""
    overshoot_from: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of the run, 0 to 1, after which overshoot counts: from the start, it would slow down learning edges."""
    overshoot_reach: Annotated[int, Field(ge=0)] = 0
    """Radius of the local range in output pixels; 0 for one input pixel, but at least 2. A longer reach spares texture
    and punishes only halos beside even areas."""
    texture: Weight = 0.0
    frequency: Weight = 0.0
    perceptual: Weight = 0.0
    vgg_weights: str = ""
    """File of VGG-19 weights for the perceptual loss; empty: the one that torchvision has downloaded."""
    gan: Weight = 0.0
    """U-Net discriminator; Real-ESRGAN uses 0.1 with perceptual = 1."""
    gan_features: Positive = 64
    line_width: Annotated[float, Field(gt=0)] = 2.0
    """Usual width of ink lines in pixels of the reference."""

    def __post_init__(self) -> None:
        weights = (
            self.pixel,
            self.l1,
            self.line,
            self.ringing,
            self.texture,
            self.frequency,
            self.perceptual,
            self.gan,
        )
        if not any(weights) and (self.overshoot_from or not self.overshoot):
            raise InputError("At least one loss needs a weight over 0 from the first step on; raise losses.pixel.")


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings(Strict):
    """Adam with a cosine schedule."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    final_learning_rate: float = 1e-6
    warm_up: int = 50
    """Steps over which the learning rate rises from 0."""
    betas: Annotated[tuple[float, float], Listed] = (0.9, 0.99)
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient; a larger one is scaled down to it."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the moving average of the weights, which is what gets validated and saved."""


@dataclass(frozen=True, kw_only=True)
class ValidationSettings(Strict):
    """How a run is judged."""

    every: Positive = 100
    """Steps between validations."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Fraction of the pictures that is held out."""
    most: Positive = 12
    """Maximum number of pictures to validate on."""
    crop: int = 256
    """Side of the crop of each picture."""
    criterion: Criterion = Criterion.PSNR
    most_psnr_lost: float = 1.0
    """A model that lost more PSNR than this (dB) is never the best, whatever the criterion says."""
    lpips_weights: str = ""
    """File of AlexNet weights for LPIPS; empty: LPIPS is measured only if torchvision has downloaded them."""
    samples: int = 3
    """Number of pictures written at every validation."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(Strict):
    """The Compact network of a run without a base model."""

    scale: int = 4
    features: int = 32
    convolutions: int = 8
    start: str = ""
    """A bundled model, or the path of a Compact model's file, whose weights the run starts from instead of random ones.
    It must have the same features and convolutions, and a scale that is a multiple of this one."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Strict):
    """One training run. The same settings, data and kind of machine give the same weights."""

    recipe: str = "custom"
    steps: Positive = 1000
    batch: Positive = 8
    seed: int = 0
    device: str = ""
    """Empty: an accelerator if there is one."""
    threads: int = 0
    """CPU threads; 0: PyTorch's default. The last digits of sums depend on it."""
    mixed_precision: bool = True
    """Half precision if the device supports it; never on a CPU."""
    checkpoint_every: Positive = 100
    half_precision_file: bool = False
    """Store the resulting weights in half precision."""
    data: DataSettings = field(default_factory=DataSettings)
    degradation: DegradationSettings = field(default_factory=DegradationSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)


RECIPES: Mapping[str, Mapping[str, Any]] = {
    # Photographs from the wild: every kind of degradation, and no halos where they are smooth.
    "photo": {
        "degradation": {"mode": "second-order"},
        "losses": {"ringing": 0.2, "frequency": 0.05},
        "validation": {"criterion": "psnr"},
    },
    # Scanned cels: ink lines get a higher weight, flat paint must stay flat.
    "anime": {
        "degradation": {"mode": "cel"},
        "losses": {"line": 1.0, "ringing": 0.5},
        "data": {"drawn_kinds": ["cel", "line-art"]},
        "validation": {"criterion": "line_psnr"},
    },
    # Faces from phones and the web: mild degradation, and local contrast so that skin keeps its grain.
    "portrait": {
        "degradation": {
            "mode": "bicubic",
            "simple": {
                "blur_probability": 0.5,
                "noise_probability": 0.5,
                "noise_sigma": [0.0, 5.0],
                "jpeg_probability": 0.5,
                "jpeg_quality": [50.0, 95.0],
            },
        },
        "losses": {"texture": 0.05, "ringing": 0.1},
        "validation": {"criterion": "texture"},
    },
}


def recipe_settings(name: str) -> TrainSettings:
    """The settings of a recipe. Raises ``InputError`` for an unknown name."""
    if name not in RECIPES:
        raise InputError(f"There is no recipe {name!r}; there are {', '.join(RECIPES)}.")
    return replaced(TrainSettings(recipe=name), RECIPES[name])


def read_settings_file(path: Path) -> dict[str, Any]:
    """A nested mapping from a YAML (or JSON) file. Raises ``InputError`` for any other file."""
    yaml = _yaml()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        detail = one_line(error, 150)
        raise InputError(f"{path} cannot be read as a YAML file of settings: {detail}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings; it should hold lines such as 'steps: 1000'.")
    return cast("dict[str, Any]", content)


def _yaml() -> Any:
    try:
        return importlib.import_module("yaml")
    except ImportError as error:
        raise InputError("Settings files need the package PyYAML; run: python -m pip install pyyaml") from error


def settings_text(settings: TrainSettings) -> str:
    """All settings, as YAML for ``read_settings_file`` (without PyYAML as JSON, which is valid YAML)."""
    try:
        return str(_yaml().safe_dump(as_plain(settings), sort_keys=False, default_flow_style=None, width=110))
    except InputError:
        return json.dumps(as_plain(settings), indent=2) + "\n"


def load_settings(start: TrainSettings, file: Path | None = None, assignments: Sequence[str] = ()) -> TrainSettings:
    """``start``, changed by a settings file, then by ``name=value`` assignments, and validated as a whole."""
    if file is not None:
        start = replaced(start, read_settings_file(file))
    return replaced(start, nested(assignments))


def replaced(settings: TrainSettings, changes: Mapping[str, Any]) -> TrainSettings:
    """A copy with the values of a nested mapping. Raises ``InputError`` as ``parse`` does."""
    return parse(TrainSettings, _merged(as_plain(settings), changes))


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, Mapping):
        return new
    known, given = cast("dict[str, Any]", old), cast("Mapping[str, Any]", new)
    return {**known, **{name: _merged(known.get(name), value) for name, value in given.items()}}


def nested(assignments: Sequence[str]) -> dict[str, Any]:
    """``["losses.line=0.5", "steps=300"]`` as a nested mapping. Raises ``InputError`` for one without ``=``."""
    tree: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals or not path.strip():
            raise InputError(f"A setting is written name=value, such as losses.line=0.5, not {assignment!r}.")
        *groups, name = path.strip().split(".")
        branch = tree
        for group in groups:
            inner = branch.setdefault(group, {})
            if not isinstance(inner, dict):
                raise InputError(f"{path} cannot be set: {group} was given a value itself.")
            branch = cast("dict[str, Any]", inner)
        branch[name] = value.strip()
    return tree
