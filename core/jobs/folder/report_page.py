"""The report of a folder as one self-contained HTML file that includes its thumbnails."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import torch
from PIL import Image

from ...atomic_write import write_atomic
from ...errors import InputError
from ...image.colour import to_rgb
from ...image.resize import resize
from ...media.picture.read import read_picture
from ...report import html
from ...types import Size
from ..marketplace.measure import Verdict
from .job import FolderJob
from .manifest import Entry, Status
from .summary import Summary

SHOWN = 100
"""Most pictures with thumbnails, the least faithful and the flagged first."""
LISTED = 2000
"""Most rows of the table; the manifest has all of them."""
SIDE = 240
LARGE_SIDE = 480
QUALITY = 82

STYLE = f"""{html.STYLE}
:root {{ --check: #e4e4e8; }} @media (prefers-color-scheme: dark) {{ :root {{ --check: #2c2c31; }} }}
.failed {{ color: var(--bad); }} .flagged {{ color: var(--warn); }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }}
.tiles.large {{ grid-template-columns: repeat(auto-fill, minmax(34rem, 1fr)); }}
.card {{ background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .7rem; }}
.pair {{ display: grid; grid-template-columns: 1fr 1fr; gap: .4rem; }}
figure div {{ position: relative; aspect-ratio: 1; border-radius: 4px; overflow: hidden; background: var(--line); }}
figure img {{ position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }}
figure .clear {{ background: repeating-conic-gradient(var(--check) 0 25%, transparent 0 50%) 0 0 / 16px 16px; }}
.name {{ overflow-wrap: anywhere; font-weight: 600; }} td:last-child, th:last-child {{ text-align: left; }}
td:first-child, td:last-child {{ white-space: normal; overflow-wrap: anywhere; }}
"""


def write_report(job: FolderJob, summary: Summary) -> list[Path]:
    """Writes ``summary.json`` and ``index.html`` to the folder of results. Raises ``OSError``."""
    part = job.shard.suffix if job.shard else ""
    paths = [job.output / f"summary{part}.json", job.output / f"index{part}.html"]
    write_atomic(paths[0], summary.to_json().encode())
    write_atomic(paths[1], report_page(job, summary).encode("utf-8", "replace"))
    return paths


def report_page(job: FolderJob, summary: Summary) -> str:
    """A page for light and dark screens: counts, the five least faithful pictures in large, failures, suspicious
    results, thumbnails before and after, and a table of all pictures."""
    worst, rest = summary.worst, _shown_beside(summary)
    sources = {task.name: task.source for task in job.tasks}

    def card(entry: Entry, side: int) -> str:
        return _card(entry, _pair(entry, sources[entry.source], job.output / entry.output, side))

    with ThreadPoolExecutor(max(1, job.jobs)) as pool:
        large = pool.map(card, worst, repeat(LARGE_SIDE))
        small = pool.map(card, rest, repeat(SIDE))
        sections = [
            f"<h1>Folder report</h1><p>{html.text(summary.counts())} {html.text(' '.join(summary.pace()))}</p>",
            f"<p class='quiet'>{html.text(_about(job))}</p>",
            _list("Failed", summary.with_status(Status.FAILED)),
            _rules(summary),
            _list("To be looked at", summary.with_status(Status.FLAGGED)),
            _tiles("Least faithful to their sources", large, "tiles large"),
            _tiles("Before and after", small, "tiles"),
            _table(summary.entries[:LISTED]),
        ]
    return html.page("Folder report", "".join(sections), style=STYLE)


def _shown_beside(summary: Summary) -> list[Entry]:
    worst = {entry.source for entry in summary.worst}
    others = [entry for entry in summary.entries if entry.written and entry.source not in worst]
    first = [entry for entry in others if entry.status is Status.FLAGGED]
    chosen = {entry.source for entry in [*first, *others][:SHOWN]}
    return [entry for entry in others if entry.source in chosen]


def _about(job: FolderJob) -> str:
    target = job.settings.target
    size = "the model's own scale" if target is None else f"fit {target.fit.value} {target.width}x{target.height}"
    return f"Model {job.model.name} (SHA-256 {job.model.sha256[:12]}), {size}."


def _pair(entry: Entry, source: Path, output: Path, side: int) -> str:
    before = f"{entry.source_width}x{entry.source_height}, {_bytes(entry.source_bytes)}"
    after = f"{entry.width}x{entry.height}, {_bytes(entry.output_bytes)}"
    views = ((source, f"before: {before}"), (output, f"after: {after}"))
    return "<div class='pair'>" + "".join(_figure(path, caption, side) for path, caption in views) + "</div>"


def _figure(path: Path, caption: str, side: int) -> str:
    uri, transparent = thumbnail_uri(path, side)
    view = f"<img alt='{html.text(caption)}' src='{uri}'>" if uri else "<span class='quiet'>not there</span>"
    kind = " class='clear'" if transparent else ""
    return f"<figure><div{kind}>{view}</div><figcaption>{html.text(caption)}</figcaption></figure>"


def thumbnail_uri(path: Path, side: int) -> tuple[str, bool]:
    """A picture file, reduced to at most ``side`` pixels, as a ``data:`` address, and whether it is transparent. The
    address is empty if the file cannot be read."""
    try:
        file = read_picture(path, convert_to_srgb=True)
    except InputError:
        return "", False
    layers = [to_rgb(file.picture)] + ([file.alpha] if file.alpha is not None else [])
    picture = torch.cat(layers, dim=1)
    reduction = max(1.0, max(picture.shape[-2:]) / side)
    size = Size(*(max(1, round(length / reduction)) for length in (picture.shape[3], picture.shape[2])))
    samples = resize(picture, size).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    data = io.BytesIO()
    Image.fromarray(samples[0].movedim(0, 2).contiguous().numpy()).save(data, "WEBP", quality=QUALITY)
    return html.data_uri("webp", data.getvalue()), len(layers) > 1


def _card(entry: Entry, pair: str) -> str:
    reason = f"<p class='flagged'>{html.text(entry.reason)}</p>" if entry.reason else ""
    figures = f"LR-PSNR {_decibels(entry)}, colour difference {_number(entry.delta_e)}"
    return (
        f"<div class='card'><p class='name'>{html.text(entry.source)}</p>{pair}<p class='quiet'>{figures}</p>{reason}"
        f"{''.join(f'<p class=quiet>{html.text(note)}</p>' for note in entry.notes)}</div>"
    )


def _tiles(title: str, cards: Iterable[str], kind: str) -> str:
    inside = "".join(cards)
    return html.section(title, inside and f"<div class='{kind}'>{inside}</div>")


def _list(title: str, entries: Sequence[Entry]) -> str:
    rows = "".join(
        f"<li class='{entry.status.value}'><b>{html.text(entry.source)}</b>: {html.text(entry.reason)}</li>"
        for entry in entries[:LISTED]
    )
    return html.section(title, rows and f"<ul>{rows}</ul>")


def _rules(summary: Summary) -> str:
    """A table of the outcomes of a marketplace's rules, picture by picture; failed and mended ones first."""
    order = (Verdict.FAILED, Verdict.MENDED, Verdict.WARNING, Verdict.PASSED)
    found = [(entry.source, finding) for entry in summary.entries for finding in entry.rules]
    found.sort(key=lambda each: order.index(each[1].verdict))
    rows = (
        html.row(map(html.text, (source, each.asked, each.verdict.value, each.found)), CLASS_OF[each.verdict])
        for source, each in found[:LISTED]
    )
    return html.section("Rules of the marketplace", html.grid(("picture", "rule", "verdict", "found"), rows))


CLASS_OF = {Verdict.FAILED: "failed", Verdict.WARNING: "flagged", Verdict.MENDED: "done", Verdict.PASSED: "done"}

COLUMNS: tuple[tuple[str, Callable[[Entry], str]], ...] = (
    ("picture", lambda entry: entry.source),
    ("status", lambda entry: entry.status.value),
    ("source", lambda entry: f"{entry.source_width}x{entry.source_height}" if entry.source_width else ""),
    ("result", lambda entry: f"{entry.width}x{entry.height}" if entry.width else ""),
    ("size", lambda entry: _bytes(entry.output_bytes) if entry.output_bytes else ""),
    ("passes", lambda entry: str(entry.passes) if entry.written else ""),
    ("seconds", lambda entry: f"{entry.seconds:.1f}"),
    ("LR-PSNR", lambda entry: _decibels(entry)),
    ("colour difference", lambda entry: _number(entry.delta_e)),
    ("file", lambda entry: entry.output if entry.written else ""),
)


def _table(entries: Sequence[Entry]) -> str:
    rows = (html.row((html.text(cell(entry)) for _, cell in COLUMNS), entry.status.value) for entry in entries)
    hint = (
        "LR-PSNR: the result reduced to the size of its source, compared with it; higher is more faithful. Colour "
        "difference: mean CIEDE2000; lower is better, about 1 can just be seen."
    )
    table = html.grid((title for title, _ in COLUMNS), rows)
    return html.section("Every picture", f"{table}<p class='quiet'>{hint}</p>")


def _decibels(entry: Entry) -> str:
    if entry.lr_psnr is None:
        return ""
    return f"{entry.lr_psnr:.1f} dB" if math.isfinite(entry.lr_psnr) else "identical"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
