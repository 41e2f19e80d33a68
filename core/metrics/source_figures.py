"""Figures that need no reference: a result against its source."""

from __future__ import annotations

import torch

from ..errors import InputError
from ..progress import Progress
from .compare import ComparisonReport, Row
from .errors import NotMeasurable
from .registry import METRICS, WITH_SOURCE, SourcePair


def source_row(name: str, source: torch.Tensor, result: torch.Tensor, *, guide: torch.Tensor | None = None) -> Row:
    """All figures of one result (1, C, H, W) of one source (1, C, h, w), 0 to 1. A figure that these pictures do not
    allow is replaced by a sentence; defects are counted and described. A result with NaN has no other figure.
    ``guide``: what to find edges in (see ``edge_width``).

    Raises ``InputError`` if the result is not an enlargement of the source.
    """
    pair = SourcePair(source, result, guide)
    problems = [] if pair.defects.none else [f"{pair.defects.text}."]
    values: dict[str, float] = {}
    for metric in (METRICS[each] for each in (("defects",) if pair.defects.broken else WITH_SOURCE)):
        assert metric.of_source is not None
        try:
            values[metric.name] = metric.of_source(pair)
        except NotMeasurable as error:
            problems.append(str(error))
    return Row(name, values, tuple(problems))


def compare_with_source(
    source: torch.Tensor, result: torch.Tensor, progress: Progress | None = None
) -> ComparisonReport:
    """``source_row`` for each pair of two batches (B, C, h, w) and (B, C, H, W), as a report whose means can be held
    against thresholds (``compare.missed``). Raises ``InputError`` like ``source_row``, and for different numbers of
    pictures."""
    if len(source) != len(result):
        raise InputError(f"There are {len(source)} sources and {len(result)} results; give the same number of both.")
    progress = progress or Progress()
    found: list[Row] = []
    progress.begin(len(source), "pairs")
    for index in range(len(source)):
        progress.check()
        found.append(source_row(f"image {index + 1}", source[index : index + 1], result[index : index + 1]))
        progress.advance()
    return ComparisonReport(WITH_SOURCE, {metric: METRICS[metric].about for metric in WITH_SOURCE}, tuple(found))
