"""Turns the rankings into sentences: which model suits which purpose."""

from __future__ import annotations

from collections.abc import Mapping

from .ranking import RankedModel, Ranking, join

PURPOSES = (
    ("Sharpest edges", "edge_width"),
    ("Least ringing", "overshoot"),
    ("Most faithful to its source", "lr_psnr"),
    ("Truest colours", "delta_e"),
    ("Closest to the reference by PSNR", "psnr"),
    ("Closest to the reference by eye (LPIPS)", "lpips"),
    ("Fastest", "seconds_per_megapixel"),
)
RINGING = 2.0
"""Overshoot, relative to plain Lanczos, from which ringing counts as the price of the added sharpness: on Set5,
references themselves measure 1.2 times what Lanczos does, and an unsharp mask with plain halos nearly 3 times."""
UNNATURAL = 1.5
"""The same, relative to the references where there are some: a source that was badly reduced has soft edges, beside
which true ones overshoot."""
FAINT = 1.0
"""Overshoot in percent that is invisible; that of Lanczos is taken to be at least this much."""


def advice(
    models: Mapping[str, Ranking], everything: Mapping[str, Ranking], baseline: str, natural: float | None = None
) -> tuple[list[str], list[str]]:
    """One sentence per measured purpose, and one per model whose sharpness comes at the price of ringing.

    ``models``: rankings by metric without the baseline, ``everything``: with it. ``baseline``, plain resampling, is
    never recommended; it is what the others are compared with. ``natural``: mean overshoot of the references.
    """
    sentences = [
        f"{purpose}: {_choice(models[metric])}{_beside(everything.get(metric), baseline)}."
        for purpose, metric in PURPOSES
        if metric in models
    ]
    return sentences, _ringing(everything, baseline, natural or 0.0)


def _choice(ranking: Ranking) -> str:
    best = ranking.standings[0]
    if len(ranking.standings) == 1 or ranking.winner:
        return f"{best.model}, {ranking.describe(best)}"
    names = join(f"{each.model} ({ranking.describe(each)})" for each in ranking.level)
    return f"no clear winner among {names}"


def _beside(ranking: Ranking | None, baseline: str) -> str:
    plain = _standings(ranking).get(baseline)
    return f"; {baseline} has {ranking.metric.format(plain.mean)}" if ranking and plain else ""


def _ringing(rankings: Mapping[str, Ranking], baseline: str, natural: float) -> list[str]:
    """Models whose edges are narrower than those of ``baseline``, but which overshoot far and clearly more."""
    width, ringing = rankings.get("edge_width"), rankings.get("overshoot")
    widths, peaks = _standings(width), _standings(ringing)
    if width is None or ringing is None or baseline not in widths or baseline not in peaks:
        return []
    limit = max(RINGING * peaks[baseline].mean, RINGING * FAINT, UNNATURAL * natural)
    flags: list[str] = []
    for model in widths.keys() & peaks.keys() - {baseline}:
        peak = peaks[model]
        lucky = peak.level and peak.lead_interval is not None
        if widths[model].mean < widths[baseline].mean and peak.mean > limit and not lucky:
            flags.append(
                f"Ringing: {model} buys its sharpness with overshoot: edges of {width.describe(widths[model])} "
                f"({baseline} {width.metric.format(widths[baseline].mean)}), but {ringing.describe(peak)} of overshoot "
                f"({baseline} {ringing.metric.format(peaks[baseline].mean)})."
            )
    return sorted(flags)


def _standings(ranking: Ranking | None) -> dict[str, RankedModel]:
    return {each.model: each for each in ranking.standings} if ranking else {}
