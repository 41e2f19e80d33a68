"""Everything that decides a training run, as frozen dataclasses, and the recipes for usual purposes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, cast

from ..errors import InputError
from .degrade.pipeline import DegradationSettings, Mode
from .degrade.validate import check_degradation
from .settings_parser import as_mapping, nested, replaced
from .synthetic.pictures import PAINTERS


class Criterion(str, Enum):
    """Which validation score says that a model got better."""

    PSNR = "psnr"
    SSIM = "ssim"
    LPIPS = "lpips"
    LINE_PSNR = "line_psnr"
    """PSNR of the dark thin lines."""
    TEXTURE = "texture"
    """Difference of local contrast: lower is better."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where references come from and how they are cut."""

    folder: str = ""
    """Folder of clean pictures, searched with its subfolders. Empty: pictures that this package draws."""
    drawn: int = 800
    """How many pictures to draw where there is no folder."""
    drawn_size: int = 288
    drawn_kinds: tuple[str, ...] = ()
    """Kinds to draw (leaves, surface, gradient, text, line-art, cel, scene, photograph), each as often as it is named;
    empty: the usual mixture."""
    crop: int = 192
    """Side of a training crop in pixels of the reference; a multiple of the scale."""
    flips: bool = True
    """Mirror and turn by 90 degrees."""
    shuffle_colours: bool = False
    """Exchange the colour channels at random: for drawn pictures, whose colours mean nothing."""
    cache_megabytes: int = 1024
    """Decoded pictures that are kept in memory."""


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Weight of each loss; 0 leaves it out."""

    pixel: float = 1.0
    """Charbonnier."""
    l1: float = 0.0
    """Mean absolute error: the pixel loss of Real-ESRGAN."""
    line: float = 0.0
    ringing: float = 0.0
    """Ripples where the reference is smooth."""
    overshoot: float = 0.0
    """Values beyond the range that the reference has nearby: halos at edges."""
    overshoot_from: float = 0.0
    """Part of the run, 0 to 1, after which overshoot counts: from the start it slows the learning of edges."""
    overshoot_reach: int = 0
    """Pixels of the output that count as nearby; 0 for one of the input, but at least 2. A longer reach leaves texture
    alone, and only halos beside even areas are left to be punished."""
    texture: float = 0.0
    frequency: float = 0.0
    perceptual: float = 0.0
    vgg_weights: str = ""
    """File of VGG-19 weights for the perceptual loss; empty: the one that torchvision fetched before."""
    gan: float = 0.0
    """U-Net discriminator; Real-ESRGAN uses 0.1 together with perceptual = 1."""
    gan_features: int = 64
    line_width: float = 2.0
    """Usual width of ink lines in pixels of the reference."""


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """Adam with a cosine schedule."""

    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-6
    warm_up: int = 50
    """Steps over which the learning rate rises from 0."""
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 1.0
    """Largest norm of the gradient; a larger one is scaled down to it."""
    ema: float = 0.999
    """Decay of the moving average of the weights, which is what is validated and kept."""


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """How a run is judged."""

    every: int = 100
    """Steps between validations."""
    share: float = 0.1
    """Part of the pictures that is held out."""
    most: int = 12
    """Most pictures to validate on."""
    crop: int = 256
    """Side of the piece of each that is used."""
    criterion: Criterion = Criterion.PSNR
    most_psnr_lost: float = 1.0
    """A model whose PSNR fell by more than this is never the best, whatever the criterion says (dB)."""
    lpips_weights: str = ""
    """File of AlexNet weights for LPIPS; empty: LPIPS is measured only if the file is known."""
    samples: int = 3
    """Pictures that are written at every validation."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The Compact network of a run that starts from nothing."""

    scale: int = 4
    features: int = 32
    convolutions: int = 8
    start: str = ""
    """A bundled model whose weights the run starts from, instead of random ones: of the same features and convolutions,
    and of a scale that is a multiple of this one."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One training run. The same settings, data and kind of machine give the same weights."""

    recipe: str = "custom"
    steps: int = 1000
    batch: int = 8
    seed: int = 0
    device: str = ""
    """Empty: an accelerator if there is one."""
    threads: int = 0
    """CPU threads; 0: as many as PyTorch wants. The last digits of a sum depend on it."""
    mixed_precision: bool = True
    """Half precision where the device has it; never on a CPU."""
    checkpoint_every: int = 100
    half_precision_file: bool = False
    """Store the resulting weights in half precision."""
    data: DataSettings = field(default_factory=DataSettings)
    degradation: DegradationSettings = field(default_factory=DegradationSettings)
    losses: LossSettings = field(default_factory=LossSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)


