"""Writes a model as an ONNX file, in a process of its own: some networks crash the exporter, and it can be stopped."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from ....model_loader.loaded import LoadedModel
from ...atomic_write import whole_file
from ...progress import Progress
from ...types import Size, size_rule_of
from ..registry import EngineUnusable
from ..worker_process import run_in_child
from .worker import RESULT

INPUT, OUTPUT = "input", "output"

_VERSION = 1
"""Raised when the files that are written change."""


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
    progress.begin(1, "writing ONNX")
    with run_in_child("onnx.worker", model, _request(model, settings), progress) as (folder, cause):
        result = folder / RESULT
        if cause or not result.is_file():
            raise EngineUnusable(f"the architecture {model.facts.architecture} cannot be exported to ONNX ({cause})")
        progress.advance()
        with whole_file(output) as temporary:
            shutil.copyfile(result, temporary)


def example_size(model: LoadedModel, settings: OnnxSettings) -> Size:
    """Size of the picture that the network is traced with; where sizes are not free, the only one it takes."""
    facts = model.facts
    rule = size_rule_of(facts)
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
