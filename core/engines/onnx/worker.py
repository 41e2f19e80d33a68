"""The part of an ONNX export that runs in a process of its own; see ``export``."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..fuse import fuse_for_export
from ..worker_process import NETWORK, REQUEST

RESULT = "model.onnx"


class HalfInside(nn.Module):
    """Takes and gives single precision, computes in half."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.network(picture.half()).float()


def main(folder: str) -> None:
    """Exports ``NETWORK`` (a pickled network, written by our own process) as ``REQUEST`` says, to ``RESULT``."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    request = json.loads(Path(folder, REQUEST).read_text())
    network = fuse_for_export(torch.load(Path(folder, NETWORK), map_location="cpu", weights_only=False))
    if request["half"]:
        network = HalfInside(network)
    height, width = request["size"]
    # Batch 2 and unequal sides, so that none of them is taken for a constant.
    example = torch.rand(2 if request["dynamic"] else 1, request["channels"], height, width)
    export = cast("Any", torch.onnx).export
    export(
        network.eval(),
        (example,),
        str(Path(folder, RESULT)),
        dynamo=True,
        external_data=False,
        opset_version=request["opset"],
        input_names=[request["input"]],
        output_names=[request["output"]],
        dynamic_shapes=_free_sizes(request["multiple_of"]) if request["dynamic"] else None,
        verbose=False,
    )


def _free_sizes(multiple_of: int) -> tuple[dict[int, Any]]:
    """Batch, height and width are free; both sides multiples of what the model asks for."""
    dim = cast("Any", torch.export.Dim)
    sides = dim("height"), dim("width")
    if multiple_of > 1:
        sides = multiple_of * sides[0], multiple_of * sides[1]
    return ({0: dim("batch"), 2: sides[0], 3: sides[1]},)
