"""The rows of the drill, and the process that runs a group of them and reports the outcome of each."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

Facts = dict[str, Any]

LONGEST_ERROR = 1500

REAL_WEIGHTS = {
    "general": "realesr-general-x4v3",
    "animevideov3": "realesr-animevideov3",
    "real rrdbnet": "RealESRGAN_x4plus",
}
"""File names, without suffix, of models of the drill; missing weights are replaced by random ones of the same shape."""


class LeftOut(Exception):
    """A row that cannot be measured here; the message is a clause that says why."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``dry``: tiny sizes on the CPU, to see that every row runs. ``bundle``: what ``gather_for_gpu.py`` gathered.
    ``scratch``: for what one row leaves to others. ``broken``: row=``raise`` or row=``crash``, for its tests."""

    output: Path
    bundle: Path
    scratch: Path
    dry: bool = False
    broken: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda:0"


@dataclass(frozen=True, kw_only=True)
class Row:
    """``part``: of the drill, 1 to 6. ``seconds``: after which it is given up."""

    name: str
    part: int
    seconds: float
    work: Callable[[], Facts]


def serve(rows: Sequence[Row], wanted: Sequence[str], settings: Settings) -> None:
    """Runs the wanted rows one after the other. Standard output carries one JSON line when a row begins and one when
    it ends, and nothing else: all other output goes to standard error."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for row in rows:
        if row.name in wanted:
            _say(lines, {"begin": row.name})
            _say(lines, run_row(row, settings))
            if not settings.dry:
                _leave_card()


def _leave_card() -> None:
    """What a row held there is given back. Ends the process if the card no longer responds, as after a fault in a
    kernel, so that the next rows get a new process."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except RuntimeError:
            traceback.print_exc(file=sys.stderr)
            os._exit(1)


def run_row(row: Row, settings: Settings) -> Facts:
    """The row's facts, with ``status`` ``ok``, ``left out`` or ``failed``; a failed one has its ``error``."""
    started = time.perf_counter()
    try:
        if f"{row.name}=crash" in settings.broken:
            os.abort()
        if f"{row.name}=raise" in settings.broken:
            raise RuntimeError("broken on purpose")
        facts: Facts = {"status": "ok", **row.work()}
    except LeftOut as reason:
        facts = {"status": "left out", "error": str(reason)}
    except Exception as error:  # noqa: BLE001  a failure must not affect the other rows
        traceback.print_exc(file=sys.stderr)
        facts = {"status": "failed", "error": f"{type(error).__name__}: {error}"[:LONGEST_ERROR]}
    return {"row": row.name, "part": row.part, "took": round(time.perf_counter() - started, 2), **facts}


def _say(lines: TextIO, record: Facts) -> None:
    lines.write(json.dumps(record, default=str) + "\n")
    lines.flush()
