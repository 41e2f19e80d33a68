"""Which model is better, and is the difference more than chance in the choice of pictures?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .registry import Metric

RESAMPLES = 4000
LEVEL = 0.95
FEWEST_PICTURES = 3
"""With fewer pictures the bootstrap has too few distinct resamples to be meaningful."""

INTERVAL_CONVENTION = (
    f"Intervals are {LEVEL:.0%} bootstrap intervals over the pictures ({RESAMPLES} resamples). That of a mean is wide "
    "where pictures are easy and hard; two models are compared on the same pictures, by the interval of their "
    "difference: where it reaches zero there is no clear winner."
)


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class RankedModel:
    """A model's place under one metric. ``interval``: of its mean. ``lead``: by how much the best is better on the
    same pictures, positive whichever way the metric runs, and ``lead_interval`` the interval of that. Intervals are
    None where there are too few pictures or a figure is infinite."""

    model: str
    mean: float
    interval: Interval | None
    lead: float
    lead_interval: Interval | None

    @property
    def level(self) -> bool:
        """True if the best, or not clearly worse than the best."""
        return self.lead_interval is None or self.lead_interval.low <= 0


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Models from best to worst under ``metric``, over the pictures that any of them has a figure for.

    ``incomplete``: models that lack some of those figures, with how many they have; they are not ranked."""

    metric: Metric
    standings: tuple[RankedModel, ...]
    pictures: int
    incomplete: Mapping[str, int]

    @property
    def level(self) -> tuple[RankedModel, ...]:
        """The best, and those that are not distinguishable from it."""
        return tuple(each for each in self.standings if each.level)

    @property
    def winner(self) -> str | None:
        """The model that is clearly better than every other; None when there is no clear winner."""
        return self.standings[0].model if len(self.level) == 1 and len(self.standings) > 1 else None

    def describe(self, standing: RankedModel) -> str:
        """`28.31 dB [27.40, 29.60]`"""
        text = f"{self.metric.format(standing.mean)} {self.metric.unit}".strip()
        return text if standing.interval is None else f"{text} {self._bounds(standing.interval)}"

    @property
    def verdict(self) -> str:
        """One sentence: who is best, or why nobody is."""
        label, best = self.metric.label, self.standings[0]
        if len(self.standings) == 1:
            return f"{label}: only {best.model} was measured, {self.describe(best)}."
        second = self.standings[1]
        if best.interval is None:
            few = self.pictures < FEWEST_PICTURES
            reason = f"{self.pictures} are too few pictures" if few else "identical pictures have infinite figures"
            return f"{label}: no clear winner, {reason} (first by mean: {best.model}, {self.describe(best)})."
        if self.winner:
            return f"{label}: {best.model} is best with {self.describe(best)}, {self._ahead(second)}."
        return (
            f"{label}: no clear winner among {join(each.model for each in self.level)}; {best.model} has "
            f"{self.describe(best)}, {self._ahead(second)}."
        )

    def _ahead(self, standing: RankedModel) -> str:
        unit = f" {self.metric.unit}" if self.metric.unit else ""
        bounds = f" {self._bounds(standing.lead_interval)}" if standing.lead_interval else ""
        return f"ahead of {standing.model} by {self.metric.format(standing.lead)}{unit}{bounds}"

    def _bounds(self, interval: Interval) -> str:
        return f"[{self.metric.format(interval.low)}, {self.metric.format(interval.high)}]"


def rank(metric: Metric, figures: Mapping[str, Mapping[str, float]], *, seed: int = 0) -> Ranking | None:
    """Rank models by ``figures[model][picture]``. The pictures are those that any model has a figure for; a model
    that lacks one is not ranked. None when no model has all of them.

    Intervals are percentile bootstrap intervals (Efron 1979) over pictures; differences are taken picture by
    picture, so that the difficulty of a picture for all models cancels out.
    """
    pictures = sorted({picture for by_picture in figures.values() for picture in by_picture})
    complete = [model for model, found in figures.items() if len(found) == len(pictures)]
    if not pictures or not complete:
        return None
    table = np.array([[figures[model][picture] for picture in pictures] for model in complete])
    sign = 1 if metric.higher_is_better else -1
    order = sorted(range(len(complete)), key=lambda index: -sign * float(table[index].mean()))
    table, complete = table[order], [complete[index] for index in order]
    with np.errstate(invalid="ignore"):  # infinity less infinity: two models that are both perfect are level
        leads = np.array([np.where(row == table[0], 0.0, sign * (table[0] - row)) for row in table])
    standings = [
        RankedModel(
            model=model, mean=float(row.mean()), interval=interval, lead=float(lead.mean()), lead_interval=reach
        )
        for model, row, interval, lead, reach in zip(
            complete, table, _intervals(table, seed), leads, _intervals(leads, seed), strict=True
        )
    ]
    return Ranking(
        metric=metric,
        standings=tuple(standings),
        pictures=len(pictures),
        incomplete={model: len(found) for model, found in figures.items() if model not in complete},
    )


def join(names: Iterable[str]) -> str:
    """`a, b and c`"""
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


def _intervals(table: npt.NDArray[np.float64], seed: int) -> list[Interval | None]:
    """The interval of each row's mean, for values (models, pictures)."""
    models, pictures = table.shape
    if pictures < FEWEST_PICTURES or not np.isfinite(table).all():
        return [None] * models
    drawn = np.random.default_rng(seed).integers(0, pictures, (RESAMPLES, pictures))
    means = table[:, drawn].mean(axis=2)
    low, high = (np.quantile(means, share, axis=1) for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return [Interval(float(low[model]), float(high[model])) for model in range(models)]
