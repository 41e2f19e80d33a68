"""Why a model was refused. Every message is one sentence that ends with what to try."""

from __future__ import annotations


class ModelError(ValueError):
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


class DownloadError(ModelError):
    """A file could not be fetched, or is not the file that was promised."""


class BlendError(ModelError):
    """Two models that cannot be mixed."""


class DeviceError(ModelError):
    """A device that this machine does not have."""
