"""What a pickle would do, found out without doing it.

A pickle is a program; ``torch.load(weights_only=True)`` runs it with a list of allowed names, which other
code in the process may extend. Here it runs first with inert stand-ins for every name it asks for, so that a
forbidden name is reported and nothing behind any name is ever imported or called.

The stand-ins also refuse item assignment on anything but a dict and storages that claim to be longer than
the file, by which a crafted file corrupts memory in PyTorch before 2.10 (CVE-2026-24747).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import IO, Any

_STORAGE_BYTES = {
    "BoolStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "UntypedStorage": 1,
    "BFloat16Storage": 2,
    "HalfStorage": 2,
    "ShortStorage": 2,
    "FloatStorage": 4,
    "IntStorage": 4,
    "ComplexFloatStorage": 8,
    "DoubleStorage": 8,
    "LongStorage": 8,
    "ComplexDoubleStorage": 16,
}
_DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128"
_DICTS = {"collections.OrderedDict"}
_PLAIN = "set bytearray complex"
_REBUILD = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter"}
ALLOWED = frozenset(
    {
        "collections.OrderedDict",
        "collections.Counter",
        "_codecs.encode",
        "torch.Size",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.storage.UntypedStorage",
        *(f"torch._utils.{name}" for name in _REBUILD),
        *(f"torch.{name}" for name in _STORAGE_BYTES),
        *(f"torch.{name}" for name in _DTYPES.split()),
        *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in _PLAIN.split()),
    }
)
"""Names that a state dict and the counters beside it need, and all that a file may ask for."""


class ForbiddenGlobal(Exception):
    """The pickle asks for a name that no weights need."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class StandIn:
    """Takes the place of a function or class: may be called with anything, and does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass


class _Dict(dict[Any, Any]):
    """Takes the place of an ordered dict."""


class _DryRun(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], available: Callable[[str], int]) -> None:
        super().__init__(stream, encoding="latin-1")
        self._available = available

    def find_class(self, module_name: str, global_name: str, /) -> type:
        full = f"{module_name}.{global_name}"
        if full not in ALLOWED:
            raise ForbiddenGlobal(_spoken(full))
        # A class of its own each time: a pickle can set attributes on a class, which must not outlive it.
        return type(global_name, (_Dict if full in _DICTS else StandIn,), {})

    def persistent_load(self, pid: Any, /) -> StandIn:
        kind, storage, key, _, count = pid[:5]
        size = _STORAGE_BYTES[storage.__name__]
        if kind != "storage" or not 0 <= count * size <= self._available(str(key)):
            raise ValueError(f"storage {key} is shorter than its {count} elements of {size} bytes")
        return StandIn()


def check_pickle(stream: IO[bytes], available: Callable[[str], int]) -> object:
    """Run the pickle at the position of ``stream`` with stand-ins and return its outermost value.

    ``available`` gives the bytes at hand for the storage of a key. Raises ``ForbiddenGlobal`` for a name that
    is not in ``ALLOWED``; anything else that it raises means that the pickle is damaged, or not one of
    PyTorch's. The position of ``stream`` is then the end of the pickle.
    """
    return _DryRun(stream, available).load()


def _spoken(name: str) -> str:
    """``posix.system`` is what pickle writes for ``os.system``, ``__builtin__`` for ``builtins``."""
    module, _, rest = name.partition(".")
    return f"{ {'posix': 'os', 'nt': 'os', '__builtin__': 'builtins'}.get(module, module) }.{rest}"
