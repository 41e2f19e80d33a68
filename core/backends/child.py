"""Work on a model's network in a process of its own: a crash there only costs a sentence, and it can be stopped."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from ...model_loader.loaded import LoadedModel
from ..progress import Progress

REQUEST, NETWORK = "request.json", "network.pt"
ROOT = Path(__file__).resolve().parents[2]

_POLL = 0.1
SCRIPT = """
import importlib.util, sys
root, folder, module = sys.argv[1:]
spec = importlib.util.spec_from_file_location("backplate", root + "/__init__.py", submodule_search_locations=[root])
sys.modules["backplate"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["backplate"])
importlib.import_module("backplate.core.backends." + module).main(folder)
"""
"""Loads this package under its name from where it lies: ComfyUI has it under another."""


@contextmanager
def run_in_child(
    module: str, model: LoadedModel, request: Mapping[str, object], progress: Progress
) -> Generator[tuple[Path, str]]:
    """Calls ``main(folder)`` of a module of this folder in a new process. The folder, which lasts as long as the block,
    holds ``NETWORK`` (a pickled copy of the model's network, on the CPU in single precision) and ``REQUEST`` (JSON).

    Gives the folder, and why the process failed: empty if it did not. When ``progress.check`` raises, the process is
    ended first.
    """
    with tempfile.TemporaryDirectory(prefix="backplate-") as name:
        folder = Path(name)
        torch.save(copy.deepcopy(model.descriptor.model).to("cpu", torch.float32), folder / NETWORK)
        (folder / REQUEST).write_text(json.dumps(dict(request)))
        yield folder, run_program([sys.executable, "-c", SCRIPT, str(ROOT), name, module], folder, progress)


def run_program(words: Sequence[str], folder: Path, progress: Progress) -> str:
    """Runs a program in ``folder`` and waits; why it failed, or nothing."""
    log = folder / "log.txt"
    with log.open("wb") as out:
        child = subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )  # fmt: skip
        try:
            code = _wait(child, progress)
        finally:
            child.kill()
            child.wait()
    return _cause(code, log) if code else ""


def _wait(child: subprocess.Popen[bytes], progress: Progress) -> int:
    while True:
        progress.check()
        try:
            return child.wait(_POLL)
        except subprocess.TimeoutExpired:
            continue


def _cause(code: int, log: Path) -> str:
    if code < 0:
        return f"ended by signal {-code}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return (errors or lines or ["no reason given"])[-1][:200]
