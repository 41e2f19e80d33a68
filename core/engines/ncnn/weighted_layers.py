"""Rules of the ncnn layers that have weights: the shapes they give, and how many numbers they read from the file."""

from __future__ import annotations

import math
from collections.abc import Callable

from .layer import Given, Misfit, Result, Weights

_ACTIVATION_NUMBERS = {2: 1, 3: 2, 6: 2}


def _check_activation(given: Given) -> None:
    kind, count = given.whole(9), len(given.arrays.get(10, ()))
    if count < _ACTIVATION_NUMBERS.get(kind, 0):
        raise Misfit(f"has {count} numbers for its activation {kind}")


def _window(given: Given) -> list[tuple[int, int, int]]:
    """Extent of the kernel, stride and padding: down, then across."""
    across, pad = given.need(1), given.whole(4)
    step, stride, top = given.whole(2, 1), given.whole(3, 1), given.whole(14, pad)
    tall = given.whole(12, step) * (given.whole(11, across) - 1) + 1
    return [
        (tall, given.whole(13, stride), top + given.whole(16, top)),
        (step * (across - 1) + 1, stride, pad + given.whole(15, pad)),
    ]


def _weights(given: Given, channels: int, groups: int) -> list[Weights]:
    out, count = given.need(0), given.need(6)
    if channels % groups or out % groups:
        raise Misfit(f"has {groups} groups for {channels} to {out} channels")
    expected = out * (channels // groups) * given.need(1) * given.whole(11, given.need(1))
    if count != expected:
        raise Misfit(f"has {count:,} weights where its sizes make {expected:,}")
    return [Weights(count, tagged=True)] + [Weights(out)] * given.whole(5)


def convolution(given: Given) -> Result:
    _check_activation(given)
    if len(given.inputs[0]) == 1:
        if any(extent > 1 for extent, _, _ in _window(given)):
            raise Misfit("reads a vector with a kernel of more than 1x1")
        return [(given.need(0),)], _weights(given, given.inputs[0][0], given.whole(7, 1))
    channels, *sides = given.picture
    found: list[int] = []
    for side, (extent, stride, padding) in zip(sides, _window(given), strict=True):
        if side + padding < extent:
            raise Misfit(f"has a kernel of {extent} pixels for {side + padding}")
        found.append((side + padding - extent) // stride + 1)
    return [(given.need(0), *found)], _weights(given, channels, given.whole(7, 1))


def deconvolution(given: Given) -> Result:
    _check_activation(given)
    channels, *sides = given.picture
    more = (given.whole(19, given.whole(18)), given.whole(18))
    found = [
        (side - 1) * stride + extent + extra - padding
        for side, (extent, stride, padding), extra in zip(sides, _window(given), more, strict=True)
    ]
    if min(found) < 1:
        raise Misfit("gives no pixels")
    return [(given.need(0), *found)], _weights(given, channels, given.whole(7, 1))


def inner_product(given: Given) -> Result:
    _check_activation(given)
    out, count = given.need(0), given.need(2)
    if count != out * math.prod(given.inputs[0]):
        raise Misfit(f"has {count:,} weights where its sizes make {out * math.prod(given.inputs[0]):,}")
    return [(out,)], [Weights(count, tagged=True)] + [Weights(out)] * given.whole(1)


def for_each_channel(key: int, times: int, *, one: bool = False) -> Callable[[Given], Result]:
    """Layers with ``times`` numbers for each channel, or one for all of them."""

    def rule(given: Given) -> Result:
        count, channels = given.need(key), given.inputs[0][0]
        if count != channels and not (one and count == 1):
            raise Misfit(f"has numbers for {count:,} channels and reads {channels:,}")
        return [given.inputs[0]], [Weights(count)] * times

    return rule


def scale(given: Given) -> Result:
    return for_each_channel(0, 1 + given.whole(1))(given)


def instance_norm(given: Given) -> Result:
    return for_each_channel(0, 2 * given.whole(2, 1))(given)


def memory_data(given: Given) -> Result:
    sides = [given.whole(key) for key in (2, 1, 0)]
    shape = tuple(side for side in sides if side)
    if not shape or (len(shape) != 3 and sides[: 3 - len(shape)] != [0] * (3 - len(shape))):
        raise Misfit("has no shape")
    return [shape], [Weights(math.prod(shape), tagged=not given.whole(21, 1))]
