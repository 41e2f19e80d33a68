"""The drill for a card: every row runs without one in tiny sizes, and no row takes another one along."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from .conftest import BENCHMARKS

Script = Callable[[str], ModuleType]
NEEDS = ("need a card", "not among the weights", "there is no ComfyUI", "ComfyUI at")
"""Why a row may be left out on a machine without a card."""


@dataclass(frozen=True)
class Drilled:
    code: int
    rows: dict[str, dict[str, Any]]
    table: list[str]
    output: Path


def run_drill(output: Path, *words: str) -> Drilled:
    command = [sys.executable, str(BENCHMARKS / "gpu_drill.py"), "--dry", "-o", str(output), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    lines = done.stdout.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    assert all(line.startswith("|") for line in lines[len(rows) :]), done.stdout + done.stderr
    return Drilled(done.returncode, {row["row"]: row for row in rows}, lines[len(rows) :], output)


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> Drilled:
    """A whole run, in which one row raises and one takes its process with it."""
    return run_drill(tmp_path_factory.mktemp("drill"), "--minutes", "6", "--break", "folder=raise", "copies=crash")


def test_every_part_runs_and_only_what_was_broken_fails(drilled: Drilled):
    failed = {name: row["error"] for name, row in drilled.rows.items() if row["status"] == "failed"}
    assert failed == {
        "copies": "its process ended with signal SIGABRT",
        "folder": "RuntimeError: broken on purpose",
    }
    assert drilled.code == 1
    assert {row["part"] for row in drilled.rows.values()} == {1, 2, 3, 4, 5, 6}
    left_out = [row for row in drilled.rows.values() if row["status"] == "left out"]
    assert all(any(reason in row["error"] for reason in NEEDS) for row in left_out), left_out


def test_rows_know_what_they_are_there_for(drilled: Drilled):
    race = drilled.rows["race rrdbnet 1024x1024"]
    assert race["ours PSNR"] > 80
    assert "core PSNR" in race or "without core" in race
    assert drilled.rows["alone general 1280x720"]["pack adds"] > -0.9
    assert drilled.rows["video lite-x2"]["frames"] == 4
    capped = [row for name, row in drilled.rows.items() if "GB" in name]
    assert len(capped) == 7
    assert all(row["equal"] for row in capped)


def test_the_files_hold_what_was_printed(drilled: Drilled):
    (facts,) = drilled.output.glob("dry-*.json")
    assert {row["row"]: row for row in json.loads(facts.read_text())["rows"]} == drilled.rows
    assert facts.with_suffix(".md").read_text().splitlines() == drilled.table
    assert len(drilled.table) == len(drilled.rows) + 2
    assert {path.name for path in drilled.output.iterdir()} == {
        facts.name, facts.with_suffix(".md").name, "drill.log", "tests.log"
    }, "what rows leave to one another is not among the results"  # fmt: skip


def test_a_run_without_failures_says_so(tmp_path: Path):
    done = run_drill(tmp_path, "--only", "1")
    assert done.code == 0
    assert list(done.rows) == ["card", "ceilings", "copies"]


CHILD = """
import json, sys, time, os
for name in sys.argv[1:]:
    if name == "never":
        sys.exit(7)
    print(json.dumps({"begin": name}), flush=True)
    if name == "hangs":
        time.sleep(1000)
    if name == "dies":
        os.abort()
    print(json.dumps({"row": name, "part": 1, "status": "ok"}), flush=True)
