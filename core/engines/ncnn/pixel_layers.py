"""Rules of the ncnn layers without weights that compute on pixels, or lay them out anew."""

from __future__ import annotations

import math

from .layer import Given, Misfit, Result, filled, sides_text


def pointwise(given: Given) -> Result:
    return [given.inputs[0]], []


def split(given: Given) -> Result:
    return [given.inputs[0]] * given.outputs, []


def eltwise(given: Given) -> Result:
    if len(set(given.inputs)) != 1:
        raise Misfit(f"joins {' and '.join(map(sides_text, given.inputs))}")
    if len(given.arrays.get(1, ())) not in (0, len(given.inputs)):
        raise Misfit(f"has {len(given.arrays[1])} factors for {len(given.inputs)} values")
    return [given.inputs[0]], []


def binary(given: Given) -> Result:
    if len(given.inputs) != (1 if given.whole(1) else 2):
        raise Misfit(f"reads {len(given.inputs)} values")
    if len(given.inputs) == 1:
        return [given.inputs[0]], []
    first, second = ((*shape, *[1] * (3 - len(shape))) for shape in given.inputs)
    if any(a != b and 1 not in (a, b) for a, b in zip(first, second, strict=True)):
        raise Misfit(f"joins {sides_text(given.inputs[0])} and {sides_text(given.inputs[1])}")
    longest = max(len(shape) for shape in given.inputs)
    return [tuple(max(pair) for pair in zip(first, second, strict=True))[:longest]], []


def pixel_shuffle(given: Given) -> Result:
    channels, rows, columns = given.picture
    factor = given.whole(0, 1)
    if channels % factor**2:
        raise Misfit(f"magnifies {channels} channels {factor} times")
    return [(channels // factor**2, rows * factor, columns * factor)], []


def reorg(given: Given) -> Result:
    channels, rows, columns = given.picture
    factor = given.whole(0, 1)
    return [filled(channels * factor**2, rows // factor, columns // factor)], []


def shuffle_channels(given: Given) -> Result:
    if given.picture[0] % given.whole(0, 1):
        raise Misfit(f"mixes {given.picture[0]} channels in {given.whole(0, 1)} groups")
    return [given.inputs[0]], []


def interp(given: Given) -> Result:
    channels, rows, columns = given.picture
    down, across = given.numbers.get(1, 1.0), given.numbers.get(2, 1.0)
    return [filled(channels, int(rows * down), int(columns * across))], []


def padding(given: Given) -> Result:
    channels, rows, columns = given.picture
    top, bottom, left, right = (given.whole(key) for key in range(4))
    if given.whole(4) == 2 and (max(top, bottom) >= rows or max(left, right) >= columns):
        raise Misfit(f"reflects more than the {columns}x{rows} pixels that are there")
    return [(channels, rows + top + bottom, columns + left + right)], []


def pooling(given: Given) -> Result:
    channels, *sides = given.picture
    if given.whole(4):
        return [(channels,)], []
    across, stride, left = given.need(1), given.whole(2, 1), given.whole(3)
    top = given.whole(13, left)
    windows = [
        (given.whole(11, across), given.whole(12, stride), top + given.whole(15, top)),
        (across, stride, left + given.whole(14, left)),
    ]
    found: list[int] = []
    for side, (kernel, step, padding) in zip(sides, windows, strict=True):
        if side + padding < kernel or padding >= 2 * kernel:
            raise Misfit(f"has a window of {kernel} pixels for {side + padding}")
        steps = (side + padding - kernel) / step
        found.append(int(steps if given.whole(5) else math.ceil(steps)) + 1)
    return [(channels, *found)], []
