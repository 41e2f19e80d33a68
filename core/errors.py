"""Errors that a user can read and fix."""

from __future__ import annotations

from ..model_loader.errors import Named, one_line


class OutOfMemory(Named, RuntimeError):
    """The device ran out of memory on this tile. The pipeline retries with a smaller one."""


class ModelOutputError(Named, RuntimeError):
    """The model returned values that are not a picture (NaN or infinite)."""


class InputError(Named, ValueError):
    """Unusable input; the message is one sentence that says what to try."""


EXPECTED = (ValueError, RuntimeError, OSError, MemoryError)
"""What a bad file, model or picture raises; anything else, such as a cancellation, ends the work."""


def sentence_for(error: BaseException) -> str:
    """The sentence of our own errors; any other error is marked as unexpected."""
    text = one_line(error)
    return text if isinstance(error, Named) else f"unexpected {type(error).__name__}: {text}"
