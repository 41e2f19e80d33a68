"""What goes wrong in a way that a user can read and mend."""

from __future__ import annotations

from ..model_loader.errors import Named, one_line


class OutOfMemory(Named, RuntimeError):
    """The device could not hold the work for this tile. The pipeline answers with a smaller one."""


class ModelOutputError(Named, RuntimeError):
    """The model returned values that are no picture (NaN or infinite)."""


class InputError(Named, ValueError):
    """What the user gave cannot be worked with; the message is one sentence that says what to try."""


EXPECTED = (ValueError, RuntimeError, OSError, MemoryError)
"""What a bad file, model or picture raises; anything else, such as a request to stop, ends the work."""


def sentence_for(error: BaseException) -> str:
    """An error of ours is a sentence already; any other is a surprise and says so."""
    text = one_line(error)
    return text if isinstance(error, Named) else f"unexpected {type(error).__name__}: {text}"
