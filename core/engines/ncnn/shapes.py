"""The kinds of ncnn layers that networks for pictures are made of: their options, weights, and the shapes they give.

By ncnn's own table of operations and weights (https://github.com/Tencent/ncnn/wiki/operation-param-weight-table). ncnn
itself believes what a file says, and reads memory that is not there where it does not fit together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]
"""Channels, rows, columns; or one number for a vector."""

LARGEST = 3.5e38
REST = -233
"""ncnn's sign for the end of an axis, and for an equal share of it."""


class Misfit(ValueError):
    """The numbers of a layer do not fit each other, or what comes before. The message is a clause."""


@dataclass(frozen=True)
class Weights:
    """``count`` numbers; ``tagged``: with their type before them."""

    count: int
    tagged: bool = False


@dataclass(frozen=True)
class Number:
    """Range of an option. ``array``: of each of several."""

    least: float = -LARGEST
    most: float = LARGEST
    whole: bool = False
    array: bool = False


@dataclass(frozen=True)
class Given:
    """A layer's options and the shapes that it reads."""

    numbers: Mapping[int, float]
    arrays: Mapping[int, tuple[float, ...]]
    inputs: Sequence[Shape]
    outputs: int

    def whole(self, key: int, default: int = 0) -> int:
        return int(self.numbers.get(key, default))

    def need(self, key: int) -> int:
        if key not in self.numbers:
            raise Misfit(f"has no option {key}")
        return int(self.numbers[key])

    @property
    def picture(self) -> tuple[int, int, int]:
        """The only input. Raises ``Misfit`` unless it has rows and columns."""
        shape = self.inputs[0]
        if len(shape) != 3:
            raise Misfit(f"reads {len(shape)} dimensions, and a picture has 3")
        return shape[0], shape[1], shape[2]


Result = tuple[list[Shape], list[Weights]]


@dataclass(frozen=True)
class Kind:
    """``inputs``: how many, from and to."""

    rule: Callable[[Given], Result]
    options: Mapping[int, Number]
    inputs: tuple[int, int] = (1, 1)
    most_outputs: int = 1


def _whole(least: int, most: int) -> Number:
    return Number(least, most, whole=True)


_NONE, _SWITCH, _REAL = _whole(0, 0), _whole(0, 1), Number()
_CHANNELS, _KERNEL, _STEP, _STRIDE, _PAD = _whole(1, 16384), _whole(1, 63), _whole(1, 64), _whole(1, 8), _whole(0, 512)
_COUNT, _FACTOR = _whole(1, 1 << 28), _whole(1, 16)
_WINDOW = {1: _KERNEL, 11: _KERNEL, 4: _PAD, 14: _PAD, 15: _PAD, 16: _PAD, 2: _STEP, 12: _STEP, 3: _STRIDE, 13: _STRIDE}
_ACTIVATION = {9: _whole(0, 6), 10: Number(array=True)}
_ACTIVATION_NUMBERS = {2: 1, 3: 2, 6: 2}


def _check_activation(given: Given) -> None:
    kind, count = given.whole(9), len(given.arrays.get(10, ()))
    if count < _ACTIVATION_NUMBERS.get(kind, 0):
        raise Misfit(f"has {count} numbers for its activation {kind}")


def _pointwise(given: Given) -> Result:
    return [given.inputs[0]], []


def _split(given: Given) -> Result:
    return [given.inputs[0]] * given.outputs, []


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


def _convolution(given: Given) -> Result:
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


def _deconvolution(given: Given) -> Result:
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


def _inner_product(given: Given) -> Result:
    _check_activation(given)
    out, count = given.need(0), given.need(2)
    if count != out * math.prod(given.inputs[0]):
        raise Misfit(f"has {count:,} weights where its sizes make {out * math.prod(given.inputs[0]):,}")
    return [(out,)], [Weights(count, tagged=True)] + [Weights(out)] * given.whole(1)


def _for_each_channel(key: int, times: int, *, one: bool = False) -> Callable[[Given], Result]:
    """Layers with ``times`` numbers for each channel, or one for all of them."""

    def rule(given: Given) -> Result:
        count, channels = given.need(key), given.inputs[0][0]
        if count != channels and not (one and count == 1):
            raise Misfit(f"has numbers for {count:,} channels and reads {channels:,}")
        return [given.inputs[0]], [Weights(count)] * times

    return rule


def _scale(given: Given) -> Result:
    return _for_each_channel(0, 1 + given.whole(1))(given)


def _instance_norm(given: Given) -> Result:
    return _for_each_channel(0, 2 * given.whole(2, 1))(given)


