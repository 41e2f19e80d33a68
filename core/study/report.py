"""The report of a study: a self-contained page, the same as JSON, and a table of every vote that counts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from ..atomic_write import write_atomic
from ..metrics.registry import METRICS
from ..report.html import STYLE, data_uri, items, page, section, table, text
from .analysis import CONVENTION, Standings
from .design import PICTURES, QUESTIONS
from .pictures import picture_path
from .plots import share_plot, vote_bar
from .screening import RULE
from .tally import PictureResult, Tally

MOST_CROPS = 24
"""Pictures shown, those where the leading side did worst first."""
MORE_STYLE = """
.verdict { font-size: 1.15rem; font-weight: 600; border-left: 4px solid var(--best); padding: .2rem .8rem; }
.plot { width: 100%; max-width: 860px; font-size: 13px; } .plot text { fill: var(--ink); }
.plot .grid { stroke: var(--line); } .plot .half { stroke: var(--quiet); stroke-dasharray: 4 3; }
.plot .bar { stroke-width: 3; } .plot line.clear { stroke: var(--best); } .plot line.open { stroke: var(--quiet); }
.plot circle.clear { fill: var(--best); } .plot circle.open { fill: var(--quiet); }
.votes { width: 100%; max-width: 20rem; height: 14px; display: block; margin: .2rem 0; }
.votes .first { fill: #3273c9; } .votes .tie { fill: #9a9aa2; } .votes .second { fill: #d98324; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .6rem; margin: .4rem 0 1.4rem; }
.row img { width: 100%; display: block; border-radius: 4px; background: var(--line); } .row figure { max-width: 22rem; }
.row figure div { aspect-ratio: 1; overflow: hidden; }
"""


def write_report(found: Tally, study: Path, folder: Path) -> list[Path]:
    """Writes report.html, report.json and report.csv to ``folder``; each appears complete or not at all. ``study``:
    where the pictures are. Raises ``OSError``."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "report.html": report_html(found, study),
        "report.json": json.dumps(found.as_dict(), indent=1, allow_nan=False) + "\n",
        "report.csv": report_csv(found),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content.encode("utf-8", "replace"))
    return [folder / name for name in contents]


