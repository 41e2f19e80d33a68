"""Finds out what a pickle would do, without doing it.

A pickle is a program; ``torch.load(weights_only=True)`` runs it with a list of allowed names, which other
code in the process may extend. Here it runs first with inert stand-ins for every name it asks for, so that a
forbidden name is reported and nothing behind any name is ever imported or called.

The stand-ins also refuse item assignment on anything but a dict and storages that claim to be longer than
the file, by which a crafted file corrupts memory in PyTorch before 2.10 (CVE-2026-24747).
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, cast

from .limits import FREE_VALUES, MOST_NESTED, MOST_REPEATED, MOST_STEPS, TooMuch

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

    def __init__(self, *args: object) -> None:
        super().__init__()
        _refuse_strange_keys(map(_key_of, _values_in(args)))


class _Gathered(StandIn):
    """Takes the place of a set or counter, which would hash its members."""

    def __init__(self, *args: object) -> None:
        super().__init__()
        _refuse_strange_keys(_values_in(args))


class _Bytes(StandIn):
    """Takes the place of a ``bytearray``, which makes as many bytes as a number says."""

    def __init__(self, *args: object) -> None:
        super().__init__()
        if any(isinstance(arg, int) for arg in args):
            raise TooMuch(f"it asks for {args[0]} bytes of nothing")


class _Encoded(StandIn):
    """Takes the place of ``_codecs.encode``, with which old pickles store bytes."""

    def __init__(self, text: object, encoding: object = "utf-8", *rest: object) -> None:
        super().__init__()
        if encoding not in ("latin1", "latin-1", "utf-8", "ascii") or rest:
            raise TooMuch(f"it asks for the encoding {str(encoding)[:40]!r}")


class _Storage(StandIn):
    """``count``: elements."""

    count = 0


_STAND_INS: dict[str, type[Any]] = {
    **dict.fromkeys(_DICTS, _Dict),
    "collections.Counter": _Gathered,
    "_codecs.encode": _Encoded,
    **{f"{module}.set": _Gathered for module in ("builtins", "__builtin__")},
    **{f"{module}.bytearray": _Bytes for module in ("builtins", "__builtin__")},
}

_REFUSED_STEPS = (pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.EXT1, pickle.EXT2, pickle.EXT4)

_Step = Callable[[Any], None]
_STEPS = cast("dict[int, _Step]", vars(pickle)["_Unpickler"].dispatch)


class _DryRun(pickle._Unpickler):  # pyright: ignore[reportPrivateUsage]
    """The unpickler that is written in Python, because every step is counted, and nothing is hashed that takes long:
    the hash of a tuple goes through all the tuples in it, each as often as it is there."""

    def __init__(self, stream: IO[bytes], available: Callable[[str], int], most_bytes: float) -> None:
        super().__init__(stream, encoding="latin-1")
        self._available, self._most_bytes = available, most_bytes
        self._steps_left = MOST_STEPS
        self._nested: dict[int, tuple[object, int]] = {}
        self._storages: dict[str, tuple[int, int]] = {}
        self._values = 0

    def run(self) -> object:
        content = super().load()
        stored = sum(count for count, _ in self._storages.values())
        if self._values > MOST_REPEATED * stored + FREE_VALUES:
            raise TooMuch(f"its tensors make {self._values:,} values of the {stored:,} that are there")
        return content

    def find_class(self, module: str, name: str) -> type:
        full = f"{module}.{name}"
        if full not in ALLOWED:
            raise ForbiddenGlobal(_spoken(full))
        members: dict[str, object] = {}
        if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            members["__init__"] = self._counting()
        # A class of its own each time: a pickle can set attributes on a class, which must not outlive it.
        return type(name, (_STAND_INS.get(full, StandIn),), members)

    def _counting(self) -> Callable[..., None]:
        def initialise(_: object, *args: object, **named: object) -> None:
            self._count(*args)

        return initialise

    def _count(self, storage: object, offset: object = 0, size: object = (), *rest: object) -> None:
        sides = cast("tuple[object, ...]", size) if isinstance(size, tuple) else ()
        if not isinstance(storage, _Storage) or not all(isinstance(side, int) and side >= 0 for side in sides):
            raise ValueError("a tensor without a storage or a size")
        self._values += math.prod(cast("tuple[int, ...]", sides))

    def persistent_load(self, pid: Any) -> StandIn:
        kind, storage, key, _, count = pid[:5]
        size = _STORAGE_BYTES[storage.__name__]
        if kind != "storage" or not 0 <= count * size <= self._available(str(key)):
            raise ValueError(f"storage {key} is shorter than its {count} elements of {size} bytes")
        self._storages[str(key)] = (count, count * size)
        if sum(length for _, length in self._storages.values()) > self._most_bytes:
            raise ValueError(f"its storages are longer than the file, which has {self._most_bytes:,} bytes")
        found = _Storage()
        found.count = count
        return found

    def _one_less(self) -> None:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise TooMuch(f"reading it takes more than {MOST_STEPS:,} steps")

    def _check_tuple(self) -> None:
        made = cast("tuple[object, ...] | None", cast("Any", self).stack[-1])
        if made:
            size = 1 + sum(self._nested.get(id(each), (None, 1))[1] for each in made)
            if size > MOST_NESTED:
                raise TooMuch(f"it has a tuple of {size:,} values, and {MOST_NESTED:,} are allowed")
            self._nested[id(made)] = made, size

    def _check_keys(self, keys: Iterable[object], target: object, kinds: tuple[type, ...]) -> None:
        if not isinstance(target, kinds):
            raise ValueError(f"a {type(target).__name__} does not support item assignment")
        _refuse_strange_keys(keys)


def _refuse_strange_keys(keys: Iterable[object]) -> None:
    """Raises ``TooMuch`` for keys that are not plain values."""
    for key in keys:
        if not isinstance(key, (str, int, float, bytes, type(None))):
            raise TooMuch(f"it has a key of the type {type(key).__name__}")


def _key_of(pair: object) -> object:
    sequence = cast("tuple[object, ...]", pair) if isinstance(pair, (list, tuple)) else (pair,)
    return sequence[0] if sequence else None


def _values_in(args: Iterable[object]) -> Iterator[object]:
    """The values in nested lists and tuples."""
    for arg in args:
        yield from cast("Iterable[object]", arg) if isinstance(arg, (list, tuple, dict)) else (arg,)


def _counted(code: int, step: _Step) -> _Step:
    def counted(run: Any) -> None:
        run._one_less()
        if bytes([code]) in _REFUSED_STEPS:
            raise ValueError(f"Unsupported operand {code}")
        if code == pickle.SETITEM[0]:
            run._check_keys([run.stack[-2]], run.stack[-3], (dict,))
        elif code in (pickle.SETITEMS[0], pickle.DICT[0]):
            run._check_keys(run.stack[::2], run.metastack[-1][-1] if code == pickle.SETITEMS[0] else {}, (dict,))
        elif code in (pickle.ADDITEMS[0], pickle.FROZENSET[0]):
            run._check_keys(run.stack, set(), (set,))
        step(run)
        if code in _TUPLES:
            run._check_tuple()

    return counted


_TUPLES = (pickle.TUPLE[0], pickle.TUPLE1[0], pickle.TUPLE2[0], pickle.TUPLE3[0])
_DryRun.dispatch = {code: _counted(code, step) for code, step in _STEPS.items()}


def check_pickle(stream: IO[bytes], available: Callable[[str], int], most_bytes: float = math.inf) -> object:
    """Run the pickle at the position of ``stream`` with stand-ins and return its outermost value.

    ``available`` gives the bytes at hand for the storage of a key, ``most_bytes`` those for all of them. Raises
    ``ForbiddenGlobal`` for a name that is not in ``ALLOWED``, and ``TooMuch`` for what would take more time or memory
    than weights need; anything else that it raises means that the pickle is damaged, or not one of PyTorch's. The
    position of ``stream`` is then the end of the pickle.
    """
    return _DryRun(stream, available, most_bytes).run()


def _spoken(name: str) -> str:
    """``posix.system`` is what pickle writes for ``os.system``, ``__builtin__`` for ``builtins``."""
    module, _, rest = name.partition(".")
    return f"{ {'posix': 'os', 'nt': 'os', '__builtin__': 'builtins'}.get(module, module) }.{rest}"
