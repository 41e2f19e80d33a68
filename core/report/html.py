"""Parts of self-contained HTML pages: escaping, tables, and the frame of a page."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Keeps a browser from using the network at all."""

STYLE = """
:root { color-scheme: light dark; --paper: #fafafa; --ink: #1c1c1e; --quiet: #6b6b70; --line: #d9d9de; --card: #fff;
  --best: #0a7d38; --bad: #b3261e; --warn: #9a5b00; --warn-paper: #fff4e0; }
@media (prefers-color-scheme: dark) { :root { --paper: #161618; --ink: #ececf0; --quiet: #9c9ca4; --line: #38383e;
  --card: #1f1f23; --best: #5ed38a; --bad: #ff8a80; --warn: #ffc46b; --warn-paper: #33280f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 1300px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
p, ul { margin: .3rem 0; } ul { padding-left: 1.2rem; } .quiet { color: var(--quiet); font-size: .87rem; }
.warn { background: var(--warn-paper); color: var(--warn); border-radius: 6px; padding: .35rem .7rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; background: var(--card); width: 100%; }
th, td { padding: .4rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { font-size: .83rem; vertical-align: bottom; }
figure { margin: 0; } figcaption { font-size: .83rem; color: var(--quiet); overflow-wrap: anywhere; }
"""


def text(content: str) -> str:
    """Escaped for use inside an element or a quoted attribute, whatever characters a file name contains."""
    return escape(content.encode("utf-8", "replace").decode("utf-8"), quote=True)


def items(sentences: Iterable[str]) -> str:
    """A list; empty without sentences."""
    rows = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f"<ul>{rows}</ul>" if rows else ""


def section(title: str, inside: str) -> str:
    """A heading and its content; empty without content."""
    return f"<h2>{text(title)}</h2>{inside}" if inside else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain texts that may be wider than the screen; empty without rows."""
    return grid(map(text, head), (row(map(text, cells)) for cells in rows))


def row(cells: Iterable[str], kind: str = "", *, tags: Iterable[str] = ()) -> str:
    """A row of a ``grid``, made of HTML cells and whole ``tags``, with the class ``kind``."""
    inside = "".join([*(f"<td>{cell}</td>" for cell in cells), *tags])
    return f"<tr class='{kind}'>{inside}</tr>" if kind else f"<tr>{inside}</tr>"


def grid(head: Iterable[str], rows: Iterable[str]) -> str:
    """A table with HTML titles and rows made by ``row``; empty without rows."""
    body = "".join(rows)
    titles = "".join(f"<th>{title}</th>" for title in head)
    if not body:
        return ""
    return f"<div class='scroll'><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"


def data_uri(kind: str, content: bytes) -> str:
    """The ``data:`` address of a picture file of that kind, such as ``png``."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def page(title: str, inside: str, *, style: str = STYLE, policy: str = POLICY, script: str = "") -> str:
    """A complete page for light and dark screens. ``inside`` is HTML; ``script`` needs a ``policy`` that allows it."""
    scripted = f"<script>{script}</script>" if script else ""
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{text(title)}</title><style>{style}</style></head><body>{inside}{scripted}</body></html>\n"
    )