def _concat(given: Given) -> Result:
    first, axis = given.inputs[0], given.whole(0)
    axis += len(first) if axis < 0 else 0
    rest = {(len(shape), *shape[:axis], *shape[axis + 1 :]) for shape in given.inputs}
    if not 0 <= axis < len(first) or len(rest) != 1:
        raise Misfit(f"joins {' and '.join(map(_text, given.inputs))} along axis {axis}")
    joined = list(first)
    joined[axis] = sum(shape[axis] for shape in given.inputs)
    return [tuple(joined)], []


def _slice(given: Given) -> Result:
    shape, axis, parts = given.inputs[0], given.whole(1), [int(part) for part in given.arrays.get(0, ())]
    axis += len(shape) if axis < 0 else 0
    if not 0 <= axis < len(shape) or len(parts) != given.outputs:
        raise Misfit(f"cuts {_text(shape)} into {len(parts)} parts along axis {axis}")
    results: list[Shape] = []
    left = shape[axis]
    for number, part in enumerate(parts):
        length = left // (len(parts) - number) if part == REST else part
        left -= length
        if length < 1 or left < 0:
            raise Misfit(f"cuts more than the {shape[axis]} that are there")
        results.append((*shape[:axis], length, *shape[axis + 1 :]))
    return results, []


def _eltwise(given: Given) -> Result:
    if len(set(given.inputs)) != 1:
        raise Misfit(f"joins {' and '.join(map(_text, given.inputs))}")
    if len(given.arrays.get(1, ())) not in (0, len(given.inputs)):
        raise Misfit(f"has {len(given.arrays[1])} factors for {len(given.inputs)} values")
    return [given.inputs[0]], []


def _binary(given: Given) -> Result:
    if len(given.inputs) != (1 if given.whole(1) else 2):
        raise Misfit(f"reads {len(given.inputs)} values")
    if len(given.inputs) == 1:
        return [given.inputs[0]], []
    first, second = ((*shape, *[1] * (3 - len(shape))) for shape in given.inputs)
    if any(a != b and 1 not in (a, b) for a, b in zip(first, second, strict=True)):
        raise Misfit(f"joins {_text(given.inputs[0])} and {_text(given.inputs[1])}")
    longest = max(len(shape) for shape in given.inputs)
    return [tuple(max(pair) for pair in zip(first, second, strict=True))[:longest]], []


