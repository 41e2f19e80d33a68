"""The rows as a table, and as files that are whole after each of them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HIDDEN = ("row", "part", "status", "error", "took")

BARS: dict[str, tuple[tuple[str, str, float], ...]] = {
    "race rrdbnet 1024x1024": (("times core", ">=", 3.0), ("share of fp16 ceiling", ">=", 0.5)),
    "race general 1280x720": (("times core", ">=", 6.0),),
    "alone general 1280x720": (("pack adds", "<=", 0.15),),
    "video lite-x2": (("frames a second", ">=", 150.0), ("p99 ms", "<=", 100.0)),
    "video animevideov3": (("frames a second", ">=", 60.0), ("p99 ms", "<=", 100.0)),
    "folder": (("card busy", ">=", 0.8),),
    "memory core": (("process, times ours", ">=", 5.0), ("device, times ours", ">=", 5.0)),
}
"""Targets for a card of the H100's class, by row: fact, direction, value."""


class Report:
    """Collects rows. ``write`` after each one keeps what is known if the rest is not awaited."""

    def __init__(self, folder: Path, dry: bool) -> None:
        self._folder, self._dry = folder, dry
        self.rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        """Adds the row, completed with what follows from earlier rows."""
        row = self._with_core_peak(self._with_share(row))
        if not self._dry and row.get("status") == "ok" and (bars := _bars(row)):
            row = {**row, "bars": bars}
        self.rows.append(row)
        self.write()
        return row

    def write(self) -> None:
        name = self.card_name()
        (self._folder / f"{name}.json").write_text(json.dumps({"dry": self._dry, "rows": self.rows}, indent=1) + "\n")
        (self._folder / f"{name}.md").write_text(self.table())

    def card_name(self) -> str:
        """The card's name, suitable for a file name."""
        card = next((str(row["card"]) for row in self.rows if "card" in row), "unknown")
        return ("dry-" if self._dry else "") + re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")

    def table(self) -> str:
        lines = ["| part | row | status | found |", "|---|---|---|---|"]
        for row in sorted(self.rows, key=lambda row: row["part"]):
            lines.append(f"| {row['part']} | {row['row']} | {row['status']} | {_found(row)} |")
        return "\n".join(lines) + "\n"

    def _fact(self, row_name: str, fact: str) -> float | None:
        return next((row[fact] for row in self.rows if row["row"] == row_name and fact in row), None)

    def _with_share(self, row: dict[str, Any]) -> dict[str, Any]:
        ceiling, work = self._fact("ceilings", "fp16 TFLOP/s"), row.get("TFLOP")
        seconds = row.get("ours s") or row.get("model s")
        if ceiling and work and seconds:
            return {**row, "share of fp16 ceiling": round(work / seconds / ceiling, 4)}
        return row

    def _with_core_peak(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["row"] != "memory core":
            return row
        for who in ("device", "process"):
            ours, core = self._fact("memory ours", f"{who} peak MB"), row.get(f"{who} peak MB")
            if ours and core:
                row = {**row, f"{who}, times ours": round(core / ours, 2)}
        return row


def _bars(row: dict[str, Any]) -> list[str]:
    said: list[str] = []
    for fact, way, bar in BARS.get(str(row["row"]), ()):
        if isinstance(value := row.get(fact), (int, float)):
            met = value >= bar if way == ">=" else value <= bar
            said.append(f"{fact} {way} {bar:g}: {'met' if met else 'NOT met'}")
    return said


def _found(row: dict[str, Any]) -> str:
    facts = [f"{key} {_shown(value)}" for key, value in row.items() if key not in HIDDEN and value not in (None, "")]
    text = "; ".join(filter(None, [str(row.get("error", "")), *facts]))
    return " ".join(text.replace("|", "/").split())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_shown(each)}" for key, each in value.items()) + ")"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "(" + ", ".join(_shown(each) for each in value) + ")"
    return str(value)
