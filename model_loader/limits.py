"""Limits on what a file of weights may request, checked in advance: what real models have, with room to spare."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils._python_dispatch import TorchDispatchMode

MOST_STEPS = 1_000_000
"""Steps of a pickle; a training checkpoint with its optimiser takes some 100,000."""
MOST_NESTED = 10_000
"""Values in one tuple, those in its tuples included."""
MOST_HEADER = 8 << 20
"""Bytes of the table of contents of a .safetensors file, and of the pickle in an archive."""
MOST_MEMBERS = 20_000
MOST_INFLATED = 10
"""Times the size of an archive that its content may have."""
MOST_REPEATED = 4
"""Times that its values may be shared by tensors of the same file."""
FREE_VALUES = 1 << 20

MOST_TENSORS = 20_000
LONGEST_NAME = 200
HIGHEST_INDEX = 1_000
LARGEST_SCALE = 16

FREE_BYTES = 512 << 20
MOST_BUILT = 4
"""Times the size of the weights that building a network may take in memory, beside ``FREE_BYTES``."""
MOST_OPERATIONS = 200_000

_INDEX = re.compile(r"(?:^|\.)(\d+)(?=\.|$)")


class TooMuch(ValueError):
    """The file requests more than any model needs. The message is a clause with the numbers."""


def check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises ``TooMuch`` for an archive of too many members, that inflates to too much, or in which two members could
    be taken for the same."""
    members, size = archive.infolist(), path.stat().st_size
    if len(members) > MOST_MEMBERS:
        raise TooMuch(f"it has {len(members):,} members, and {MOST_MEMBERS:,} are allowed")
    content = sum(member.file_size for member in members)
    if content > MOST_INFLATED * size:
        raise TooMuch(f"its {size:,} bytes inflate to {content:,}, and {MOST_INFLATED} times as many are allowed")
    inner = [member.filename.partition("/")[2].lower() for member in members]
    if len({member.filename.partition("/")[0] for member in members}) != 1 or len(set(inner)) != len(inner):
        raise TooMuch("it has two members of the same name")


def check_names(content: object) -> None:
    """Raises ``TooMuch`` for too many names of tensors, or names with which telling the architecture, or building it,
    would not end."""
    names = list(_names(content, 4))
    if len(names) > MOST_TENSORS:
        raise TooMuch(f"it has {len(names):,} names, and {MOST_TENSORS:,} are allowed")
    highest = min(HIGHEST_INDEX, 4 * len(names) + 100)
    for name in names:
        if len(name) > LONGEST_NAME:
            raise TooMuch(f"it has a name of {len(name):,} letters, and {LONGEST_NAME} are allowed")
        for index in cast("list[str]", _INDEX.findall(name)):
            if len(index) > 6 or int(index) > highest:
                raise TooMuch(f"its {len(names):,} names count up to {index[:20]}, and {highest:,} is allowed")


def _names(content: object, deepest: int) -> Iterable[str]:
    if isinstance(content, dict) and deepest:
        for name, value in cast("dict[object, object]", content).items():
            yield str(name)
            yield from _names(value, deepest - 1)


class Frugal(TorchDispatchMode):
    """While this is on, PyTorch makes no more and no larger tensors than a network of these weights can need; raises
    ``TooMuch``, before the memory is taken where the size is told."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        # Tensors that share their values count once.
        held = {tensor.untyped_storage().data_ptr(): 4 * tensor.numel() for tensor in state.values()}
        self._room = FREE_BYTES + MOST_BUILT * sum(held.values())
        self._left, self._operations = self._room, MOST_OPERATIONS

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        self._operations -= 1
        if self._operations < 0:
            raise TooMuch(f"building its network takes more than {MOST_OPERATIONS:,} steps")
        self._refuse(4 * _announced(func, args))
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and func._schema.returns[0].alias_info is None:
            self._left -= result.numel() * result.element_size()
            self._refuse(0)
        return result

    def _refuse(self, needed: float) -> None:
        if needed > self._left:
            raise TooMuch(
                f"building its network takes more than {self._room / 2**30:.1f} GB, which is far more than its weights"
            )


def _announced(func: Any, args: tuple[Any, ...]) -> float:
    """Values that an operation says it will make."""
    name = func.overloadpacket.__name__
    if name in ("arange", "linspace", "eye"):
        return sum(abs(float(each)) for each in args if isinstance(each, (int, float))) ** (1 + (name == "eye"))
    if name == "repeat":
        return math.prod(map(float, args[1])) * float(args[0].numel())
    first = args[0] if args else ()
    sides = cast("list[Any]", first) if isinstance(first, (list, tuple)) else []
    return math.prod(float(side) for side in sides) if all(isinstance(side, int) for side in sides) else 0.0
