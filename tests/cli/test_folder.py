"""``backplate upscale FOLDER`` as a person or a nightly script runs it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from backplate.core.jobs.folder import run as folder_run
from drawn_folder import BROKEN
from PIL import Image

# Imports once, then runs the command in a fork for each line on stdin, and says its process id and exit code. Nothing
# has computed before the fork, so PyTorch has no threads yet.
FORKS = """
import os, sys
from backplate.cli import app
import backplate.cli.folder_job, backplate.cli.picture_job, backplate.cli.files
for _ in sys.stdin:
    child = os.fork()
    if not child:
        sys.stdin.close()
        app()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

TO_48 = ("--size", "48x48", "--fit", "pad", "--background", "white", "--format", "png", "--recursive")


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def lines_in(manifest: Path) -> list[dict[str, object]]:
    """Whole lines only."""
    if not manifest.exists():
        return []
    return [json.loads(line) for line in manifest.read_text().splitlines(keepends=True) if line.endswith("}\n")]


class Runner:
    """Runs one command as often as it is asked to, each time in a process that can be killed."""

    def __init__(self, load: str, words: list[object], manifest: Path) -> None:
        self.manifest = manifest
        self.process = subprocess.Popen(
            [sys.executable, "-c", load + FORKS, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self) -> int:
        self.process.stdin.write("again\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def run(self) -> int:
        """The exit code of a run to the end."""
        self.ask()
        return int(self.process.stdout.readline())

    def kill_after(self, lines: int) -> None:
        """Kills a run once the manifest has that many lines."""
        child = self.ask()
        while len(lines_in(self.manifest)) < lines:
            assert not select.select([self.process.stdout], [], [], 0.005)[0], "the program ended by itself"
        os.kill(child, signal.SIGKILL)
        assert int(self.process.stdout.readline()) == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_three_times_and_resumed_it_ends_as_if_nothing_had_been(loading, backplate, hundred, model, tmp_path):
    out = tmp_path / "out"
    words = ["upscale", hundred, "-o", out, "--model", model, *TO_48, "--resume", "--jobs", "1"]
    runner = Runner(loading, words, out / "manifest.jsonl")
    for kill in range(3):
        runner.kill_after(len(lines_in(out / "manifest.jsonl")) + 12)
        written = {line["output"] for line in lines_in(out / "manifest.jsonl") if line["status"] != "failed"}
        there = set(pictures(out))
        assert written <= there, kill
        assert len(there - written) <= 1, "at most the picture in flight has no line"
        for name in there:
            with Image.open(out / name) as image:
                image.load()
    assert runner.run() == 2
    runner.process.communicate(timeout=60)
    last = {line["source"]: line["status"] for line in lines_in(out / "manifest.jsonl")}
    assert len(last) == 100
    assert sorted(name for name, status in last.items() if status == "failed") == sorted(BROKEN)
    assert list(out.rglob(".*.part")) == []
    alone = tmp_path / "alone"
    assert backplate("upscale", hundred, "-o", alone, "--model", model, *TO_48).exit_code == 2
    assert pictures(out) == pictures(alone)


def test_exit_codes(backplate, drawn, ten, model, tmp_path):
    some = backplate("upscale", ten, "-o", tmp_path / "some", "--model", model, *TO_48, code=2)
    assert "7 of 10 pictures are done, 3 failed." in some.stderr
    assert all(f"  {name}: " in some.stderr for name in BROKEN)
    drawn("good/a.png")
    backplate("upscale", tmp_path / "good", "-o", tmp_path / "all", "--model", model, code=0)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").touch()
    nothing = backplate("upscale", tmp_path / "bad", "-o", tmp_path / "none", "--model", model, code=1)
    assert "0 of 1 pictures are done, 1 failed." in nothing.stderr


def test_a_second_run_needs_resume_or_overwrite(backplate, ten, model, tmp_path):
    words = ["upscale", ten, "-o", tmp_path / "out", "--model", model, *TO_48]
    assert backplate(*words).exit_code == 2
    backplate(*words, code=1, says="earlier run on 10 of these pictures")
    backplate(*words, "--resume", code=2, says="7 of 10 pictures are done, 7 of them from before, 3 failed.")
    assert "7 made in" in backplate(*words, "--overwrite").stderr


def test_report(backplate, ten, model, tmp_path):
    words = ["upscale", ten, "-o", tmp_path / "out", "--model", model, *TO_48, "--report"]
    assert backplate(*words).exit_code == 2
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["total"], summary["done"] + summary["flagged"], summary["failed"]) == (10, 7, 3)
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("data:image/webp") == 14
    assert all(name in page for name in BROKEN)


@pytest.mark.parametrize(("times", "said"), [(1, "2 of 4 pictures are done, 2 not reached."), (2, "stopped; go on")])
def test_ctrl_c_ends_after_the_picture_in_hand_and_twice_at_once(
    backplate, drawn, model, tmp_path, monkeypatch, times, said
):
    """Either way it says how to resume."""
    for name in ("in/a.png", "in/b.png", "in/c.png", "in/d.png"):
        drawn(name)
    calls, real = [], folder_run.enlarge

    def interrupted(*arguments):
        calls.append(arguments)
        for _ in range(times if len(calls) == 2 else 0):
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(folder_run, "enlarge", interrupted)
    words = ["upscale", tmp_path / "in", "-o", tmp_path / "out", "--model", model]
    stopped = backplate(*words, code=130, says="finishing the picture in hand")
    assert said in stopped.stderr
    assert "go on with: " in stopped.stderr
    assert "--resume" in stopped.stderr
    assert len(pictures(tmp_path / "out")) == 3 - times
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", "200")
    backplate(*words, "--resume", code=0, says=f"{3 - times} of them from before")


def test_names_by_template_and_collisions(backplate, drawn, model, tmp_path):
    for name in ("in/a.png", "in/a.jpg", "in/b 10.png", "in/b 9.png"):
        drawn(name)
    words = ["upscale", tmp_path / "in", "--model", model, "--format", "webp"]
    assert backplate(*words, "-o", tmp_path / "kept").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "kept").glob("*.webp")) == [
        "a.webp", "a_png.webp", "b 10.webp", "b 9.webp"
    ]  # fmt: skip
    template = ["--name-template", "{index:03d}_{stem}_{model}"]
    assert backplate(*words, "-o", tmp_path / "named", *template).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "named").glob("*.webp")) == [
        "001_a_tiny_x2.webp", "002_a_tiny_x2.webp", "003_b 9_tiny_x2.webp", "004_b 10_tiny_x2.webp"
    ]  # fmt: skip


