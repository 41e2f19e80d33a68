"""The part of opening somebody else's exported model that runs in a process of its own; see ``foreign``."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

import torch

from ...errors import ModelOutputError
from ...parsed import parse
from ...types import Size
from ...upscaler import UpscalerSpec
from ..worker_process import ANSWER, REQUEST, limit_time
from .files import file_module, tried_out

SIDES = (40, 72)
"""Of the picture that a model with a record has to magnify."""


def main(folder: str) -> None:
    """Opens and runs the model that ``REQUEST`` names; the values of its ``UpscalerSpec`` go to ``ANSWER``."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    request = json.loads(Path(folder, REQUEST).read_text())
    path = Path(request["main"])
    module = file_module(path)
    if reason := module.unusable():
        raise RuntimeError(reason)
    limit_time(request["seconds"])
    if request["spec"] is None:
        spec = tried_out(path, module, torch.device("cpu"), request["key"])
    else:
        spec = parse(UpscalerSpec, request["spec"])
        _run_once(path, spec)
    Path(folder, ANSWER).write_text(json.dumps(asdict(spec)))


def _run_once(path: Path, spec: UpscalerSpec) -> None:
    """Raises ``ModelOutputError`` for a result that is not what the record promises."""
    size = spec.size_rule.padded(Size(*SIDES))
    picture = torch.rand(1, spec.input_channels, size.height, size.width)
    result = file_module(path).open_file(path, spec, torch.device("cpu"))(picture)
    expected = (1, spec.output_channels, size.height * spec.scale, size.width * spec.scale)
    if tuple(result.shape) != expected:
        raise ModelOutputError(f"its result has the shape {tuple(result.shape)}, and its record says {expected}")
