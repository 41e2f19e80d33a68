"""Rules of the ncnn layers that cut and join along an axis, or see the same numbers in another shape."""

from __future__ import annotations

import math

from .layer import REST, Given, Misfit, Result, Shape, sides_text


def concat(given: Given) -> Result:
    first, axis = given.inputs[0], given.whole(0)
    axis += len(first) if axis < 0 else 0
    rest = {(len(shape), *shape[:axis], *shape[axis + 1 :]) for shape in given.inputs}
    if not 0 <= axis < len(first) or len(rest) != 1:
        raise Misfit(f"joins {' and '.join(map(sides_text, given.inputs))} along axis {axis}")
    joined = list(first)
    joined[axis] = sum(shape[axis] for shape in given.inputs)
    return [tuple(joined)], []


def slice_axis(given: Given) -> Result:
    shape, axis, parts = given.inputs[0], given.whole(1), [int(part) for part in given.arrays.get(0, ())]
    axis += len(shape) if axis < 0 else 0
    if not 0 <= axis < len(shape) or len(parts) != given.outputs:
        raise Misfit(f"cuts {sides_text(shape)} into {len(parts)} parts along axis {axis}")
    results: list[Shape] = []
    left = shape[axis]
    for number, part in enumerate(parts):
        length = left // (len(parts) - number) if part == REST else part
        left -= length
        if length < 1 or left < 0:
            raise Misfit(f"cuts more than the {shape[axis]} that are there")
        results.append((*shape[:axis], length, *shape[axis + 1 :]))
    return results, []


def crop(given: Given) -> Result:
    shape = list(given.inputs[0])
    starts, ends, axes = (tuple(int(each) for each in given.arrays.get(key, ())) for key in (9, 10, 11))
    if starts or ends:
        axes = axes or tuple(range(len(starts)))
        if not len(starts) == len(ends) == len(axes):
            raise Misfit(f"has {len(starts)} beginnings, {len(ends)} ends and {len(axes)} axes")
        for start, end, axis in zip(starts, ends, axes, strict=True):
            if not -len(shape) <= axis < len(shape):
                raise Misfit(f"cuts axis {axis} of {len(shape)}")
            shape[axis] = _part(shape[axis], start, shape[axis] if end == REST else end)
        return [tuple(shape)], []
    return [_cut_by_offsets(given)], []


def _cut_by_offsets(given: Given) -> Shape:
    """Columns, rows and channels have their options in this order."""
    shape = list(given.picture)
    for place, axis in enumerate((2, 1, 0)):
        start, length, after = given.whole(place), given.whole(3 + place), given.whole(6 + place)
        if len(given.inputs) == 2:
            if len(given.inputs[1]) != 3:
                raise Misfit("takes its size from a vector")
            end = start + given.inputs[1][axis] if axis else shape[axis]
        elif length and length != REST:
            end = start + length
        else:
            end = shape[axis] - after
        shape[axis] = _part(shape[axis], start, end)
    return tuple(shape)


def _part(length: int, start: int, end: int) -> int:
    start, end = (length + each if each < 0 else each for each in (start, end))
    if not 0 <= start < end <= length:
        raise Misfit(f"cuts {start} to {end} out of {length}")
    return end - start


def reshape(given: Given) -> Result:
    before = given.inputs[0]
    wanted = [given.whole(key) for key in (2, 1, 0) if key in given.numbers]
    if not wanted or wanted.count(-1) > 1:
        raise Misfit("has no shape")
    if any(side == 0 for side in wanted):
        if len(wanted) != len(before):
            raise Misfit(f"takes sides of {sides_text(before)} that are not there")
        wanted = [old if side == 0 else side for side, old in zip(wanted, before, strict=True)]
    known, total = math.prod(side for side in wanted if side > 0), math.prod(before)
    wanted = [total // known if side == -1 else side for side in wanted]
    if min(wanted) < 1 or math.prod(wanted) != total:
        raise Misfit(f"makes {sides_text(tuple(wanted))} of {sides_text(before)}")
    return [tuple(wanted)], []
