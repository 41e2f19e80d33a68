"""Work on a model's network in a process of its own: a crash there only costs a sentence, and it can be stopped."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...model_loader.loaded import LoadedModel
from ..progress import Progress

REQUEST, NETWORK, ANSWER = "request.json", "network.pt", "answer.json"
ROOT = Path(__file__).resolve().parents[2]

TOO_LONG = "it takes too long"

_POLL = 0.1
_OUT_OF_TIME = [getattr(signal, "SIGXCPU", None)]
SCRIPT = """
import importlib.util, sys
root, folder, module, memory = sys.argv[1:]
try:
    import resource
except ImportError:
    resource = None
if resource and int(memory):
    limits = {resource.RLIMIT_DATA: int(memory), resource.RLIMIT_FSIZE: 1 << 26, resource.RLIMIT_CORE: 0}
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))
spec = importlib.util.spec_from_file_location("backplate", root + "/__init__.py", submodule_search_locations=[root])
sys.modules["backplate"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["backplate"])
importlib.import_module("backplate.core.engines." + module).main(folder)
"""
"""Loads this package under its name from where it lies: ComfyUI has it under another. Limits come first, where the
system has them: the libraries that read files of others are loaded under them."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a process may take: bytes of ``memory``, ``seconds`` of processor time for its work, and ``longest``
    seconds in all."""

    memory: int
    seconds: int
    longest: float


@contextmanager
def run_in_child(
    module: str, model: LoadedModel, request: Mapping[str, object], progress: Progress
) -> Generator[tuple[Path, str]]:
    """Calls ``main(folder)`` of a module of this folder in a new process. The folder, which lasts as long as the block,
    holds ``NETWORK`` (a pickled copy of the model's network, on the CPU in single precision) and ``REQUEST`` (JSON).

    Gives the folder, and why the process failed: empty if it did not. When ``progress.check`` raises, the process is
    ended first.
    """
    with _folder(request) as folder:
        torch.save(copy.deepcopy(model.descriptor.model).to("cpu", torch.float32), folder / NETWORK)
        yield folder, run_program(_words(module, folder), folder, progress)


def run_limited(
    module: str, request: Mapping[str, object], progress: Progress, limits: Limits
) -> tuple[dict[str, Any], str]:
    """Calls ``main(folder)`` of a module of this folder in a new process, under limits; ``REQUEST`` also has the
    ``seconds``, which ``main`` sets with ``limit_time`` once everything is loaded.

    What it left in ``ANSWER``, and why it failed: empty if it did not. As ``run_in_child`` for ``progress.check``.
    """
    with _folder({**request, "seconds": limits.seconds}) as folder:
        words = _words(module, folder, limits.memory)
        cause = run_program(words, folder, progress, time.monotonic() + limits.longest)
        if cause:
            return {}, f"it did not end in {limits.seconds} s" if cause == TOO_LONG else cause
        return json.loads((folder / ANSWER).read_text()), ""


def limit_time(seconds: int) -> None:
    """Ends this process after so many further seconds of processor time, where the system can do that."""
    if importlib.util.find_spec("resource") is not None:
        resource: Any = importlib.import_module("resource")
        most = int(time.process_time()) + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


@contextmanager
def _folder(request: Mapping[str, object]) -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="backplate-") as name:
        Path(name, REQUEST).write_text(json.dumps(dict(request)))
        yield Path(name)


def _words(module: str, folder: Path, memory: int = 0) -> list[str]:
    return [sys.executable, "-c", SCRIPT, str(ROOT), str(folder), module, str(memory)]


def run_program(words: Sequence[str], folder: Path, progress: Progress, until: float = math.inf) -> str:
    """Runs a program in ``folder`` and waits; why it failed, or nothing. ``until``: on the monotonic clock."""
    log = folder / "log.txt"
    with log.open("wb") as out:
        child = subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )  # fmt: skip
        try:
            code = _wait(child, progress, until)
        finally:
            child.kill()
            child.wait()
    if code is None or -code in _OUT_OF_TIME:
        return TOO_LONG
    return _cause(code, log) if code else ""


def _wait(child: subprocess.Popen[bytes], progress: Progress, until: float) -> int | None:
    while time.monotonic() < until:
        progress.check()
        try:
            return child.wait(_POLL)
        except subprocess.TimeoutExpired:
            continue
    return None


def _cause(code: int, log: Path) -> str:
    if code < 0:
        return f"ended by signal {-code}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return (errors or lines or ["no reason given"])[-1][:200]
