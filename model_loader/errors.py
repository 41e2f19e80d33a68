"""Errors of model files. Every message is one sentence that ends with what to try."""

from __future__ import annotations

import importlib
from typing import Any


class Named:
    """An error whose full name is ``backplate.ITS_NAME``, which ComfyUI shows before the message: it loads this package
    under the path of its folder."""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        cls.home = cls.__module__
        cls.__module__ = "backplate"

    home = ""
    """The module that defines the class; unpickling needs it."""

    def __reduce__(self) -> tuple[Any, ...]:
        values: tuple[Any, ...] = getattr(self, "args", ())
        return _again, (self.home, type(self).__qualname__, values), self.__dict__


def _again(module: str, name: str, values: tuple[Any, ...]) -> object:
    kind = importlib.import_module(module)
    for part in name.split("."):
        kind = getattr(kind, part)
    made: Any = kind
    return made.__new__(made, *values)


class ModelError(Named, ValueError):
    """A model cannot be used as asked."""


class ModelNotFoundError(ModelError):
    """There is no such file."""


class DamagedModelError(ModelError):
    """The file is cut off, empty, or not what its name says (a web page, a pointer, an archive)."""


class UnsafeModelError(ModelError):
    """Reading the file would mean running code that came with it."""


class WrongModelError(ModelError):
    """Good weights, but of something else: a diffusion checkpoint, a LoRA, a face restorer."""


class UnknownArchitectureError(ModelError):
    """Weights of a network that the installed Spandrel does not know."""


class LicenceError(ModelError):
    """The licence forbids what was asked, unless the user says that they accept it."""


class LicenceIndexError(ModelError):
    """A list of licences cannot be read or is not valid."""


class DownloadError(ModelError):
    """A file could not be fetched, or is not the file that was promised."""


class BlendError(ModelError):
    """The two models cannot be blended."""


class DeviceError(ModelError):
    """This machine does not have the requested device."""


def one_line(error: object, most: int | None = None) -> str:
    """The message of a foreign error, shortened for use in our own sentence; ``most``: characters."""
    return " ".join(str(error).split())[:most]
