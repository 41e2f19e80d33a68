"""Figures for pairs of pictures, and the report about them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import InputError
from ..progress import Progress
from .errors import MetricUnavailable, NotMeasurable
from .pair import align_pair, check_pair, settle_alpha
from .registry import METRICS, CompareSettings, ReferencePair, measure_pair


@dataclass(frozen=True)
class Scores:
    """Figures by metric, and for each missing one a sentence that says why."""

    values: Mapping[str, float]
    missing: Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """One pair: its ``name``, its figures, and sentences about what went wrong with it."""

    name: str
    values: Mapping[str, float]
    problems: tuple[str, ...] = ()
    frames: int = 1


class Comparer:
    """Measures pair after pair with one setting."""

    def __init__(self, settings: CompareSettings) -> None:
        self.settings = settings
        self.unavailable: dict[str, str] = {}
        """Metrics that are unavailable on this machine, found on first use."""

    def score(self, result: torch.Tensor, reference: torch.Tensor, *, leave_out: tuple[str, ...] = ()) -> Scores:
        """All figures for one pair (1, C, H, W). One metric that fails does not stop the others.

        Raises ``InputError`` for pairs that cannot be compared: different sizes, no pictures, too large a border.
        """
        result, reference = align_pair(result, reference, self.settings.align)
        check_pair(result, reference)
        values: dict[str, float] = {}
        missing: dict[str, str] = {}
        for name in self.settings.metrics:
            if name in self.unavailable or name in leave_out:
                continue
            try:
                values[name] = measure_pair(name, ReferencePair(result, reference, self.settings))
            except NotMeasurable as error:
                missing[name] = str(error)
            except MetricUnavailable as error:
                self.unavailable[name] = str(error)
        return Scores(values, missing)

    def conventions(self) -> dict[str, str]:
        """How each metric's number was computed, to be printed beside it."""
        return {name: self._convention(name) for name in self.settings.metrics if name not in self.unavailable}

    def _convention(self, name: str) -> str:
        metric = METRICS[name]
        parts = [metric.about, metric.convention(self.settings), f"border of {self.settings.border} px left out"]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class ComparisonReport:
    """Figures for a set of pairs. ``problems``: sentences about what no row shows (files without a partner, unavailable
    metrics)."""

    metrics: tuple[str, ...]
    conventions: Mapping[str, str]
    rows: tuple[Row, ...]
    problems: tuple[str, ...] = ()

    def mean(self, metric: str) -> float | None:
        """Mean of the rows' figures; infinite if one is, None if there are none."""
        values = [row.values[metric] for row in self.rows if metric in row.values]
        return sum(values) / len(values) if values else None

    @property
    def means(self) -> dict[str, float]:
        found = {metric: self.mean(metric) for metric in self.metrics}
        return {metric: value for metric, value in found.items() if value is not None}

    @property
    def all_problems(self) -> tuple[str, ...]:
        return (*self.problems, *(f"{row.name}: {problem}" for row in self.rows for problem in row.problems))

    def text(self) -> str:
        """Table, conventions and problems, ready to print."""
        shown = [METRICS[metric] for metric in self.metrics if metric in self.means]
        parts: list[str] = []
        if shown:
            head = ["", *(f"{metric.label} {metric.unit}".strip() for metric in shown)]
            body = [[row.name, *(m.format(row.values.get(m.name)) for m in shown)] for row in self.rows]
            if len(self.rows) > 1:
                body.append(["mean", *(metric.format(self.mean(metric.name)) for metric in shown)])
            parts.append(text_table([head, *body]))
            parts.append("\n".join(self._notes()))
        if self.all_problems:
            parts.append("\n".join(self.all_problems))
        return "\n\n".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON. JSON has no infinite numbers, so an infinite figure becomes the text "Infinity"."""
        return {
            "means": json_figures(self.means),
            "conventions": dict(self.conventions),
            "rows": [
                {
                    "name": row.name,
                    "frames": row.frames,
                    "values": json_figures(row.values),
                    "problems": list(row.problems),
                }
                for row in self.rows
            ],
            "problems": list(self.problems),
        }

    def _notes(self) -> list[str]:
        better = {True: "higher is better", False: "lower is better"}
        notes: list[str] = []
        for name in self.means:
            metric = METRICS[name]
            notes.append(f"{metric.label}: {self.conventions[name]}; {better[metric.higher_is_better]}")
            values = [row.values[name] for row in self.rows if name in row.values]
            if len(values) < len(self.rows):
                notes[-1] += f"; mean of the {len(values)} of {len(self.rows)} pairs that have it"
            elif len(values) > 1:
                notes[-1] += "; mean of per-image values"
            finite = [value for value in values if math.isfinite(value)]
            if 0 < len(finite) < len(values):
                mean = metric.format(sum(finite) / len(finite))
                notes[-1] += f"; {len(values) - len(finite)} are identical, the mean of the others is {mean}"
        return notes


def json_figures(values: Mapping[str, float]) -> dict[str, float | str]:
    return {name: value if math.isfinite(value) else "Infinity" for name, value in values.items()}


def compare_pictures(
    result: torch.Tensor,
    reference: torch.Tensor,
    settings: CompareSettings,
    result_alpha: torch.Tensor | None = None,
    reference_alpha: torch.Tensor | None = None,
    progress: Progress | None = None,
) -> ComparisonReport:
    """Figures for each pair of two batches (B, C, H, W), 0 to 1, with their alpha (B, 1, H, W) if they have any.

    Raises ``InputError`` for pairs that cannot be compared (see ``Comparer.score`` and ``settle_alpha``) and for
    different numbers of pictures.
    """
    if len(result) != len(reference):
        raise InputError(
            f"The result holds {len(result)} pictures and the reference {len(reference)}; give the same number of both."
        )
    result, reference = settle_alpha(result, result_alpha, reference, reference_alpha)
    progress = progress or Progress()
    comparer = Comparer(settings)
    rows: list[Row] = []
    progress.begin(len(result), "pairs")
    for index in range(len(result)):
        progress.check()
        scores = comparer.score(result[index : index + 1], reference[index : index + 1])
        rows.append(Row(f"image {index + 1}", scores.values, tuple(scores.missing.values())))
        progress.advance()
    return report(comparer, tuple(rows))


def report(comparer: Comparer, rows: tuple[Row, ...], problems: tuple[str, ...] = ()) -> ComparisonReport:
    """The report on a comparer's measurements."""
    unavailable = tuple(comparer.unavailable.values())
    return ComparisonReport(comparer.settings.metrics, comparer.conventions(), rows, (*unavailable, *problems))


@dataclass(frozen=True)
class Threshold:
    """The mean of ``metric`` must not be worse than ``limit``."""

    metric: str
    limit: float


def missed(report: ComparisonReport, thresholds: Iterable[Threshold]) -> list[str]:
    """A sentence for each threshold that the means do not meet; a metric without a figure meets none."""
    sentences: list[str] = []
    for metric, limit in ((METRICS[each.metric], each.limit) for each in thresholds):
        mean = report.mean(metric.name)
        wanted = f"{'at least' if metric.higher_is_better else 'at most'} {limit:g}"
        if mean is None:
            sentences.append(f"{metric.label} is wanted {wanted} and could not be measured.")
        elif metric.better(limit, mean):
            sentences.append(f"{metric.label} is {f'{mean:.6g} {metric.unit}'.strip()}, wanted {wanted}.")
    return sentences


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the header, with a rule below it. The first column is left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])
