"""The limits of inputs, for values that arrive over a link: ComfyUI checks only values entered in the node."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from ..core.errors import InputError
from ..model_loader.errors import Named
from . import comfy_host as host

_LISTED_LATER = ("model_name", "folder")
"""Choices that are checked on use: files may have been added since the list was made."""


def within_limits(node: type[io.ComfyNode]) -> type[io.ComfyNode]:
    """The node, made to refuse numbers and choices outside its schema and to show on itself why it failed."""
    execute: Callable[..., Any] = node.__dict__["execute"].__func__
    inputs = functools.cache(lambda: node.define_schema().inputs)

    @functools.wraps(execute)
    def checked(cls: type[io.ComfyNode], *given: Any, **named: Any) -> Any:
        try:
            refuse_beyond_limits(inputs(), named)
            return execute(cls, *given, **named)
        except Exception as error:
            if isinstance(error, Named):
                # ComfyUI's own message names the node only; the sentence is two clicks away.
                host.say(str(error))
            raise

    if not hasattr(execute, "__wrapped__"):
        node.execute = classmethod(checked)
    return node


def refuse_beyond_limits(inputs: Iterable[Any], values: Mapping[str, Any]) -> None:
    """Raises an ``InputError`` that names the first value not allowed by its input."""
    for each in inputs:
        value = values.get(each.id)
        if value is None:
            continue
        if isinstance(each, (io.Int.Input, io.Float.Input)):
            _refuse_number(each, value, whole=isinstance(each, io.Int.Input))
        elif isinstance(each, io.Combo.Input) and each.id not in _LISTED_LATER:
            options = list(each.options or ())
            if value not in options:
                raise InputError(f"{each.id} is {str(value)[:40]!r}; choose one of {', '.join(map(str, options))}.")


def _refuse_number(each: Any, value: Any, *, whole: bool) -> None:
    kind, what = (Integral, "a whole number") if whole else (Real, "a number")
    if not isinstance(value, kind) or not math.isfinite(value):
        raise InputError(f"{each.id} is {str(value)[:40]!r}; give {what}.")
    least, most = each.min, each.max
    if (least is not None and value < least) or (most is not None and value > most):
        raise InputError(f"{each.id} is {value:g}; give {what} from {least:g} to {most:g}.")
