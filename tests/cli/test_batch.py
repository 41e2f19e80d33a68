"""``backplate batch`` on a Ray of this machine, in a process of its own that cannot hang for long."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from backplate.cli import picture_job
from backplate.core.engines.registry import Engine
from backplate.core.errors import InputError
from drawn_folder import BROKEN, draw_folder

SECONDS = 240
TO_48 = ("--size", "48x48", "--fit", "pad", "--background", "white", "--format", "png", "--recursive")


def installed(*names: str) -> bool:
    try:
        return all(importlib.metadata.version(name) for name in names)
    except importlib.metadata.PackageNotFoundError:
        return False


needs_ray = pytest.mark.skipif(
    not installed("ray", "backplate"),
    reason="needs Ray and the installed package, which workers import: pip install -e '.[cluster]'",
)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "backplate.cli", *map(str, words)]
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, cwd=Path(root).parent, env=os.environ
    )


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


@needs_ray
def test_two_workers_make_what_one_machine_makes_and_resume_does_the_rest(backplate, model, tmp_path):
    folder, out, alone = tmp_path / "in", tmp_path / "out", tmp_path / "alone"
    draw_folder(folder, plain=7)
    assert backplate("upscale", folder, "-o", alone, "--model", model, *TO_48).exit_code == 2
    words = ["batch", folder, "-o", out, "--model", model, *TO_48, "--engine", "ray", "--workers", "2", "--resume"]
    first = run(*words)
    assert first.returncode == 2, first.stderr
    assert "11 of 14 pictures are done, 3 failed." in first.stderr
    assert all(f"  {name}: " in first.stderr for name in BROKEN)
    assert pictures(out) == pictures(alone)
    entries = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    wanted = [json.loads(line) for line in (alone / "manifest.jsonl").read_text().splitlines()]
    unlike = ("seconds", "finished")
    by_source = [
        {entry["source"]: {name: value for name, value in entry.items() if name not in unlike} for entry in each}
        for each in (entries, wanted)
    ]
    assert by_source[0] == by_source[1]
    (out / "deep.png").unlink()
    second = run(*words)
    assert "11 of 14 pictures are done, 10 of them from before, 3 failed." in second.stderr, second.stderr
    assert pictures(out) == pictures(alone)


@needs_ray
def test_an_address_where_nobody_answers(model, tmp_path):
    draw_folder(tmp_path / "in", plain=1)
    words = ["batch", tmp_path / "in", "-o", tmp_path / "out", "--model", model, "--address", "127.0.0.1:1"]
    refused = run(*words)
    assert refused.returncode == 1
    assert "Ray cannot be reached at 127.0.0.1:1" in refused.stderr


def test_without_ray(backplate, drawn, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    drawn("in/a.png")
    refused = backplate("batch", tmp_path / "in", "-o", tmp_path / "out", "--model", model, code=1)
    assert 'pip install "ray[data]"' in refused.stderr


@pytest.mark.parametrize(
    ("words", "engine"),
    [
        ([], "auto"),
        (["--engine", "ncnn"], "ncnn"),
        (["--engine", "ray"], "auto"),
        (["--engine", "onnxruntime", "--scheduler", "ray"], "onnxruntime"),
    ],
)
def test_workers_get_the_engine_and_the_tile_that_were_asked_for(
    backplate, drawn, model, tmp_path, monkeypatch, words, engine
):
    loads: list[functools.partial[object]] = []

    def note(job: object, load: functools.partial[object], **rest: object) -> None:
        loads.append(load)
        raise InputError("that is enough.")

    opened: list[tuple[object, ...]] = []
    monkeypatch.setattr("backplate.core.jobs.folder.ray_cluster.run_folder_on_cluster", note)
    monkeypatch.setattr(picture_job, "open_upscaler", lambda *given, **named: opened.append((given[3], named["tile"])))
    drawn("in/a.png")
    backplate("batch", tmp_path / "in", "-o", tmp_path / "out", "--model", model, "--tile-size", "96", *words)
    pickle.loads(pickle.dumps(loads[0]))()
    assert opened == [(Engine(engine), 96)]


@pytest.mark.parametrize(
    ("words", "known"), [(["--engine", "slurm"], "pytorch, compiled"), (["--scheduler", "slurm"], "choose one of ray")]
)
def test_an_unknown_engine_or_scheduler_is_named(backplate, drawn, model, tmp_path, words, known):
    drawn("in/a.png")
    backplate("batch", tmp_path / "in", "-o", tmp_path / "out", "--model", model, *words, code=2, says=known)
