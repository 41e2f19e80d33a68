"""The results of a shoot-out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from ..metrics.advice import advice
from ..metrics.compare import text_table
from ..metrics.ranking import INTERVAL_CONVENTION, Ranking, rank
from ..metrics.registry import METRICS
from ..types import Box, Size

BASELINE = "Lanczos"
"""Plain resampling, a row of every shoot-out."""
SOURCE, REFERENCE = "source", "reference"
"""Labels of the crops beside those of the models."""

FIGURES = (
    "psnr", "ssim", "ms_ssim", "lpips", "vmaf", "lr_psnr", "delta_e", "edge_width", "overshoot",
    "seconds_per_megapixel",
)  # fmt: skip
"""Columns, if they were measured."""


@dataclass(frozen=True)
class Cell:
    """One model on one picture. ``problems``: sentences about failures and findings."""

    model: str
    picture: str
    values: Mapping[str, float]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Crop:
    """A part where the models differ. ``views``: by label, (3, h, w) uint8; the source is smaller by the scale."""

    picture: str
    box: Box
    spread: float
    views: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class PictureFacts:
    name: str
    source: Size
    result: Size
    has_reference: bool


@dataclass(frozen=True, kw_only=True)
class ShootoutResult:
    """``models``: those that could be opened, the baseline first. ``setting``: sentences about how it was run."""

    scale: int
    models: tuple[str, ...]
    pictures: tuple[PictureFacts, ...]
    cells: tuple[Cell, ...]
    crops: tuple[Crop, ...]
    setting: tuple[str, ...]
    conventions: Mapping[str, str]
    problems: tuple[str, ...]

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that at least one cell has."""
        return tuple(name for name in FIGURES if any(name in cell.values for cell in self.cells))

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """The models, then the references, whose own metrics show what is natural; references are not ranked."""
        return (*self.models, REFERENCE) if any(cell.model == REFERENCE for cell in self.cells) else self.models

    @cached_property
    def rankings(self) -> dict[str, Ranking]:
        """Models and the baseline by metric, without metrics that no model has for every picture."""
        return self._rankings(REFERENCE)

    @cached_property
    def advice(self) -> list[str]:
        """Which model for what; empty without models."""
        return self._advice[0]

    @cached_property
    def flags(self) -> list[str]:
        """Models whose sharpness is bought with ringing."""
        return self._advice[1]

    @cached_property
    def _advice(self) -> tuple[list[str], list[str]]:
        natural = self.mean(REFERENCE, "overshoot")
        return advice(self._rankings(REFERENCE, BASELINE), self.rankings, BASELINE, natural)

    @cached_property
    def verdicts(self) -> list[str]:
        return [ranking.verdict for ranking in self.rankings.values()]

    @cached_property
    def all_problems(self) -> tuple[str, ...]:
        """Everything that went wrong; a problem that all models have on a picture is listed once."""
        seen: dict[str, None] = dict.fromkeys(self.problems)
        for cell in self.cells:
            for problem in cell.problems:
                shared = all(problem in other.problems for other in self.cells if other.picture == cell.picture)
                where = cell.picture if shared else f"{cell.model} on {cell.picture}"
                seen[f"{where}: {problem}"] = None
        return tuple(seen)

    def text(self) -> str:
        """Means, advice and problems, ready to print."""
        parts = [self.table(), "\n".join(self.advice + self.flags), "\n".join(self.notes)]
        if self.all_problems:
            parts.append("\n".join(self.all_problems))
        return "\n\n".join(part for part in parts if part)

    @property
    def notes(self) -> tuple[str, ...]:
        """How every metric was computed."""
        about = [
            f"{METRICS[name].label}: {self.conventions[name]}; "
            f"{'higher' if METRICS[name].higher_is_better else 'lower'} is better."
            for name in self.metrics
        ]
        return (*about, "Means are over the pictures.", INTERVAL_CONVENTION, *self.setting)

    def table(self) -> str:
        head = ["", *(f"{METRICS[name].label} {METRICS[name].unit}".strip() for name in self.metrics)]
        rows = [[model, *(self.mean_text(model, name) for name in self.metrics)] for model in self.rows]
        return text_table([head, *rows])

    def mean(self, model: str, metric: str) -> float | None:
        values = [cell.values[metric] for cell in self.cells if cell.model == model and metric in cell.values]
        return sum(values) / len(values) if values else None

    def mean_text(self, model: str, metric: str) -> str:
        """The mean, marked with a star if the model is not ranked because some pictures are missing."""
        ranking = self.rankings.get(metric)
        star = "*" if ranking and model in ranking.incomplete else ""
        mean = self.mean(model, metric)
        return METRICS[metric].format(mean) + (star if mean is not None else "")

    def _rankings(self, *without: str) -> dict[str, Ranking]:
        found = {name: rank(METRICS[name], self._figures(name, without)) for name in self.metrics}
        return {name: ranking for name, ranking in found.items() if ranking is not None}

    def _figures(self, metric: str, without: tuple[str, ...]) -> dict[str, dict[str, float]]:
        figures: dict[str, dict[str, float]] = {}
        for cell in self.cells:
            if metric in cell.values and cell.model not in without:
                figures.setdefault(cell.model, {})[cell.picture] = cell.values[metric]
        return figures
