"""The files of a shoot-out's report."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..atomic_write import write_atomic
from ..metrics.compare import json_figures
from ..metrics.ranking import INTERVAL_CONVENTION, Ranking
from ..metrics.registry import METRICS
from .contact_sheet import contact_sheet
from .report_html import report_html
from .results import ShootoutResult


def write_report(result: ShootoutResult, folder: Path) -> list[Path]:
    """Writes report.html, report.csv, report.json and contact_sheet.png to ``folder``, which is created if needed; each
    file appears complete or not at all. Raises ``OSError`` if the folder cannot be written to."""
    folder.mkdir(parents=True, exist_ok=True)
    sheet = io.BytesIO()
    contact_sheet(result).save(sheet, "PNG")
    contents = {
        "report.html": report_html(result).encode(),
        "report.csv": report_csv(result).encode(),
        "report.json": _json(report_dict(result)),
        "contact_sheet.png": sheet.getvalue(),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content)
    return [folder / name for name in contents]


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Writes a file that appears complete or not at all. Raises ``OSError``."""
    write_atomic(path, _json(data))


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()


def report_csv(result: ShootoutResult) -> str:
    """A row for each model and picture, a column for each metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "picture", *result.metrics, "problems"])
    for cell in result.cells:
        figures = [cell.values.get(metric, "") for metric in result.metrics]
        writer.writerow([cell.model, cell.picture, *figures, " ".join(cell.problems)])
    return text.getvalue()


def report_dict(result: ShootoutResult) -> dict[str, Any]:
    """Everything but the pictures. An infinite value is the text "Infinity"."""
    return {
        "scale": result.scale,
        "setting": list(result.setting),
        "metrics": {
            name: {
                "label": METRICS[name].label,
                "unit": METRICS[name].unit,
                "higher_is_better": METRICS[name].higher_is_better,
                "convention": result.conventions[name],
            }
            for name in result.metrics
        },
        "intervals": INTERVAL_CONVENTION,
        "pictures": [
            {"name": each.name, "source": each.source, "result": each.result, "has_reference": each.has_reference}
            for each in result.pictures
        ],
        "means": {
            model: json_figures(
                {name: mean for name in result.metrics if (mean := result.mean(model, name)) is not None}
            )
            for model in result.rows
        },
        "rankings": {name: _ranking(ranking) for name, ranking in result.rankings.items()},
        "advice": result.advice,
        "ringing": result.flags,
        "results": [
            {
                "model": cell.model,
                "picture": cell.picture,
                "values": json_figures(cell.values),
                "problems": list(cell.problems),
            }
            for cell in result.cells
        ],
        "problems": list(result.all_problems),
    }


def _ranking(ranking: Ranking) -> dict[str, Any]:
    return {
        "winner": ranking.winner,
        "verdict": ranking.verdict,
        "pictures": ranking.pictures,
        "standings": [
            {
                "model": each.model,
                **json_figures({"mean": each.mean, "behind_the_best": each.lead}),
                "interval": each.interval and [each.interval.low, each.interval.high],
                "behind_interval": each.lead_interval and [each.lead_interval.low, each.lead_interval.high],
                "level_with_the_best": each.level,
            }
            for each in ranking.standings
        ],
        "incomplete": dict(ranking.incomplete),
    }
