"""The page on which people vote: one file that loads nothing but its pictures."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..atomic_write import write_atomic
from ..report.html import data_uri, text
from .design import PAGE, PICTURES, QUESTIONS, Design, Trial, schedule
from .pictures import picture_path

SCRIPT = Path(__file__).with_name("page.js").read_text("ascii")
STYLE = Path(__file__).with_name("page.css").read_text("ascii")
BODY = Path(__file__).with_name("page.html").read_text("ascii")
PLANS = 2
"""Orders per planned voter in a page that is opened as a file: one is picked at random, so that few voters share
one."""


def policy(pictures: str, connect: str) -> str:
    """The content security policy: this script and style, and the given sources of pictures and requests."""
    sources = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (SCRIPT, STYLE)]
    return (
        f"default-src 'none'; script-src 'sha256-{sources[0]}'; style-src 'sha256-{sources[1]}'; img-src {pictures}; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def served_page(design: Design, voter: str, trials: Sequence[Trial], done: Iterable[int]) -> str:
    """The page for one invited voter; votes are posted to ``vote`` and pictures loaded from ``pictures/``."""
    data = _data(design, [trials])
    return _page(design, {**data, "served": True, "voter": voter, "done": sorted(done)}, policy("'self'", "'self'"))


def file_page(folder: Path, design: Design) -> str:
    """The page for ``file://``: it contains its pictures and saves the answers as a file. Raises ``OSError``."""
    data = _data(design, [schedule(design, voter) for voter in range(PLANS * design.voters)])
    tokens = sorted({token for item in design.items for token in item.tokens})
    data["pictures"] = {token: data_uri("png", picture_path(folder / PICTURES, token).read_bytes()) for token in tokens}
    return _page(design, {**data, "served": False, "voter": "", "done": []}, policy("data:", "'none'"))


def write_page(folder: Path, design: Design) -> Path:
    """Writes ``page.html``. Raises ``OSError``."""
    path = folder / PAGE
    write_atomic(path, file_page(folder, design).encode())
    return path


def _data(design: Design, plans: Sequence[Sequence[Trial]]) -> dict[str, Any]:
    places = {item.item: place for place, item in enumerate(design.items)}
    return {
        "study": design.study,
        "title": design.title,
        "questions": QUESTIONS,
        "items": [
            [i.item, i.question, i.first, i.second, i.middle, i.width, i.height, i.frames, i.rate] for i in design.items
        ],
        "plans": [
            [[places[trial.item], int(trial.left != design.items[places[trial.item]].first)] for trial in plan]
            for plan in plans
        ],
    }


def _page(design: Design, data: dict[str, Any], rules: str) -> str:
    inside = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    return (
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='referrer' content='no-referrer'>"
        f"<title>{text(design.title or 'Which is better?')}</title><style>{STYLE}</style></head><body>{BODY}"
        f"<script type='application/json' id='study'>{inside}</script><script>{SCRIPT}</script></body></html>\n"
    )
