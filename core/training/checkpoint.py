"""What must survive a crash: the state of a run, and model files with their card. Written completely or not at all."""

from __future__ import annotations

import errno
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from ...model_loader.errors import one_line
from ...model_loader.licences import CARD_KEY
from ..atomic_write import whole_file
from ..errors import InputError


def write_or_refuse(path: Path, write: Callable[[Path], object]) -> None:
    """Lets ``write`` fill a file that appears complete or not at all.

    Raises ``InputError`` if the disk refuses; a file that had the name before is then untouched.
    """
    try:
        with whole_file(path) as temporary:
            write(temporary)
    except (OSError, RuntimeError) as error:
        raise unwritten(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file through ``write_or_refuse``."""
    write_or_refuse(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def unwritten(path: Path, error: Exception) -> InputError:
    """The error for a file that the disk refused."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    # torch's own writer hides the error number.
    full = full or any(words in str(error) for words in ("No space left", "unexpected pos", "iostream error"))
    reason = "the disk is full" if full else one_line(error, 150)
    return InputError(
        f"{path} could not be written ({reason}); the last complete state is kept: make room and run the same command "
        "again to continue from it."
    )


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """A run's state: tensors and plain values only, so that it can be read back without running code."""
    write_or_refuse(path, lambda temporary: torch.save(dict(state), temporary))


def load_state(path: Path) -> dict[str, Any]:
    """What ``save_state`` wrote, on the CPU. Raises ``InputError`` for anything else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        detail = one_line(error, 100)
        raise InputError(f"{path} is not the state of a training run ({detail}); delete it to start again.") from error


def write_model(path: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any], *, half: bool = False) -> None:
    """Weights as safetensors under their own names, which is what Spandrel reads, with the card as metadata."""

    def stored(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().cpu()
        return (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous().clone()

    tensors = {name: stored(tensor) for name, tensor in weights.items()}
    # A single entry: safetensors writes several in an arbitrary order, and equal runs should give equal files.
    metadata = {CARD_KEY: json.dumps(card, sort_keys=True)}
    # Through memory: safetensors' own writer gives files that nobody else may read, and an error of its own.
    content = save(tensors, metadata)
    write_or_refuse(path, lambda temporary: temporary.write_bytes(content))
