"""What must survive a crash: the state of a run, and model files with their card. Written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import pickle
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from ..upscaler import InputError

CARD_KEY = "backplate.model_card"
"""Name of the model card in the metadata of a safetensors file; its value is JSON."""


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file in the same folder, bring it to the disk, then give it its name.

    Raises ``InputError`` if the disk refuses; a file that had the name before is then untouched.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        raise unwritten(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file through ``write_whole``, UTF-8."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_whole(path, write)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def unwritten(path: Path, error: Exception) -> InputError:
    """The sentence for a file that the disk refused."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    # torch's own writer hides the error number.
    full = full or "No space left" in str(error) or "unexpected pos" in str(error)
    reason = "the disk is full" if full else " ".join(str(error).split())[:150]
    return InputError(
        f"{path} could not be written ({reason}); the last complete state is kept: make room and run the same command "
        "again to go on from it."
    )


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """A run's state: tensors and plain values only, so that it can be read back without running code."""
    write_whole(path, lambda temporary: torch.save(dict(state), temporary))


def load_state(path: Path) -> dict[str, Any]:
    """What ``save_state`` wrote, on the CPU. Raises ``InputError`` for anything else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        detail = " ".join(str(error).split())[:100]
        raise InputError(f"{path} is not the state of a training run ({detail}); delete it to start anew.") from error


def write_model(path: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any], *, half: bool = False) -> None:
    """Weights as safetensors under their own names, which is what Spandrel reads, with the card as metadata."""

    def stored(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().cpu()
        return (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous().clone()

    tensors = {name: stored(tensor) for name, tensor in weights.items()}
    # A single entry: safetensors writes several in an arbitrary order, and equal runs should give equal files.
    metadata = {CARD_KEY: json.dumps(card, sort_keys=True)}
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata))


def read_card(path: Path) -> dict[str, Any]:
    """The card of a model file that ``write_model`` wrote; empty if it has none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    card: dict[str, Any] = json.loads(header.get("__metadata__", {}).get(CARD_KEY, "{}"))
    return card
