"""Each metric in one row: name, direction, range, unit, and the function that measures it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ..errors import InputError
from .defects import Defects, find_defects
from .edge_width import edge_width
from .errors import MetricUnavailable
from .fidelity import Fidelity, fidelity
from .lpips import LpipsNet, LpipsNetwork, kept_network, lpips_distance
from .pair import Align, Channel
from .psnr import psnr
from .ringing import overshoot
from .ssim import ms_ssim, ssim
from .vmaf import VmafModel, vmaf_pictures


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """``metrics``: names of the registry that need a reference. ``border``: pixels left out on every side.
    ``lpips_backbone``: torchvision's weights for ``lpips_net``; without it those of torch hub's folder are used,
    and fetched if ``lpips_download``."""

    metrics: tuple[str, ...] = ("psnr", "ssim")
    channel: Channel = Channel.RGB
    border: int = 0
    align: Align = Align.NONE
    vmaf_model: VmafModel = VmafModel.HD
    lpips_net: LpipsNet = LpipsNet.ALEX
    lpips_backbone: Path | None = None
    lpips_download: bool = False

    @property
    def lpips_network(self) -> LpipsNetwork:
        """Raises ``MetricUnavailable``."""
        return kept_network(self.lpips_net, self.lpips_backbone, self.lpips_download)


@dataclass(frozen=True)
class ReferencePair:
    """A result and its reference, both (1, C, H, W), 0 to 1."""

    result: torch.Tensor
    reference: torch.Tensor
    settings: CompareSettings


@dataclass(frozen=True)
class SourcePair:
    """A source (1, C, h, w) and the result (1, C, H, W) made of it, 0 to 1. ``guide``: what to find edges in (see
    ``edge_width``). What several metrics need is computed once."""

    source: torch.Tensor
    result: torch.Tensor
    guide: torch.Tensor | None = None

    @cached_property
    def fidelity(self) -> Fidelity:
        return fidelity(self.source, self.result)[0]

    @cached_property
    def defects(self) -> Defects:
        return find_defects(self.source, self.result)[0]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """``low`` and ``high`` bound its values; a picture equal to its reference gives the better of the two, except
    VMAF, which then stays a little under it.

    ``of_reference`` or ``of_source`` measures it; a metric with neither is measured by the job that reports it. Both
    may raise ``NotMeasurable`` and ``MetricUnavailable``.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool
    low: float
    high: float
    decimals: int
    about: str
    """How it is computed, in one sentence."""
    of_reference: Callable[[ReferencePair], float] | None = None
    of_source: Callable[[SourcePair], float] | None = None
    convention: Callable[[CompareSettings], str] = lambda _settings: ""
    """The settings that its number depends on, besides the border."""

    def format(self, value: float | None) -> str:
        if value is None:
            return "-"
        return "inf" if math.isinf(value) else f"{value:.{self.decimals}f}"

    def better(self, first: float, second: float) -> bool:
        return first > second if self.higher_is_better else first < second


def _on_channel(function: Callable[..., list[float]]) -> Callable[[ReferencePair], float]:
    def measure(pair: ReferencePair) -> float:
        settings = pair.settings
        return function(pair.result, pair.reference, channel=settings.channel, border=settings.border)[0]

    return measure


def _lpips(pair: ReferencePair) -> float:
    network = pair.settings.lpips_network
    return lpips_distance(pair.result, pair.reference, network, border=pair.settings.border)[0]


def _lpips_network(settings: CompareSettings) -> str:
    try:
        return settings.lpips_network.text
    except MetricUnavailable:
        return ""


def _vmaf(pair: ReferencePair) -> float:
    settings = pair.settings
    return vmaf_pictures(pair.result, pair.reference, settings.vmaf_model, border=settings.border)[0]


def _channel(settings: CompareSettings) -> str:
    return "RGB" if settings.channel is Channel.RGB else "BT.601 Y (16-235)"


def _count(defects: Defects) -> float:
    return defects.broken + len(defects.black) + len(defects.flat)


