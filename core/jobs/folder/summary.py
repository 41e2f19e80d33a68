"""The outcome of a folder job, in numbers and sentences."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..marketplace.measure import Verdict
from .job import FolderJob, FolderRun
from .manifest import Entry, History, Status, manifest_files

WORST = 5
LISTED = 50
"""Most failed and flagged pictures that the text lists; the rest is in the JSON and the manifest."""


@dataclass(frozen=True)
class Summary:
    """``entries``: the outcome of each picture that was reached, now or in an earlier run, in natural order. ``total``:
    pictures in the folder. ``fresh`` of them were made in this run, which took ``seconds``; None without a run.
    ``passed_over`` is a sentence about files of other kinds, empty without any."""

    entries: tuple[Entry, ...]
    total: int
    fresh: int | None = None
    seconds: float = 0.0
    passed_over: str = ""

    def with_status(self, status: Status) -> list[Entry]:
        return [entry for entry in self.entries if entry.status is status]

    @property
    def written(self) -> int:
        return sum(entry.written for entry in self.entries)

    @property
    def complete(self) -> bool:
        """Whether every picture is done and none needs a review."""
        return len(self.with_status(Status.DONE)) == self.total

    @property
    def worst(self) -> list[Entry]:
        """The pictures that agree least with their sources (LR-PSNR), at most five, without plain resampling."""
        measured = [entry for entry in self.entries if entry.lr_psnr is not None and math.isfinite(entry.lr_psnr)]
        return sorted(measured, key=lambda entry: (entry.lr_psnr, entry.source))[:WORST]

    def text(self) -> str:
        """Readable lines: counts, speed, failures, suspicious results, the least faithful pictures."""
        lines = [self.counts(), *self.pace()]
        for status, title in ((Status.FAILED, "Failed"), (Status.FLAGGED, "To be looked at")):
            entries = self.with_status(status)
            lines += [f"{title}:"] if entries else []
            lines += [f"  {entry.source}: {entry.reason}" for entry in entries[:LISTED]]
            lines += [f"  and {len(entries) - LISTED} more, in the manifest"] if len(entries) > LISTED else []
        lines += self.rules()
        if self.worst:
            lines.append("Least faithful (LR-PSNR in dB, mean colour difference):")
            lines += [f"  {entry.source}: {entry.lr_psnr:.1f}, {entry.delta_e or 0:.1f}" for entry in self.worst]
        lines += [f"{entry.source}: {note}" for entry in self.entries for note in entry.notes][:LISTED]
        return "\n".join(lines)

    def counts(self) -> str:
        failed, flagged = len(self.with_status(Status.FAILED)), len(self.with_status(Status.FLAGGED))
        before = 0 if self.fresh is None else self.written - self.fresh
        parts = [f"{self.written} of {self.total} pictures are done"]
        parts += [f"{before} of them from before"] if before > 0 else []
        parts += [f"{flagged} of them to be looked at"] if flagged else []
        parts += [f"{failed} failed"] if failed else []
        remaining = self.total - len(self.entries)
        parts += [f"{remaining} not reached"] if remaining else []
        return ", ".join(parts) + "." + (f" {self.passed_over}" if self.passed_over else "")

    def rules(self) -> list[str]:
        """The outcomes of a marketplace's rules, a line for each rule that some source did not meet."""
        tally: dict[str, Counter[Verdict]] = {}
        for finding in (finding for entry in self.entries for finding in entry.rules):
            tally.setdefault(finding.asked, Counter())[finding.verdict] += 1
        if not tally:
            return []
        lines = [f"  {asked}: {_counted(counts)}" for asked, counts in tally.items() if set(counts) - {Verdict.PASSED}]
        kept = len(tally) - len(lines)
        return ["Rules:", *lines, *([f"  {kept} more: all passed"] if kept else [])]

    def pace(self) -> list[str]:
        if not self.fresh:
            return []
        return [f"{self.fresh} made in {self.seconds:.1f} s, {self.seconds / self.fresh:.2f} s a picture."]

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), indent=1)

    def as_dict(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "done": len(self.with_status(Status.DONE)),
            "flagged": len(self.with_status(Status.FLAGGED)),
            "failed": len(self.with_status(Status.FAILED)),
            "passed_over": self.passed_over,
            "not_reached": self.total - len(self.entries),
            "made_in_this_run": self.fresh or 0,
            "seconds": round(self.seconds, 3),
            "seconds_per_picture": round(self.seconds / self.fresh, 3) if self.fresh else None,
            "worst_by_lr_psnr": [_brief(entry) for entry in self.worst],
            "to_be_looked_at": [_brief(entry) for entry in self.with_status(Status.FLAGGED)],
            "failures": [{"source": each.source, "reason": each.reason} for each in self.with_status(Status.FAILED)],
            "rules": [
                {"source": entry.source, "rules": [asdict(finding) for finding in entry.rules]}
                for entry in self.entries
                if entry.rules
            ],
            "notes": [{"source": entry.source, "notes": entry.notes} for entry in self.entries if entry.notes],
        }


def _counted(counts: Counter[Verdict]) -> str:
    return ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict])


def _brief(entry: Entry) -> dict[str, Any]:
    wanted = ("source", "output", "reason", "lr_psnr", "delta_e")
    return {name: value for name, value in asdict(entry).items() if name in wanted}


def summarise(job: FolderJob, run: FolderRun) -> Summary:
    """The outcome of the job's pictures, in this run and before."""
    reached = {entry.source: entry for entry in (*run.skipped, *run.entries)}
    for entry in History(manifest_files(job.output)).among(job.tasks):
        reached.setdefault(entry.source, entry)
    entries = [reached[task.name] for task in job.tasks if task.name in reached]
    fresh = sum(entry.written for entry in run.entries)
    return Summary(tuple(entries), len(job.tasks), fresh, run.seconds, job.passed_over)


def summary_of(entries: Sequence[Entry]) -> Summary:
    """A summary from a manifest alone."""
    return Summary(tuple(entries), len(entries))
