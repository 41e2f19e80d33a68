"""Part 2: the tests that need a card, run by pytest in its own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from pack import ROOT

from .rows import Facts, Row, Settings

SECONDS = 100
LONGEST = 200
SHOWN = 12
MARK = "mark.cuda"
FIRST = "test_cuda.py"
KINDS = {"PASSED": "passed", "FAILED": "failed", "ERROR": "failed", "SKIPPED": "skipped", "XFAIL": "skipped"}
TEST = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b")
BEGUN = re.compile(r"^(\S+::.+?) *$")
REASON = re.compile(r"^(?:FAILED|ERROR) (\S+.*?)(?: - (.*))?$")
SKIP = re.compile(r"^SKIPPED \[(\d+)\] \S+: (.*)$")


def rows(settings: Settings) -> list[Row]:
    return [Row(name="tests", part=2, seconds=SECONDS + 10, work=lambda: run(settings))]


def files() -> list[Path]:
    """Files with such tests, so that a bare machine need not import the others; the longest comes first."""
    found = [path for path in (ROOT / "tests").rglob("test_*.py") if MARK in path.read_text(encoding="utf-8")]
    return sorted(found, key=lambda path: (path.name != FIRST, path))


def run(settings: Settings, paths: list[Path] | None = None, seconds: float = SECONDS) -> Facts:
    """What pytest says is read as far as it came when the time is over."""
    words = [
        sys.executable, "-u", "-m", "pytest", "-m", "cuda", "-v", "-rfEs", "--color=no", "--tb=short", "--durations=8",
        "--show-capture=no", "--continue-on-collection-errors", "-p", "no:cacheprovider",
        *map(str, files() if paths is None else paths),
    ]  # fmt: skip
    # The tests look for real weights there; those missing from the bundle are skipped. Lines must not be wrapped.
    environment = {
        "BACKPLATE_SHARED": str(settings.bundle),
        **os.environ,
        "BACKPLATE_EXPECT": "",
        "COLUMNS": "1000",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    log = settings.output / "tests.log"
    ended: int | None = None
    with log.open("wb") as stream:
        child = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        try:
            ended = child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return outcome(log.read_text(encoding="utf-8", errors="replace").splitlines(), ended, dry=settings.dry)


def outcome(lines: list[str], ended: int | None, *, dry: bool) -> Facts:
    """``lines``: of pytest. ``ended``: its exit code, None if it was ended. Raises ``AssertionError`` with the names of
    the tests that failed, and if no test passed on a card."""
    tests = {match[1]: KINDS[match[2]] for line in lines if (match := TEST.match(line))}
    counts = Counter(tests.values())
    shown = f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"
    # pytest names a file that cannot be imported without giving a reason.
    seen = next((line[1:].strip() for line in lines if line.startswith("E ")), "")
    reasons = {match[1]: match[2] or seen for line in lines if (match := REASON.match(line))}
    failed = [
        f"{name.split('::')[-1]}: {reasons.get(name, '')}"[:LONGEST] for name, kind in tests.items() if kind == "failed"
    ]
    failed += [f"{name}: {reason}"[:LONGEST] for name, reason in reasons.items() if name not in tests]
    if ended is None:
        begun = next((match[1] for line in reversed(lines) if (match := BEGUN.match(line))), "none")
        failed.append(f"no time was left; at {begun.split('::')[-1]}")
    if failed or ended not in (0, 5):
        raise AssertionError(f"{shown}: " + ("; ".join(failed[:SHOWN]) or f"pytest ended with {ended}: {lines[-1:]}"))
    skips: Counter[str] = Counter()
    for line in lines:
        if match := SKIP.match(line):
            skips[match[2]] += int(match[1])
    if not dry and not counts["passed"]:
        raise AssertionError(f"no test ran: {dict(skips)}")
    return {"passed": counts["passed"], "skipped": counts["skipped"], "why skipped": dict(skips)}