_ALL = (
    Metric(
        name="psnr", label="PSNR", unit="dB", higher_is_better=True, low=-math.inf, high=math.inf, decimals=2,
        about="10 log10(1 / mean squared error), data range 1",
        of_reference=_on_channel(psnr), convention=_channel,
    ),
    Metric(
        name="ssim", label="SSIM", unit="", higher_is_better=True, low=-1, high=1, decimals=4,
        about="Wang 2004: Gaussian window 11x11, sigma 1.5, valid region, data range 1",
        of_reference=_on_channel(ssim), convention=_channel,
    ),
    Metric(
        name="ms_ssim", label="MS-SSIM", unit="", higher_is_better=True, low=0, high=1, decimals=4,
        about="Wang 2003: SSIM's terms at five scales",
        of_reference=_on_channel(ms_ssim), convention=_channel,
    ),
    Metric(
        name="lpips", label="LPIPS", unit="", higher_is_better=False, low=0, high=math.inf, decimals=4,
        about="Zhang 2018: distance of deep features, RGB",
        of_reference=_lpips, convention=_lpips_network,
    ),
    Metric(
        name="vmaf", label="VMAF", unit="", higher_is_better=True, low=0, high=100, decimals=2,
        about="Netflix libvmaf, luma only; a picture is a video of one frame",
        of_reference=_vmaf, convention=lambda settings: f"model {settings.vmaf_model.value}",
    ),
    Metric(
        name="lr_psnr", label="LR-PSNR", unit="dB", higher_is_better=True, low=-math.inf, high=math.inf, decimals=2,
        about="fidelity: PSNR (RGB) between the source and the result reduced to its size by Lanczos",
        of_source=lambda pair: pair.fidelity.lr_psnr,
    ),
    Metric(
        name="delta_e", label="Colour difference", unit="CIEDE2000", higher_is_better=False, low=0, high=math.inf,
        decimals=3, about="fidelity: mean CIEDE2000 between the source and the result reduced to its size by Lanczos",
        of_source=lambda pair: pair.fidelity.delta_e,
    ),
    Metric(
        name="overshoot", label="Overshoot", unit="%", higher_is_better=False, low=0, high=math.inf, decimals=2,
        about="ringing: median excursion of edges that stand alone beyond the source's, in percent of their height",
        of_source=lambda pair: overshoot(pair.source, pair.result)[0],
    ),
    Metric(
        name="edge_width", label="Edge width", unit="px", higher_is_better=False, low=0, high=32, decimals=2,
        about="sharpness: median 10-90 % rise of strong edges, in result pixels",
        of_source=lambda pair: edge_width(pair.result, pair.guide)[0],
    ),
    Metric(
        name="defects", label="Defects", unit="", higher_is_better=False, low=0, high=math.inf, decimals=0,
        about="NaN and infinite values, and blocks that are black or flat where the source is not",
        of_source=lambda pair: _count(pair.defects),
    ),
    Metric(
        name="seconds_per_megapixel", label="Time", unit="s/MP", higher_is_better=False, low=0, high=math.inf,
        decimals=2, about="seconds per megapixel of result, loading not counted",
    ),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
WITH_REFERENCE = tuple(metric.name for metric in _ALL if metric.of_reference)
WITH_SOURCE = tuple(metric.name for metric in _ALL if metric.of_source)


def measure_pair(name: str, pair: ReferencePair) -> float:
    """Raises ``NotMeasurable`` and ``MetricUnavailable``; ``ValueError`` for a metric that needs no reference."""
    measure = METRICS[name].of_reference
    if measure is None:
        raise ValueError(f"{name} is not measured against a reference")
    return measure(pair)


def metric_names(wanted: Iterable[str]) -> tuple[str, ...]:
    """The names, normalised (case, blanks, hyphens) and without duplicates. Raises ``InputError`` for any other than
    those that need a reference, naming these."""
    names: list[str] = []
    for given in wanted:
        name = given.strip().lower().replace("-", "_")
        if name not in WITH_REFERENCE:
            close = difflib.get_close_matches(name, WITH_REFERENCE, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(WITH_REFERENCE)}."
            raise InputError(f"There is no metric {given!r} here{hint}")
        if name not in names:
            names.append(name)
    if not names:
        raise InputError(f"No metric was named; choose from {', '.join(WITH_REFERENCE)}.")
    return tuple(names)
