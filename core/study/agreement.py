"""How far voters agree with each other, and metrics with voters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..metrics.registry import METRICS
from .analysis import Preference
from .design import Design, Key


@dataclass(frozen=True)
class Prediction:
    """On ``agreed`` of ``pairs`` (one picture, two sides, a majority), the metric pointed where most people did."""

    question: str
    metric: str
    agreed: int
    pairs: int

    @property
    def text(self) -> str:
        return f"would have said what most people said on {self.agreed} of {self.pairs} pairs"


def krippendorff(votes: Iterable[Preference]) -> float | None:
    """Krippendorff's alpha (nominal): 1 is full agreement, 0 what chance gives; None if no pair has two answers or all
    answers are "no difference". Each pair counts in both directions: which side comes first is arbitrary, and otherwise
    voters who all prefer the same side would seem to agree by chance alone."""
    units: dict[tuple[str, int, int], Counter[float]] = {}
    for vote in votes:
        units.setdefault((vote.picture, vote.first, vote.second), Counter())[vote.outcome] += 1
        units.setdefault((vote.picture, vote.second, vote.first), Counter())[1 - vote.outcome] += 1
    pairable = [unit for unit in units.values() if unit.total() > 1]
    totals = sum(pairable, Counter[float]())
    count = totals.total()
    expected = count**2 - sum(number**2 for number in totals.values())
    if not expected:
        return None
    observed = sum((u.total() ** 2 - sum(n**2 for n in u.values())) / (u.total() - 1) for u in pairable)
    return 1 - (count - 1) * observed / expected


def predictions(question: str, votes: Sequence[Preference], key: Key, design: Design) -> list[Prediction]:
    """For each metric that was measured; pairs without a majority, or with equal figures, do not count."""
    tokens = key.tokens(design)
    leads: dict[tuple[str, int, int], float] = {}
    for vote in votes:
        place = (vote.picture, vote.first, vote.second)
        leads[place] = leads.get(place, 0.0) + vote.outcome - 0.5
    found: list[Prediction] = []
    for metric in METRICS.values():
        said: list[bool] = []
        for (picture, *sides), lead in leads.items():
            one, two = (key.figures.get(tokens[picture, key.labels[s]], {}).get(metric.name) for s in sides)
            if one is not None and two is not None and one != two and lead:
                said.append(metric.better(one, two) == (lead > 0))
        if said:
            found.append(Prediction(question, metric.name, sum(said), len(said)))
    return found
