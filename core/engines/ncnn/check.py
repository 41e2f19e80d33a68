"""Checks a pair of ncnn files that somebody else made, number by number, before ncnn sees it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from ..registry import EngineUnusable
from .layer import Given, Kind, Misfit, Number, Shape, Weights
from .param import parse_param
from .shapes import KINDS

MOST_BYTES = 4 << 20
"""Of a ``.param``; the largest of the field has 0.2 MB."""
MOST_LAYERS = 5_000
MOST_CHANNELS = 4
"""Of a picture."""
MOST_VALUES = 1 << 15
"""That a layer may give for each pixel of the picture: 64 channels at 16 times the size are half of it."""

SIDES = (1, 2, 4, 8, 16, 32, 96)
LEAST_SIDE = 32
"""Side of a picture that has to run."""

_MAGIC = "7767517"
_WORD = re.compile(r"[!-~]{1,200}")
_WHOLE = re.compile(r"[+-]?\d{1,9}")
_NUMBER = re.compile(r"[+-]?\d{1,12}(\.\d{0,12})?([eE][+-]?\d{1,3})?")
_ARRAY = -23300
_TYPES = {0: numpy.dtype("<f4"), 0x0002C056: numpy.dtype("<f4"), 0x01306B47: numpy.dtype("<f2")}
"""Of weights, by the tag before them; ncnn also has whole numbers and tables, which models of the field do not use."""


@dataclass(frozen=True)
class _Line:
    """A layer as it is written."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[int, float]
    arrays: dict[int, tuple[float, ...]]


def check_pair(param: Path, weights: Path) -> int:
    """Smallest side of a picture for which all layers fit together.

    Raises ``EngineUnusable`` for a pair with a layer that is not known here, or any number out of its range, or that
    does not fit the rest of the graph or the file of weights.
    """
    try:
        if param.stat().st_size > MOST_BYTES:
            raise Misfit(f"has {param.stat().st_size:,} bytes, and {MOST_BYTES:,} are allowed")
        text = param.read_bytes().decode("ascii")
        lines = _lines(text)
        channels = parse_param(text).channels
        if not 1 <= channels <= MOST_CHANNELS:
            raise Misfit(f"takes pictures of {channels} channels")
        _check_bytes(_fits(lines, channels, LEAST_SIDE), weights)
        fitting = [side for side in SIDES if _fitting(lines, channels, side)]
    except (OSError, ValueError, IndexError, StopIteration, ArithmeticError) as error:
        raise EngineUnusable(f"it {_clause(error)}; get both files again, or another model") from error
    return min(side for side in fitting if all(larger in fitting for larger in SIDES if larger >= side))


def _clause(error: Exception) -> str:
    return str(error) if isinstance(error, Misfit) else f"is not the graph of an ncnn model ({error or 'incomplete'})"


def _fitting(lines: Sequence[_Line], channels: int, side: int) -> bool:
    try:
        _fits(lines, channels, side)
    except Misfit:
        if side >= LEAST_SIDE:
            raise
        return False
    return True


def _lines(text: str) -> list[_Line]:
    """Raises ``Misfit``."""
    if odd := re.search(r"[^\t\n\r -~]", text):
        raise Misfit(f"holds the character {odd[0]!r}")
    first, counts, *rest = [line for line in text.split("\n") if line.strip()] + [""] * 2
    if first.strip() != _MAGIC or not re.fullmatch(r"\s*\d{1,9}\s+\d{1,9}\s*", counts):
        raise Misfit(f"is not the graph of an ncnn model, which begins with {_MAGIC} and two numbers")
    lines: list[_Line] = []
    for number, line in enumerate(line for line in rest if line):
        if number == MOST_LAYERS:
            raise Misfit(f"has more than {MOST_LAYERS:,} layers")
        lines.append(_Place(number, line).read())
    layers, values = map(int, counts.split())
    found = len(lines), sum(len(line.outputs) for line in lines)
    if (layers, values) != found:
        raise Misfit(f"says that it has {layers} layers and {values} values, and has {found[0]} and {found[1]}")
    return lines