RECIPES: Mapping[str, Mapping[str, Any]] = {
    # Photographs from the wild: everything that happened to them on the way, and no halos where they are smooth.
    "photo": {
        "degradation": {"mode": "second-order"},
        "losses": {"ringing": 0.2, "frequency": 0.05},
        "validation": {"criterion": "psnr"},
    },
    # Scanned cels: ink lines count several times, flat paint must stay flat.
    "anime": {
        "degradation": {"mode": "cel"},
        "losses": {"line": 1.0, "ringing": 0.5},
        "data": {"drawn_kinds": ["cel", "line-art"]},
        "validation": {"criterion": "line_psnr"},
    },
    # Faces from phones and the web: mild damage, and local contrast so that skin keeps its grain.
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
    """The settings of a recipe. Raises ``InputError`` for a name that is none."""
    if name not in RECIPES:
        raise InputError(f"There is no recipe {name!r}; there are {', '.join(RECIPES)}.")
    return replaced(TrainSettings(recipe=name), RECIPES[name])


def read_settings_file(path: Path) -> dict[str, Any]:
    """A nested mapping from a YAML (or JSON) file. Raises ``InputError`` if it is no such thing."""
    yaml = _yaml()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())[:150]
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
    """Every setting, as YAML that ``read_settings_file`` reads (JSON without PyYAML, which is YAML too)."""
    try:
        return str(_yaml().safe_dump(as_mapping(settings), sort_keys=False, default_flow_style=None, width=110))
    except InputError:
        return json.dumps(as_mapping(settings), indent=2) + "\n"


def load_settings(start: TrainSettings, file: Path | None = None, assignments: Sequence[str] = ()) -> TrainSettings:
    """``start``, changed by a settings file, then by ``name=value`` assignments; checked as a whole."""
    if file is not None:
        start = replaced(start, read_settings_file(file))
    settings = replaced(start, nested(assignments))
    check_settings(settings)
    return settings


def check_settings(settings: TrainSettings) -> None:
    """Raises ``InputError`` for values that cannot work, in one sentence."""
    positive = {
        "steps": settings.steps,
        "batch": settings.batch,
        "checkpoint_every": settings.checkpoint_every,
        "validation.every": settings.validation.every,
        "validation.most": settings.validation.most,
        "optimiser.learning_rate": settings.optimiser.learning_rate,
        "optimiser.clip_norm": settings.optimiser.clip_norm,
        "degradation.group": settings.degradation.group,
        "losses.gan_features": settings.losses.gan_features,
        "losses.line_width": settings.losses.line_width,
    }
    for name, value in positive.items():
        if value <= 0:
            raise InputError(f"{name} is {value:g}; it must be over 0.")
    if not 0.0 < settings.validation.share < 1.0:
        raise InputError(f"validation.share is {settings.validation.share:g}; it must be between 0 and 1.")
    if not 0.0 <= settings.optimiser.ema < 1.0:
        raise InputError(f"optimiser.ema is {settings.optimiser.ema:g}; it must be at least 0 and under 1.")
    weights = [getattr(settings.losses, f.name) for f in fields(settings.losses) if f.name not in _NOT_WEIGHTS]
    if min(weights) < 0 or max(weights) == 0:
        raise InputError("The weights of the losses must not be negative, and at least one must be over 0.")
    if not 0.0 <= settings.losses.overshoot_from < 1.0:
        raise InputError(
            f"losses.overshoot_from is {settings.losses.overshoot_from:g}; it must be at least 0 and under 1."
        )
    if settings.losses.overshoot_reach < 0:
        raise InputError(f"losses.overshoot_reach is {settings.losses.overshoot_reach}; it must be at least 0.")
    if settings.losses.overshoot_from and sum(weights) == settings.losses.overshoot:
        raise InputError("Only overshoot has a weight, and only late in the run; give losses.pixel a weight too.")
    unknown = set(settings.data.drawn_kinds) - set(PAINTERS)
    if unknown:
        raise InputError(f"data.drawn_kinds names {min(unknown)!r}; there are {', '.join(PAINTERS)}.")
    check_degradation(settings.degradation)


_NOT_WEIGHTS = {"vgg_weights", "gan_features", "line_width", "overshoot_from", "overshoot_reach"}


__all__ = [
    "RECIPES",
    "Criterion",
    "DataSettings",
    "LossSettings",
    "Mode",
    "NetworkSettings",
    "OptimiserSettings",
    "TrainSettings",
    "ValidationSettings",
    "check_settings",
    "load_settings",
    "read_settings_file",
    "recipe_settings",
    "settings_text",
]
