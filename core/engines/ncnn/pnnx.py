"""Writes networks that ``convert`` does not know as ncnn files with pnnx, which takes minutes and sometimes fails.

Only for explicit exports. pnnx reports failures by its return code and by files that are not there, and flushes small
weights to zero where it is not told to keep single precision.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from ....model_loader.loaded import LoadedModel
from ...progress import Progress
from ..onnx.export import OnnxSettings, example_size
from ..registry import EngineUnusable
from ..worker_process import run_in_child, run_program


def convert_with_pnnx(model: LoadedModel, main: Path, reason: str, progress: Progress) -> list[Path]:
    """Writes ``main`` (``.param``) and its ``.bin``; ``reason`` says why our own writer could not.

    Raises ``EngineUnusable`` that names the architecture.
    """
    facts = model.facts
    lead = f"the architecture {facts.architecture} needs {reason}, which is not written for ncnn"
    if importlib.util.find_spec("pnnx") is None:
        raise EngineUnusable(f"{lead}; pip install pnnx to have it tried by that")
    size = example_size(model, OnnxSettings())
    request: dict[str, Any] = {"channels": facts.input_channels, "height": size.height, "width": size.width}
    progress.begin(2, "converting with pnnx")
    with run_in_child("ncnn.pnnx_worker", model, request, progress) as (folder, cause):
        traced = folder / "traced.pt"
        if cause or not traced.is_file():
            raise EngineUnusable(f"{lead}, and it cannot be traced for pnnx ({cause})")
        progress.advance()
        files = [main, main.with_suffix(".bin")]
        program = importlib.import_module("pnnx").EXEC_PATH
        shape = f"inputshape=[1,{facts.input_channels},{size.height},{size.width}]f32"
        words = [program, str(traced), shape, "fp16=0", "device=cpu", f"ncnnparam={files[0]}", f"ncnnbin={files[1]}"]
        cause = run_program(words, folder, progress)
        if cause or not all(file.is_file() and file.stat().st_size for file in files):
            raise EngineUnusable(f"{lead}, and pnnx failed on it ({cause or 'it wrote no files'})")
        progress.advance()
    return files
