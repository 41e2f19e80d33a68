"""Figures that need no reference: a result against its source."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..errors import InputError
from ..progress import Progress
from .compare import ComparisonReport, Row
from .defects import find_defects
from .edge_width import edge_width
from .errors import NotMeasurable
from .fidelity import fidelity
from .registry import METRICS
from .ringing import overshoot
from .seams import seam_score

SOURCE_METRICS = ("lr_psnr", "delta_e", "overshoot", "edge_width", "defects")


def source_row(
    name: str,
    source: torch.Tensor,
    result: torch.Tensor,
    *,
    guide: torch.Tensor | None = None,
    columns: Sequence[int] = (),
    rows: Sequence[int] = (),
) -> Row:
    """All figures of one result (1, C, H, W) of one source (1, C, h, w), 0 to 1. A figure that these pictures do not
    allow is left out with a sentence; defects are counted and described. A result with NaN has no other figure.

    ``guide``: what to find edges in (see ``edge_width``). ``columns``, ``rows``: tile borders of the result, if it
    was made of tiles and seams are to be looked for.

    Raises ``InputError`` for what is no enlargement of the source.
    """
    defects = find_defects(source, result)[0]
    count = defects.broken + len(defects.black) + len(defects.flat)
    values: dict[str, float] = {"defects": count}
    problems = [] if defects.none else [f"{defects.text}."]
    if defects.broken:
        return Row(name, values, tuple(problems))
    faithful = fidelity(source, result)[0]
    values |= {"lr_psnr": faithful.lr_psnr, "delta_e": faithful.delta_e}
    measures: dict[str, Callable[[], float]] = {
        "overshoot": lambda: overshoot(source, result)[0],
        "edge_width": lambda: edge_width(result, guide)[0],
    }
    if columns or rows:
        measures["seam"] = lambda: seam_score(result, columns, rows)[0].score
    for metric, measure in measures.items():
        try:
            values[metric] = measure()
        except NotMeasurable as error:
            problems.append(str(error))
    return Row(name, values, tuple(problems))


def compare_with_source(
    source: torch.Tensor,
    result: torch.Tensor,
    columns: Sequence[int] = (),
    rows: Sequence[int] = (),
    progress: Progress | None = None,
) -> ComparisonReport:
    """``source_row`` for each pair of two batches (B, C, h, w) and (B, C, H, W), as a report whose means can be held
    against thresholds (``compare.missed``). Raises ``InputError`` as ``source_row``, and for other numbers."""
    if len(source) != len(result):
        raise InputError(f"There are {len(source)} sources and {len(result)} results; give as many of both.")
    progress = progress or Progress()
    found: list[Row] = []
    progress.begin(len(source), "pairs")
    for index in range(len(source)):
        progress.check()
        pair = source[index : index + 1], result[index : index + 1]
        found.append(source_row(f"image {index + 1}", *pair, columns=columns, rows=rows))
        progress.advance()
    metrics = (*SOURCE_METRICS, "seam") if columns or rows else SOURCE_METRICS
    return ComparisonReport(metrics, {metric: METRICS[metric].about for metric in metrics}, tuple(found))
