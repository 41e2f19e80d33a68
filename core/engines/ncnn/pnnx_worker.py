"""The part of a conversion with pnnx that runs in a process of its own: tracing the network."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, cast

import torch

from ..fuse import fuse_for_export
from ..worker_process import NETWORK, REQUEST


def main(folder: str) -> None:
    """Traces ``NETWORK`` as ``REQUEST`` says, to ``traced.pt``."""
    warnings.simplefilter("ignore")
    request = json.loads(Path(folder, REQUEST).read_text())
    network = fuse_for_export(torch.load(Path(folder, NETWORK), map_location="cpu", weights_only=False))
    example = torch.rand(1, request["channels"], request["height"], request["width"])
    with torch.no_grad():
        cast("Any", torch.jit).trace(network, example, check_trace=False).save(str(Path(folder, "traced.pt")))