def test_parts_share_the_work_and_merge_into_one_manifest(backplate, ten, model, tmp_path):
    words = ["upscale", ten, "-o", tmp_path / "out", "--model", model, *TO_48]
    parts = [backplate(*words, "--shard", f"{part}/3") for part in (1, 2, 3)]
    assert all(part.exit_code in (0, 1, 2) for part in parts)
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    merged = backplate("manifest", "merge", tmp_path / "out", code=2)
    assert "7 of 10 pictures are done, 3 failed." in merged.stdout
    assert len(lines_in(tmp_path / "out" / "manifest.jsonl")) == 10
    assert backplate("upscale", ten, "-o", tmp_path / "whole", "--model", model, *TO_48).exit_code == 2
    assert pictures(tmp_path / "out") == pictures(tmp_path / "whole")
    resumed = backplate(*words, "--resume")
    assert "7 of them from before" in resumed.stderr
    assert json.loads(backplate("manifest", "merge", tmp_path / "out", "--json").stdout)["failed"] == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["in.png", "-o", "out.png", "--resume"], "--resume works only with folders"),
        (["in.png", "-o", "out.png", "--report"], "--report works only with folders"),
        (["in", "-o", "out", "--shard", "5/4"], "not a part of a folder"),
        (["in", "-o", "out", "--name-template", "{size}"], "an unknown field"),
        (["in", "-o", "out", "--name-template", "../{stem}"], "not a file name"),
        (["in", "-o", "in"], "is the input"),
    ],
)
def test_command_lines_that_make_no_sense(backplate, drawn, tmp_path, monkeypatch, words, reason):
    drawn("in.png")
    drawn("in/a.png")
    monkeypatch.chdir(tmp_path)
    backplate("upscale", *words, "--model", "no such model", code=2, says=reason)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_manifests_cannot_be_merged(backplate, tmp_path):
    backplate("manifest", "merge", tmp_path, code=1, says="no manifest.jsonl")