"""


def run_rows(script: Script, tmp_path: Path, names: list[str], minutes: float = 5.0) -> list[dict[str, Any]]:
    limits = script("drill.limits")
    found: list[dict[str, Any]] = []
    planned = [limits.Planned(name, 1, 0.2 if name == "hangs" else 60.0) for name in names]
    deadline = time.monotonic() + 60 * minutes
    with (tmp_path / "log").open("wb") as log:
        limits.run_group([sys.executable, "-c", CHILD], planned, deadline, found.append, log, 60.0)
    return found


def test_a_row_that_hangs_or_dies_costs_that_row(script: Script, tmp_path: Path):
    rows = run_rows(script, tmp_path, ["a", "hangs", "b", "dies", "c"])
    assert [(row["row"], row["status"]) for row in rows] == [
        ("a", "ok"), ("hangs", "failed"), ("b", "ok"), ("dies", "failed"), ("c", "ok")
    ]  # fmt: skip
    assert "longer than" in rows[1]["error"]
    assert "SIGABRT" in rows[3]["error"]


def test_a_process_that_ends_before_a_row_is_tried_once_more(script: Script, tmp_path: Path):
    rows = run_rows(script, tmp_path, ["a", "never", "b"])
    assert [row["status"] for row in rows] == ["ok", "failed", "failed"]
    assert "exit code 7" in rows[1]["error"]


def test_rows_for_which_no_time_is_left_are_left_out(script: Script, tmp_path: Path):
    rows = run_rows(script, tmp_path, ["a", "b"], minutes=0.0)
    assert [(row["status"], row["error"]) for row in rows] == [("left out", "no time was left")] * 2


SUITE = """
import pytest
import torch
@pytest.mark.cuda
@pytest.mark.parametrize("what", ["a - b", "c d"])
def test_passes(what): pass
@pytest.mark.cuda
def test_fails(): assert 1 == 2
@pytest.mark.cuda
def test_skips(): pytest.skip("no such thing")
def test_is_not_asked_for(): assert False
"""


def test_what_pytest_says_is_read(script: Script, tmp_path: Path):
    checks, rows = script("drill.checks"), script("drill.rows")
    path = tmp_path / "test_suite.py"
    path.write_text(SUITE)
    settings = rows.Settings(output=tmp_path, bundle=tmp_path, scratch=tmp_path)
    with pytest.raises(AssertionError, match=r"^2 passed, 1 failed, 1 skipped: test_fails: .*1 == 2"):
        checks.run(settings, [path])
    path.write_text(SUITE.replace("assert 1 == 2", "pass"))
    assert checks.run(settings, [path]) == {"passed": 3, "skipped": 1, "why skipped": {"no such thing": 1}}
    path.write_text("import absent_package\n")
    with pytest.raises(AssertionError, match="absent_package"):
        checks.run(settings, [path])


def test_tests_that_are_not_over_in_time_are_named(script: Script):
    lines = ["tests/a.py::test_one PASSED [ 50%]", "tests/a.py::test_two[x y] "]
    with pytest.raises(AssertionError, match=r"1 passed, 0 failed, 0 skipped: no time was left; at test_two\[x y\]"):
        script("drill.checks").outcome(lines, None, dry=False)


def test_a_card_on_which_every_test_is_skipped_has_failed(script: Script):
    lines = ["tests/a.py::test_one SKIPPED (no)", "SKIPPED [1] tests/a.py:3: no CUDA device"]
    with pytest.raises(AssertionError, match="no test ran: {'no CUDA device': 1}"):
        script("drill.checks").outcome(lines, 0, dry=False)


@pytest.mark.parametrize("count", [1, 8, 9, 40, 41])
def test_a_copy_in_portions_is_a_copy(script: Script, count: int):
    source = torch.rand(count)
    assert torch.equal(script("drill.card").in_portions(source, torch.zeros(count), 8), source)


def test_the_share_of_time_counts_what_overlaps_once(script: Script):
    covered = script("drill.timing").covered
    assert covered([(0, 10), (5, 20), (30, 40), (31, 32)]) == 30
    assert covered([]) == 0


def test_bars_and_what_follows_from_other_rows(script: Script, tmp_path: Path):
    report = script("drill.report").Report(tmp_path, dry=False)
    report.add({"row": "card", "part": 1, "status": "ok", "card": "NVIDIA H100 80GB HBM3"})
    report.add({"row": "ceilings", "part": 1, "status": "ok", "fp16 TFLOP/s": 800.0})
    race = {"row": "race rrdbnet 1024x1024", "part": 3, "status": "ok", "TFLOP": 40.0, "ours s": 0.1, "times core": 2.5}
    found = report.add(race)
    assert found["share of fp16 ceiling"] == pytest.approx(0.5)
    assert found["bars"] == ["times core >= 3: NOT met", "share of fp16 ceiling >= 0.5: met"]
    report.add({"row": "memory ours", "part": 6, "status": "ok", "device peak MB": 100})
    assert (
        report.add({"row": "memory core", "part": 6, "status": "ok", "device peak MB": 900})["device, times ours"] == 9
    )
    assert (tmp_path / "nvidia-h100-80gb-hbm3.md").read_text().count("\n") == 7
