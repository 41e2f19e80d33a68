"""What each metric is: name, direction, range, unit, and whether it needs a reference."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Facts about a metric. ``low`` and ``high`` bound what it can give; a picture equal to its reference gives
    the better of the two, except VMAF, which then stays a little under it."""

    name: str
    label: str
    unit: str
    higher_is_better: bool
    low: float
    high: float
    needs_reference: bool
    decimals: int
    about: str
    """How it is worked out, in one sentence."""

    def format(self, value: float | None) -> str:
        if value is None:
            return "-"
        return "inf" if math.isinf(value) else f"{value:.{self.decimals}f}"

    def better(self, first: float, second: float) -> bool:
        return first > second if self.higher_is_better else first < second


_ALL = (
    Metric(
        name="psnr", label="PSNR", unit="dB", higher_is_better=True, low=-math.inf, high=math.inf,
        needs_reference=True, decimals=2, about="10 log10(1 / mean squared error), data range 1",
    ),
    Metric(
        name="ssim", label="SSIM", unit="", higher_is_better=True, low=-1, high=1,
        needs_reference=True, decimals=4,
        about="Wang 2004: Gaussian window 11x11, sigma 1.5, valid region, data range 1",
    ),
    Metric(
        name="ms_ssim", label="MS-SSIM", unit="", higher_is_better=True, low=0, high=1,
        needs_reference=True, decimals=4, about="Wang 2003: SSIM's terms at five scales",
    ),
    Metric(
        name="lpips", label="LPIPS", unit="", higher_is_better=False, low=0, high=math.inf,
        needs_reference=True, decimals=4, about="Zhang 2018: distance of deep features, RGB",
    ),
    Metric(
        name="vmaf", label="VMAF", unit="", higher_is_better=True, low=0, high=100,
        needs_reference=True, decimals=2, about="Netflix libvmaf, luma only; a picture is a video of one frame",
    ),
    Metric(
        name="lr_psnr", label="LR-PSNR", unit="dB", higher_is_better=True, low=-math.inf, high=math.inf,
        needs_reference=False, decimals=2,
        about="fidelity: PSNR (RGB) between the source and the result reduced to its size by Lanczos",
    ),
    Metric(
        name="delta_e", label="Colour difference", unit="CIEDE2000", higher_is_better=False, low=0, high=math.inf,
        needs_reference=False, decimals=3,
        about="fidelity: mean CIEDE2000 between the source and the result reduced to its size by Lanczos",
    ),
    Metric(
        name="overshoot", label="Overshoot", unit="%", higher_is_better=False, low=0, high=math.inf,
        needs_reference=False, decimals=2,
        about="ringing: median excursion of edges that stand alone beyond the source's, in percent of their height",
    ),
    Metric(
        name="edge_width", label="Edge width", unit="px", higher_is_better=False, low=0, high=32,
        needs_reference=False, decimals=2, about="sharpness: median 10-90 % rise of strong edges, in result pixels",
    ),
    Metric(
        name="seam", label="Seam score", unit="", higher_is_better=False, low=0, high=math.inf,
        needs_reference=False, decimals=2,
        about="steps at tile borders relative to the lines beside them; 1 is as good as no border",
    ),
    Metric(
        name="defects", label="Defects", unit="", higher_is_better=False, low=0, high=math.inf,
        needs_reference=False, decimals=0,
        about="NaN and infinite values, and blocks that are black or flat where the source is not",
    ),
    Metric(
        name="seconds_per_megapixel", label="Time", unit="s/MP", higher_is_better=False, low=0, high=math.inf,
        needs_reference=False, decimals=2, about="seconds per megapixel of result, loading not counted",
    ),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
WITH_REFERENCE = tuple(metric.name for metric in _ALL if metric.needs_reference)


def metric_names(wanted: Iterable[str], allowed: Iterable[str] = WITH_REFERENCE) -> tuple[str, ...]:
    """The names, tidied (case, blanks, hyphens) and each once. Raises ``InputError`` for one that is not allowed,
    naming those that are."""
    allowed = tuple(allowed)
    names: list[str] = []
    for given in wanted:
        name = given.strip().lower().replace("-", "_")
        if name not in allowed:
            close = difflib.get_close_matches(name, allowed, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(allowed)}."
            raise InputError(f"There is no metric {given!r} here{hint}")
        if name not in names:
            names.append(name)
    if not names:
        raise InputError(f"No metric was named; choose of {', '.join(allowed)}.")
    return tuple(names)