def _pixel_shuffle(given: Given) -> Result:
    channels, rows, columns = given.picture
    factor = given.whole(0, 1)
    if channels % factor**2:
        raise Misfit(f"magnifies {channels} channels {factor} times")
    return [(channels // factor**2, rows * factor, columns * factor)], []


def _reorg(given: Given) -> Result:
    channels, rows, columns = given.picture
    factor = given.whole(0, 1)
    return [_filled(channels * factor**2, rows // factor, columns // factor)], []


def _shuffle_channels(given: Given) -> Result:
    if given.picture[0] % given.whole(0, 1):
        raise Misfit(f"mixes {given.picture[0]} channels in {given.whole(0, 1)} groups")
    return [given.inputs[0]], []


def _interp(given: Given) -> Result:
    channels, rows, columns = given.picture
    down, across = given.numbers.get(1, 1.0), given.numbers.get(2, 1.0)
    return [_filled(channels, int(rows * down), int(columns * across))], []


def _padding(given: Given) -> Result:
    channels, rows, columns = given.picture
    top, bottom, left, right = (given.whole(key) for key in range(4))
    if given.whole(4) == 2 and (max(top, bottom) >= rows or max(left, right) >= columns):
        raise Misfit(f"reflects more than the {columns}x{rows} pixels that are there")
    return [(channels, rows + top + bottom, columns + left + right)], []


def _pooling(given: Given) -> Result:
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


def _crop(given: Given) -> Result:
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


def _reshape(given: Given) -> Result:
    before = given.inputs[0]
    wanted = [given.whole(key) for key in (2, 1, 0) if key in given.numbers]
    if not wanted or wanted.count(-1) > 1:
        raise Misfit("has no shape")
    if any(side == 0 for side in wanted):
        if len(wanted) != len(before):
            raise Misfit(f"takes sides of {_text(before)} that are not there")
        wanted = [old if side == 0 else side for side, old in zip(wanted, before, strict=True)]
    known, total = math.prod(side for side in wanted if side > 0), math.prod(before)
    wanted = [total // known if side == -1 else side for side in wanted]
    if min(wanted) < 1 or math.prod(wanted) != total:
        raise Misfit(f"makes {_text(tuple(wanted))} of {_text(before)}")
    return [tuple(wanted)], []


def _memory(given: Given) -> Result:
    sides = [given.whole(key) for key in (2, 1, 0)]
    shape = tuple(side for side in sides if side)
    if not shape or (len(shape) != 3 and sides[: 3 - len(shape)] != [0] * (3 - len(shape))):
        raise Misfit("has no shape")
    return [shape], [Weights(math.prod(shape), tagged=not given.whole(21, 1))]


def _filled(*shape: int) -> Shape:
    if min(shape) < 1:
        raise Misfit("gives no pixels")
    return shape


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


_CONVOLUTION = {**_WINDOW, **_ACTIVATION, 0: _CHANNELS, 5: _SWITCH, 6: _COUNT, 8: _NONE, 18: _REAL, 19: _NONE}
_DECONVOLUTION = {**_CONVOLUTION, 18: _PAD, 19: _PAD, 20: _NONE, 21: _NONE, 28: _NONE}
_GROUPS = {7: _CHANNELS}
_SIDE, _OFFSET = _whole(0, 16384), _whole(-16384, 16384)

KINDS: Mapping[str, Kind] = {
    "Split": Kind(_split, {}, most_outputs=64),
    "Convolution": Kind(_convolution, _CONVOLUTION),
    "ConvolutionDepthWise": Kind(_convolution, {**_CONVOLUTION, **_GROUPS}),
    "Deconvolution": Kind(_deconvolution, _DECONVOLUTION),
    "DeconvolutionDepthWise": Kind(_deconvolution, {**_DECONVOLUTION, **_GROUPS}),
    "InnerProduct": Kind(_inner_product, {0: _CHANNELS, 1: _SWITCH, 2: _COUNT, 8: _NONE, **_ACTIVATION}),
    "PReLU": Kind(_for_each_channel(0, 1, one=True), {0: _CHANNELS}),
    "Scale": Kind(_scale, {0: _CHANNELS, 1: _SWITCH}),
    "BatchNorm": Kind(_for_each_channel(0, 4), {0: _CHANNELS, 1: _REAL}),
    "InstanceNorm": Kind(_instance_norm, {0: _CHANNELS, 1: _REAL, 2: _SWITCH}),
    **{name: Kind(_pointwise, {}) for name in ("Sigmoid", "Swish", "TanH", "Mish", "AbsVal", "Noop", "Softplus")},
    **{name: Kind(_pointwise, {0: _REAL}) for name in ("ReLU", "ELU", "Dropout")},
    **{name: Kind(_pointwise, {0: _REAL, 1: _REAL}) for name in ("Clip", "HardSigmoid", "HardSwish", "SELU")},
    "GELU": Kind(_pointwise, {0: _SWITCH}),
    "UnaryOp": Kind(_pointwise, {0: _whole(0, 19)}),
    "BinaryOp": Kind(_binary, {0: _whole(0, 12), 1: _SWITCH, 2: _REAL}, inputs=(1, 2)),
    "Eltwise": Kind(_eltwise, {0: _whole(0, 2), 1: Number(array=True)}, inputs=(2, 64)),
    "Concat": Kind(_concat, {0: _whole(-3, 2)}, inputs=(1, 64)),
    "Slice": Kind(_slice, {0: Number(REST, 16384, True, True), 1: _whole(-3, 2)}, most_outputs=64),
    "Crop": Kind(
        _crop,
        {**dict.fromkeys(range(9), _OFFSET), **dict.fromkeys((9, 10), Number(-16384, 16384, True, True)),
         11: Number(-3, 2, True, True), 13: _NONE, 14: _NONE, 15: _NONE},
        inputs=(1, 2),
    ),  # fmt: skip
    "PixelShuffle": Kind(_pixel_shuffle, {0: _FACTOR, 1: _SWITCH}),
    "Reorg": Kind(_reorg, {0: _FACTOR, 1: _SWITCH}),
    "ShuffleChannel": Kind(_shuffle_channels, {0: _CHANNELS, 1: _SWITCH}),
    "Interp": Kind(
        _interp,
        {0: _whole(1, 3), **dict.fromkeys((1, 2), Number(1 / 64, 16)), **dict.fromkeys((3, 4, 5), _NONE), 6: _SWITCH},
    ),
    "Padding": Kind(
        _padding, {**dict.fromkeys(range(4), _PAD), 4: _whole(0, 2), 5: _REAL, 6: _NONE, 7: _NONE, 8: _NONE}
    ),
    "Pooling": Kind(
        _pooling,
        {0: _SWITCH, 1: _KERNEL, 11: _KERNEL, 2: _STRIDE, 12: _STRIDE, **dict.fromkeys((3, 13, 14, 15), _PAD),
         4: _SWITCH, 5: _SWITCH, 6: _SWITCH, 7: _NONE},
    ),  # fmt: skip
    "Reshape": Kind(_reshape, dict.fromkeys((0, 1, 2), _whole(-1, 1 << 24))),
    "MemoryData": Kind(_memory, {0: _SIDE, 1: _SIDE, 2: _SIDE, 11: _NONE, 21: _SWITCH}, inputs=(0, 0)),
}  # fmt: skip
