"""A cache of loaded models, limited by memory."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .errors import ModelError

if TYPE_CHECKING:
    from .loaded import LoadedModel

_VARIABLE = "BACKPLATE_MODEL_CACHE_MB"
_DEFAULT_MEGABYTES = 2048


class _Key(NamedTuple):
    path: str
    mtime_ns: int
    size: int


class ModelCache:
    """Models by path, modification time and length of their files; thread-safe.

    It keeps those used last, up to a limit on the memory of their weights; a model that exceeds the limit alone is not
    kept. A model that was dropped but is still in use somewhere is found again rather than loaded twice. The returned
    models are shared: see ``LoadedModel``.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        """``limit_bytes``: None for the number of MiB in ``BACKPLATE_MODEL_CACHE_MB``, or 2048 of them."""
        self._limit = limit_bytes
        self._kept: OrderedDict[_Key, LoadedModel] = OrderedDict()
        self._in_use: weakref.WeakValueDictionary[_Key, LoadedModel] = weakref.WeakValueDictionary()
        self._loading: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def limit_bytes(self) -> int:
        """Raises ``ModelError`` if the environment variable is not a number of MiB."""
        return _limit_from_environment() if self._limit is None else self._limit

    @property
    def used_bytes(self) -> int:
        """Memory of the weights in the cache."""
        with self._lock:
            return self._used()

    def get(self, path: Path, load: Callable[[Path], LoadedModel]) -> LoadedModel:
        """The model of an existing file; ``load`` is called if it is not here, once however many threads ask.

        What ``load`` raises goes to the caller, and nothing is kept.
        """
        limit = self.limit_bytes
        status = path.stat()
        key = _Key(os.path.abspath(path), status.st_mtime_ns, status.st_size)
        with self._lock:
            turn = self._loading.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                model = self._kept.get(key) or self._in_use.get(key)
            if model is None:
                model = load(path)
            with self._lock:
                self._keep(key, model, limit)
                self._loading.pop(key, None)
        return model

    def clear(self) -> None:
        """Drop every model; those in use elsewhere stay alive there."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    def _keep(self, key: _Key, model: LoadedModel, limit: int) -> None:
        for old in [other for other in self._kept if other.path == key.path and other != key]:
            del self._kept[old]  # the file was replaced
        self._in_use[key] = model
        self._kept[key] = model
        self._kept.move_to_end(key)
        if model.facts.size_bytes > limit:
            del self._kept[key]
        while self._used() > limit:
            self._kept.popitem(last=False)

    def _used(self) -> int:
        return sum(model.facts.size_bytes for model in self._kept.values())


def _limit_from_environment() -> int:
    text = os.environ.get(_VARIABLE, "").strip() or str(_DEFAULT_MEGABYTES)
    if not text.isdecimal():
        raise ModelError(f"{_VARIABLE} is {text!r}: give a whole number of MiB, such as {_DEFAULT_MEGABYTES}.")
    return int(text) << 20


CACHE = ModelCache()
"""The cache that ``load_model`` uses."""
