"""Writes a model as an ONNX file, in a process of its own: some networks crash the exporter, and it can be stopped."""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ...model_loader.loaded import LoadedModel
from ..progress import Progress
from ..types import Size, SizeRule
from ..whole_file import whole_file
from .engines import EngineUnusable
from .onnx_child import NETWORK, REQUEST, RESULT

INPUT, OUTPUT = "input", "output"
ROOT = Path(__file__).resolve().parents[2]

_VERSION = 1
"""Raised when the files that are written change."""

_POLL = 0.1
_CHILD = """
import importlib.util, sys
root, folder = sys.argv[1:]
spec = importlib.util.spec_from_file_location("backplate", root + "/__init__.py", submodule_search_locations=[root])
sys.modules["backplate"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["backplate"])
from backplate.core.backends.onnx_child import main
main(folder)
"""


@dataclass(frozen=True, kw_only=True)
class OnnxSettings:
    """``dynamic``: batch, height and width stay free; otherwise the file takes one picture of ``tile`` pixels a side
    (padded to the model's size rule). ``half``: weights and computation in half precision between inputs and outputs
    in single precision. ``opset``: version of ONNX's operators."""

    dynamic: bool = True
    tile: int = 256
    half: bool = False
    opset: int = 20


def missing_packages() -> str | None:
    """Which packages an export needs and does not find, as a clause; None if all are there."""
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    return f"{' and '.join(missing)} not installed; pip install {' '.join(missing)}" if missing else None


def export_onnx(
    model: LoadedModel, output: Path, settings: OnnxSettings | None = None, progress: Progress | None = None
) -> None:
    """Writes ``output``: input ``input`` (B, C, H, W), 0 to 1, output ``output`` (B, C, H*scale, W*scale), not clamped.

    The shared model is not touched. The file appears whole or not at all, also when the process is killed or
    ``progress.check`` raises. Takes ten seconds for a small model and a minute for a large one.

    Raises ``EngineUnusable`` that names the architecture if it cannot be exported, and ``OSError``.
    """
    settings, progress = settings or OnnxSettings(), progress or Progress()
    if missing := missing_packages():
        raise EngineUnusable(missing)
    with tempfile.TemporaryDirectory(prefix="backplate-") as name:
        folder = Path(name)
        torch.save(copy.deepcopy(model.descriptor.model).to("cpu", torch.float32), folder / NETWORK)
        (folder / REQUEST).write_text(json.dumps(_request(model, settings)))
        progress.begin(1, "writing ONNX")
        _run_child(folder, model.facts.architecture, progress)
        progress.advance()
        with whole_file(output) as temporary:
            shutil.copyfile(folder / RESULT, temporary)


def example_size(model: LoadedModel, settings: OnnxSettings) -> Size:
    """Size of the picture that the network is traced with; where sizes are not free, the only one it takes."""
    facts = model.facts
    rule = SizeRule(minimum=facts.minimum_size, multiple_of=facts.multiple_of, square=facts.square)
    side = Size(56, 40) if settings.dynamic else Size(settings.tile, settings.tile)
    return rule.padded(side)


def onnx_identity(model: LoadedModel, settings: OnnxSettings) -> dict[str, object]:
    """Everything that shapes an exported file, for ``Artifact``."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "onnxscript", "spandrel")}
    return {"weights": model.facts.sha256, "export": asdict(settings), "exporter": _VERSION, **versions}


def _request(model: LoadedModel, settings: OnnxSettings) -> dict[str, object]:
    size = example_size(model, settings)
    return {
        **asdict(settings),
        "size": (size.height, size.width),
        "channels": model.facts.input_channels,
        "multiple_of": model.facts.multiple_of,
        "input": INPUT,
        "output": OUTPUT,
    }


def _run_child(folder: Path, architecture: str, progress: Progress) -> None:
    log = folder / "log.txt"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(ROOT), str(folder)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            code = _wait(child, progress)
        finally:
            child.kill()
            child.wait()
    if code != 0 or not (folder / RESULT).is_file():
        raise EngineUnusable(f"the architecture {architecture} cannot be exported to ONNX ({_cause(code, log)})")


def _wait(child: subprocess.Popen[bytes], progress: Progress) -> int:
    while True:
        progress.check()
        try:
            return child.wait(_POLL)
        except subprocess.TimeoutExpired:
            continue


def _cause(code: int, log: Path) -> str:
    if code < 0:
        return f"the exporter was ended by signal {-code}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.partition(":")[0].endswith(("Error", "Exception"))]
    return (errors or lines or ["no reason given"])[-1][:200]
