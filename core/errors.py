"""What goes wrong in a way that a user can read and mend."""

from __future__ import annotations

from ..model_loader.errors import Named


class OutOfMemory(Named, RuntimeError):
    """The device could not hold the work for this tile. The pipeline answers with a smaller one."""


class ModelOutputError(Named, RuntimeError):
    """The model returned values that are no picture (NaN or infinite)."""


class InputError(Named, ValueError):
    """What the user gave cannot be worked with; the message is one sentence that says what to try."""