@dataclass(frozen=True)
class _Place:
    """A line of the text, by its layer's number."""

    number: int
    line: str

    def read(self) -> _Line:
        words = self.line.split()
        kind = KINDS.get(words[0])
        if kind is None and words[0] != "Input":
            raise Misfit(f"has a layer of the kind {words[0][:40]}, which is not known here")
        if len(words) < 4 or not all(re.fullmatch(r"\d{1,2}", word) for word in words[2:4]):
            raise self.misfit("does not say how many values it reads and gives")
        reads, gives = int(words[2]), int(words[3])
        names, options = words[4 : 4 + reads + gives], words[4 + reads + gives :]
        if len(names) < reads + gives or not all(_WORD.fullmatch(name) for name in (*names, *words[1:2])):
            raise self.misfit("does not name the values that it reads and gives")
        least, most = kind.inputs if kind else (0, 0)
        if not least <= reads <= most or not 1 <= gives <= (kind.most_outputs if kind else 1):
            raise self.misfit(f"reads {reads} values and gives {gives}")
        numbers: dict[int, float] = {}
        arrays: dict[int, tuple[float, ...]] = {}
        for option in options:
            self._option(option, kind, numbers, arrays)
        return _Line(words[0], tuple(names[:reads]), tuple(names[reads:]), numbers, arrays)

    def _option(
        self, option: str, kind: Kind | None, numbers: dict[int, float], arrays: dict[int, tuple[float, ...]]
    ) -> None:
        name, _, value = option.partition("=")
        if not _WHOLE.fullmatch(name):
            raise self.misfit(f"has the option {option[:40]}")
        key = _ARRAY - int(name) if int(name) <= _ARRAY else int(name)
        known = Number(0, 16384, whole=True) if kind is None else kind.options.get(key)
        if known is None or known.array != (int(name) <= _ARRAY) or key in numbers or key in arrays:
            raise self.misfit(f"has the option {option[:40]}, which is not known here")
        if not known.array:
            numbers[key] = self._number(value, known, option)
            return
        count, *values = value.split(",")
        if not re.fullmatch(r"\d{1,2}", count) or len(values) != int(count):
            raise self.misfit(f"has the option {option[:40]}")
        arrays[key] = tuple(self._number(each, known, option) for each in values)

    def _number(self, text: str, known: Number, option: str) -> float:
        form = _WHOLE if known.whole else _NUMBER
        value = float(text) if form.fullmatch(text) else math.nan
        if not known.least <= value <= known.most:
            what = "a whole number" if known.whole else "a number"
            raise self.misfit(f"has the option {option[:40]}, and it is {what} of {known.least:g} to {known.most:g}")
        return value

    def misfit(self, clause: str) -> Misfit:
        return Misfit(f"has a layer, number {self.number + 1} ({' '.join(self.line.split()[:2])[:40]}), that {clause}")


def _fits(lines: Sequence[_Line], channels: int, side: int) -> list[Weights]:
    """Follows a picture through the graph; the weights in their order. Raises ``Misfit``."""
    shapes: dict[str, Shape] = {}
    given: set[str] = set()
    weights: list[Weights] = []
    if sum(line.kind == "Input" for line in lines) != 1:
        raise Misfit("does not have one input")
    for number, line in enumerate(lines):
        place = f"has a layer, number {number + 1} ({line.kind}), that"
        if missing := [name for name in line.inputs if name not in shapes]:
            raise Misfit(f"{place} reads {missing[0][:40]}, which no other gives, or gave to another already")
        reads = [shapes.pop(name) for name in line.inputs]
        try:
            results, needed = _result(line, reads, (channels, side, side))
        except Misfit as reason:
            raise Misfit(f"{place} {reason}") from reason
        if too_large := [shape for shape in results if math.prod(shape) > MOST_VALUES * max(side, LEAST_SIDE) ** 2]:
            raise Misfit(f"{place} makes {math.prod(too_large[0]):,} values of a picture of {side}x{side} pixels")
        for name in line.outputs:
            if name in given:
                raise Misfit(f"{place} gives {name[:40]}, which there is already")
            given.add(name)
        shapes.update(zip(line.outputs, results, strict=True))
        weights += needed
    if len(shapes) != 1 or len(next(iter(shapes.values()))) != 3:
        raise Misfit(f"gives {len(shapes)} results, and a picture is one of rows and columns")
    return weights


def _result(line: _Line, reads: Sequence[Shape], picture: Shape) -> tuple[list[Shape], list[Weights]]:
    if line.kind == "Input":
        return [picture], []
    return KINDS[line.kind].rule(Given(line.numbers, line.arrays, reads, len(line.outputs)))


def _check_bytes(weights: Sequence[Weights], file: Path) -> None:
    """Raises ``Misfit`` unless the file holds these weights, all of them finite, and nothing else."""
    with file.open("rb") as opened:
        there = file.stat().st_size
        content = memoryview(numpy.fromfile(opened, dtype=numpy.uint8).tobytes() if there else b"")
    at = 0
    for at, count in _stored(weights, content):
        if at > there:
            raise Misfit(f"needs {at:,} bytes of weights or more, and {file.name} has {there:,}")
        if count:
            raise Misfit(f"has weights in {file.name} of which {count} are not finite numbers")
    if at != there:
        raise Misfit(f"needs {at:,} bytes of weights, and {file.name} has {there:,}")


def _stored(weights: Sequence[Weights], content: memoryview) -> Iterator[tuple[int, int]]:
    """For each of the weights where it ends, and how many of its numbers are not finite."""
    at = 0
    for each in weights:
        kind = _TYPES[0]
        if each.tagged:
            tag = int.from_bytes(content[at : at + 4], "little")
            at += 4
            if tag not in _TYPES:
                raise Misfit(f"has weights of the type {tag:#x}, which is not known here")
            kind = _TYPES[tag]
        end = at + each.count * kind.itemsize
        broken = 0
        if end <= len(content):
            finite = numpy.isfinite(numpy.frombuffer(content[at:end], dtype=kind))
            broken = each.count - int(numpy.count_nonzero(finite))
        at = end + -end % 4
        yield at, broken
