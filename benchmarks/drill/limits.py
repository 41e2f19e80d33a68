"""Runs groups of rows in processes of their own, each row under a time limit: a crash or a hang costs that row."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

START_SECONDS = 90.0
"""Seconds for a new process to import PyTorch and to open the device."""

LEAST_SECONDS = 3.0
"""Time left below which no row is begun."""


@dataclass(frozen=True)
class Planned:
    """A row as the parent knows it."""

    name: str
    part: int
    seconds: float


Emit = Callable[[dict[str, Any]], None]


def run_group(
    command: Sequence[str], rows: Sequence[Planned], deadline: float, emit: Emit, log: IO[bytes], start: float
) -> None:
    """``command`` with names of rows after it is the process, which speaks as ``rows.serve`` does. ``emit`` gets a
    record for every row, at once. ``deadline``: of ``time.monotonic``. ``start``: seconds that the process may take
    before its first row; if it does not get there twice, the rest of the group has failed."""
    todo, not_started = list(rows), ""
    while todo:
        if time.monotonic() > deadline - LEAST_SECONDS:
            for row in todo:
                emit(_record(row, "left out", "no time was left"))
            return
        if not_started:
            for row in todo:
                emit(_record(row, "failed", not_started))
            return
        left, reason = _one_process(command, todo, deadline, emit, log, start)
        if len(left) == len(todo) and reason:
            emit(_record(todo[0], "failed", reason))
            left, not_started = todo[1:], reason
        todo = left


def _one_process(
    command: Sequence[str], rows: list[Planned], deadline: float, emit: Emit, log: IO[bytes], start: float
) -> tuple[list[Planned], str]:
    """The rows still to be run after the process ended, and why it ended before its first row."""
    names = [row.name for row in rows]
    child = subprocess.Popen([*command, *names], stdout=subprocess.PIPE, stderr=log, start_new_session=True)
    lines: queue.Queue[bytes | None] = queue.Queue()
    threading.Thread(target=_pump, args=(child, lines), daemon=True).start()
    left, begun, begun_at = list(rows), False, time.monotonic()
    until = min(deadline, begun_at + start)
    try:
        while True:
            try:
                line = lines.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                reason = f"it took longer than {time.monotonic() - begun_at:.0f} s"
                break
            if line is None:
                code = child.wait()
                ending = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                reason = f"its process ended with {ending}"
                break
            record = json.loads(line)
            if "begin" in record:
                begun, begun_at = True, time.monotonic()
                until = min(deadline, begun_at + left[0].seconds)
            else:
                emit(record)
                left, begun, begun_at = left[1:], False, time.monotonic()
                if not left:
                    return [], ""
                until = min(deadline, begun_at + start)
    finally:
        _end(child)
    if begun:
        emit(_record(left[0], "failed", reason))
        return left[1:], ""
    return left, reason


def _pump(child: subprocess.Popen[bytes], lines: queue.Queue[bytes | None]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        lines.put(line)
    lines.put(None)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends the process with all its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _record(row: Planned, status: str, error: str) -> dict[str, Any]:
    return {"row": row.name, "part": row.part, "status": status, "error": error}
