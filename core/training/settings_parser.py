"""Settings from files and flags: nested mappings into frozen dataclasses, with every name and type checked."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum, EnumMeta
from typing import Any, TypeVar, cast

from ..errors import InputError

S = TypeVar("S")


def _names(kind: type[Any]) -> dict[str, Any]:
    """Field name -> resolved type."""
    hints = typing.get_type_hints(kind)
    return {item.name: hints[item.name] for item in dataclasses.fields(kind)}


def replaced(settings: S, changes: Mapping[str, Any], where: str = "") -> S:
    """A copy of a settings dataclass with the values of a nested mapping.

    Raises ``InputError`` for a name that is no setting (with the closest one), or a value of another type.
    """
    names = _names(type(settings))
    values: dict[str, Any] = {}
    for name, value in changes.items():
        path = f"{where}{name}"
        if name not in names:
            raise _unknown(path, name, list(names))
        current = getattr(settings, name)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise InputError(f"{path} is a group of settings, not {value!r}; write {path}.<name>.")
            values[name] = replaced(current, cast("Mapping[str, Any]", value), f"{path}.")
        else:
            values[name] = _typed(value, names[name], path)
    return dataclasses.replace(settings, **values)  # type: ignore[type-var]


def _unknown(path: str, name: str, known: Sequence[str]) -> InputError:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {path.removesuffix(name)}{close[0]}" if close else f"there are {', '.join(known)}"
    return InputError(f"There is no setting {path}; {hint}.")


def _typed(value: Any, kind: Any, path: str) -> Any:
    """``value`` as ``kind``: bool, int, float, str, an Enum, a tuple of these, or one of them or None."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _typed(value, next(a for a in arguments if a is not type(None)), path)
    if origin is tuple:
        return _typed_tuple(value, arguments, path)
    if isinstance(kind, EnumMeta):
        return _member(value, cast("type[Enum]", kind), path)
    try:
        return _scalar(value, kind)
    except (TypeError, ValueError):
        raise InputError(f"{path} takes {_ENGLISH.get(kind, kind.__name__)}, not {value!r}.") from None


def _member(value: Any, kind: type[Enum], path: str) -> Enum:
    known = [str(member.value) for member in kind]
    if str(value) not in known:
        raise InputError(f"{path} cannot be {value!r}; it is one of {', '.join(known)}.")
    return kind(str(value))


_ENGLISH: dict[type[Any], str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}


def _scalar(value: Any, kind: type[Any]) -> Any:
    if kind is bool:
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise ValueError
    if isinstance(value, (bool, Mapping, list, tuple)) or (kind is str and not isinstance(value, str)):
        raise ValueError
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError
    # YAML 1.1 reads 1e-4 as text: without a dot it is no number there.
    return kind(value)


def _typed_tuple(value: Any, arguments: tuple[Any, ...], path: str) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.strip("[]() ").split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{path} takes a list of values, not {value!r}.")
    items = cast("Sequence[Any]", value)
    kinds = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else list(arguments)
    if len(items) != len(kinds):
        raise InputError(f"{path} takes {len(kinds)} values, not {len(items)}.")
    return tuple(_typed(item, kind, f"{path}[{i}]") for i, (item, kind) in enumerate(zip(items, kinds, strict=True)))


def as_mapping(settings: Any) -> dict[str, Any]:
    """The reverse of ``replaced``: nested plain values that YAML and JSON can hold, every setting included."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, tuple):
            return [plain(item) for item in cast("tuple[Any, ...]", value)]
        return value

    result: dict[str, Any] = plain(settings)
    return result


def nested(assignments: Sequence[str]) -> dict[str, Any]:
    """``["losses.line=0.5", "steps=300"]`` -> nested mapping. Raises ``InputError`` for one without ``=``."""
    tree: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals or not path.strip():
            raise InputError(f"A setting is written name=value, such as losses.line=0.5, not {assignment!r}.")
        *groups, name = path.strip().split(".")
        branch = tree
        for group in groups:
            inner = branch.setdefault(group, {})
            if not isinstance(inner, dict):
                raise InputError(f"{path} cannot be set: {group} was given a value itself.")
            branch = cast("dict[str, Any]", inner)
        branch[name] = value.strip()
    return tree
