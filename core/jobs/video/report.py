"""The report of a video job, as text and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...media.video.encode import Encoding
from ...media.video.probe import VideoFacts
from ...types import Size
from .latency import Latency
from .segments import Counts

STAGES = ("read", "upscale", "encode", "total")
"""``total`` is the sum of the three for one frame, without waiting for another stage."""


@dataclass(frozen=True, kw_only=True)
class VideoReport:
    """``resumed`` frames come from an earlier run; ``seconds`` and ``latency`` are about the others. ``problem`` says
    why the result is partial, and is empty if it is complete. ``vmaf`` is by model name. ``licence``: the model's, an
    SPDX expression, empty if unknown."""

    source: VideoFacts
    output: Path
    size: Size
    encoding: Encoding
    model: str
    counts: Counts
    resumed: int
    seconds: float
    latency: Mapping[str, Latency]
    notes: tuple[str, ...] = ()
    problem: str = ""
    budget: str = ""
    vmaf: Mapping[str, float] = field(default_factory=dict[str, float])
    model_sha256: str = ""
    licence: str = ""
    commercial_use: bool | None = None

    @property
    def rate(self) -> float:
        """Frames per second of this run."""
        return (self.counts.frames - self.resumed) / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        counts, source = self.counts, self.source
        tiles = counts.tiles_run + counts.tiles_reused
        return {
            "source": {
                "name": source.name,
                "size": str(source.stored),
                "shown": str(source.shown),
                "codec": source.codec,
                "pixel_format": source.pixel_format,
                "colour": source.tags.text(),
                "colour_assumed": source.tags_assumed,
                "rotation": source.turn.degrees,
                "mirrored": source.turn.mirrored,
                "audio": list(source.audio),
                "subtitles": list(source.subtitles),
            },
            "output": str(self.output),
            "size": str(self.size),
            "encoder": self.encoding.encoder,
            "pixel_format": self.encoding.pixel_format,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "model_licence": self.licence,
            "model_commercial_use": self.commercial_use,
            "frames": counts.frames,
            "frames_reused": counts.reused,
            "tiles": tiles,
            "tiles_reused": counts.tiles_reused,
            "frames_streamed": counts.streamed,
            "frames_damaged": counts.damaged,
            "frames_from_earlier_run": self.resumed,
            "seconds": round(self.seconds, 2),
            "frames_per_second": round(self.rate, 3),
            "milliseconds": {name: each.milliseconds() for name, each in self.latency.items()},
            "flicker": _rounded(counts.flicker.levels),
            "flicker_still_share": _rounded(counts.flicker.still_share),
            "vmaf": {name: round(score, 3) for name, score in self.vmaf.items()},
            "budget": self.budget,
            "notes": list(self.notes),
            "problem": self.problem,
        }

    def text(self) -> str:
        """A few readable lines."""
        counts = self.counts
        share = f"{counts.reused} reused" if counts.reused else "none reused"
        lines = [
            f"{self.source.name} -> {self.output.name}: {self.source.shown} -> {self.size}, {counts.frames} frames "
            f"({share}) in {self.seconds:.1f} s, {self.rate:.2f} fps"
        ]
        if counts.tiles_reused:
            whole = f"; {counts.streamed} frames were computed as a whole" if counts.streamed else ""
            lines.append(f"tiles: {counts.tiles_reused} of {counts.tiles_run + counts.tiles_reused} reused{whole}")
        if self.resumed:
            lines.append(f"{self.resumed} frames were finished by an earlier run")
        total = self.latency.get("total")
        if total is not None and total.count:
            lines.append(_percentiles(self.latency))
        lines += counts.flicker.lines
        lines += [f"VMAF ({name}): {score:.2f}" for name, score in self.vmaf.items()]
        return "\n".join([*lines, *filter(None, [self.budget, *self.notes, self.problem])])


def _percentiles(latency: Mapping[str, Latency]) -> str:
    parts = [
        f"{name} " + " / ".join(f"{each.milliseconds()[f'p{percent}']:.0f}" for percent in (50, 95, 99))
        for name, each in latency.items()
        if each.count
    ]
    return "milliseconds a frame (50th / 95th / 99th percentile): " + ", ".join(parts)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