def report_csv(found: Tally) -> str:
    """A line for each picture, question and pair."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(["question", "picture", "first", "second", "for_first", "no_difference", "for_second"])
    for each in found.pictures:
        counts = (each.for_first, each.ties, each.for_second)
        writer.writerow([each.question, each.picture, each.first, each.second, *counts])
    return content.getvalue()


def report_html(found: Tally, study: Path) -> str:
    title = found.design.title or "Blind study"
    kept = sum(voter.kept for voter in found.voters)
    about = (
        f"{len(found.key.labels)} sides: {', '.join(found.key.labels)}. {len(found.voters)} voters, of whom {kept} "
        f"count; {found.design.voters} were planned."
    )
    sections = [
        f"<h1>{text(title)}</h1><p class='quiet'>{text(about)}</p>",
        "".join(f"<p class='warn'>{text(sentence)}</p>" for sentence in found.warnings),
        *(_question(found, name) for name in found.questions),
        section("Which figure to trust on these pictures", _predictions(found)),
        section("Picture by picture", _pictures(found, study)),
        section("Voters", _voters(found)),
        section("Problems", items(found.problems)),
        section("Rules, fixed before the first vote", items([found.design.win, found.design.stop, RULE, CONVENTION])),
    ]
    return page(title, "".join(sections), style=STYLE + MORE_STYLE)


def _question(found: Tally, name: str) -> str:
    standing = found.questions[name]
    decides = " (decides)" if name == found.design.decides and len(found.questions) > 1 else ""
    shares = [each for each in standing.shares if _leads(standing, each.label, each.other)]
    agreed = found.agreement[name]
    alpha = "cannot be said" if agreed is None else f"{agreed:.2f}"
    return section(
        QUESTIONS[name] + decides,
        f"<p class='verdict'>{text(standing.verdict)}</p>{share_plot(shares if standing.votes else [])}"
        f"<p class='quiet'>{standing.votes} votes of {standing.voters} voters on {standing.pictures} pictures. "
        f"Agreement of the voters (Krippendorff's alpha, 1 is full, 0 is chance): {alpha}. "
        "Green: the winning rule is met.</p>"
        f"{_matrix(standing)}",
    )


def _leads(standing: Standings, label: str, other: str) -> bool:
    return standing.labels.index(label) < standing.labels.index(other)


def _matrix(standing: Standings) -> str:
    """Wins of the row over the column, and ties."""
    head = ["wins over (ties)", *standing.labels, "strength"]
    rows = [
        [
            one,
            *(
                "" if one == other else f"{standing.wins[one][other]} ({standing.ties[one][other]})"
                for other in standing.labels
            ),
            f"{strength:+.2f}",
        ]
        for one, strength in zip(standing.labels, standing.strengths, strict=True)
    ]
    return table(head, rows)


def _predictions(found: Tally) -> str:
    rows = [
        [
            QUESTIONS[each.question],
            METRICS[each.metric].label,
            f"{each.agreed} of {each.pairs}",
            f"{each.agreed / each.pairs:.0%}",
        ]
        for each in sorted(found.predictions, key=lambda each: (each.question, -each.agreed / each.pairs))
    ]
    hint = "How often the better figure was that of the side that most people preferred; chance is 50 %."
    head = ["question", "metric", "agreed with most people", "share"]
    return f"{table(head, rows)}<p class='quiet'>{hint}</p>" if rows else ""


def _pictures(found: Tally, study: Path) -> str:
    """Pictures where the leading side does worst come first; crops as voters saw them."""
    leader = found.deciding.labels[0]
    by_name: dict[str, list[PictureResult]] = {}
    for each in found.pictures:
        if each.question == found.design.decides:
            by_name.setdefault(each.picture, []).append(each)
    ordered = sorted(by_name, key=lambda name: _lead(by_name[name], leader))
    tokens = found.key.tokens(found.design)
    shown = [
        _picture(
            name, by_name[name], [(label, study, tokens.get((name, label))) for label in found.deciding.labels], place
        )
        for place, name in enumerate(ordered)
    ]
    lost = [name for name in ordered if _lead(by_name[name], leader) < 0]
    hint = f"{leader} loses on {len(lost)} of {len(ordered)} pictures{': ' if lost else ''}{', '.join(lost[:8])}."
    return f"<p>{text(hint)}</p>{''.join(shown)}" if shown else ""


def _lead(results: Sequence[PictureResult], leader: str) -> int:
    """Votes for the leading side minus votes against it."""
    return sum(
        (each.for_first - each.for_second) * ((each.first == leader) - (each.second == leader)) for each in results
    )


def _picture(
    name: str, results: Sequence[PictureResult], views: Sequence[tuple[str, Path, str | None]], place: int
) -> str:
    bars = "".join(
        f"<div class='quiet'>{text(each.first)} {each.for_first}, no difference {each.ties}, "
        f"{text(each.second)} {each.for_second}{vote_bar((each.for_first, each.ties, each.for_second))}</div>"
        for each in results
    )
    crops = "" if place >= MOST_CROPS else "".join(_crop(*view) for view in views)
    return f"<h3>{text(name)}</h3>{bars}<div class='row'>{crops}</div>"


def _crop(label: str, study: Path, token: str | None) -> str:
    path = None if token is None else picture_path(study / PICTURES, token)
    if path is None or not path.exists():
        return ""
    uri = data_uri("png", path.read_bytes())
    return f"<figure><figcaption>{text(label)}</figcaption><div><img alt='{text(label)}' src='{uri}'></div></figure>"


def _voters(found: Tally) -> str:
    rows = [
        [
            voter.voter,
            str(voter.votes),
            f"{voter.right} of {voter.checks}",
            f"{voter.contradictions} of {voter.repeats}",
            "counts" if voter.kept else f"left out: {'; '.join(voter.reasons)}",
        ]
        for voter in found.voters
    ]
    return table(["voter", "votes", "controls right", "repeats contradicted", ""], rows)
