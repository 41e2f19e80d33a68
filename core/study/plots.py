"""SVG plots for a page: shares with their intervals, and bars of votes."""

from __future__ import annotations

from collections.abc import Sequence

from ..report.html import text
from .analysis import Share

WIDTH, LEFT, ROW = 860, 360, 30
"""In pixels: the width of the plot, the width of the names beside it, the height of a row."""


def share_plot(shares: Sequence[Share]) -> str:
    """A row for each share: a dot, its 95 % interval, and a mark at 50 %. Empty without shares."""
    if not shares:
        return ""
    height = ROW * len(shares) + 34
    grid = "".join(
        f"<line x1='{_x(at):.1f}' x2='{_x(at):.1f}' y1='4' y2='{height - 26}' "
        f"class='{'half' if at == 0.5 else 'grid'}'/>"
        f"<text x='{_x(at):.1f}' y='{height - 8}' text-anchor='middle'>{at:.0%}</text>"
        for at in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    rows = "".join(_share(share, 20 + ROW * place) for place, share in enumerate(shares))
    return (
        f"<svg class='plot' viewBox='0 0 {WIDTH} {height}' role='img' aria-label='preference shares'>{grid}{rows}</svg>"
    )


def _share(share: Share, y: int) -> str:
    kind = "clear" if share.clear else "open"
    bar = ""
    if share.interval:
        low, high = _x(share.interval.low), _x(share.interval.high)
        bar = f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{y}' y2='{y}' class='bar {kind}'/>"
    return (
        f"<text x='0' y='{y + 4}'>{text(_short(share.label))} over {text(_short(share.other))}</text>{bar}"
        f"<circle cx='{_x(share.share):.1f}' cy='{y}' r='5' class='{kind}'/>"
    )


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - 24) * min(1.0, max(0.0, share))


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:20]}..."


def vote_bar(counts: tuple[int, int, int]) -> str:
    """Votes for the first, for neither and for the second, as one bar."""
    total, at, parts = max(1, sum(counts)), 0.0, ""
    for count, kind in zip(counts, ("first", "tie", "second"), strict=True):
        width = 200 * count / total
        parts += f"<rect x='{at:.1f}' y='0' width='{width:.1f}' height='14' class='{kind}'/>"
        at += width
    label = " / ".join(map(str, counts))
    frame = "viewBox='0 0 200 14' preserveAspectRatio='none' role='img'"
    return f"<svg class='votes' {frame} aria-label='{label}'>{parts}</svg>"
