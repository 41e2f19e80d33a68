"""The kinds of ncnn layers that networks for pictures are made of: their options, weights, and the shapes they give.

By ncnn's own table of operations and weights (https://github.com/Tencent/ncnn/wiki/operation-param-weight-table). ncnn
itself believes what a file says, and reads memory that is not there where it does not fit together.
"""

from __future__ import annotations

from collections.abc import Mapping

from .cutting_layers import concat, crop, reshape, slice_axis
from .layer import REST, Kind, Number
from .pixel_layers import (
    binary,
    eltwise,
    interp,
    padding,
    pixel_shuffle,
    pointwise,
    pooling,
    reorg,
    shuffle_channels,
    split,
)
from .weighted_layers import (
    convolution,
    deconvolution,
    for_each_channel,
    inner_product,
    instance_norm,
    memory_data,
    scale,
)


def _whole(least: int, most: int) -> Number:
    return Number(least, most, whole=True)


_NONE, _SWITCH, _REAL = _whole(0, 0), _whole(0, 1), Number()
_CHANNELS, _KERNEL, _STEP, _STRIDE, _PAD = _whole(1, 16384), _whole(1, 63), _whole(1, 64), _whole(1, 8), _whole(0, 512)
_COUNT, _FACTOR = _whole(1, 1 << 28), _whole(1, 16)
_WINDOW = {1: _KERNEL, 11: _KERNEL, 4: _PAD, 14: _PAD, 15: _PAD, 16: _PAD, 2: _STEP, 12: _STEP, 3: _STRIDE, 13: _STRIDE}
_ACTIVATION = {9: _whole(0, 6), 10: Number(array=True)}
_CONVOLUTION = {**_WINDOW, **_ACTIVATION, 0: _CHANNELS, 5: _SWITCH, 6: _COUNT, 8: _NONE, 18: _REAL, 19: _NONE}
_DECONVOLUTION = {**_CONVOLUTION, 18: _PAD, 19: _PAD, 20: _NONE, 21: _NONE, 28: _NONE}
_GROUPS = {7: _CHANNELS}
_SIDE, _OFFSET = _whole(0, 16384), _whole(-16384, 16384)
KINDS: Mapping[str, Kind] = {
    "Split": Kind(split, {}, most_outputs=64),
    "Convolution": Kind(convolution, _CONVOLUTION),
    "ConvolutionDepthWise": Kind(convolution, {**_CONVOLUTION, **_GROUPS}),
    "Deconvolution": Kind(deconvolution, _DECONVOLUTION),
    "DeconvolutionDepthWise": Kind(deconvolution, {**_DECONVOLUTION, **_GROUPS}),
    "InnerProduct": Kind(inner_product, {0: _CHANNELS, 1: _SWITCH, 2: _COUNT, 8: _NONE, **_ACTIVATION}),
    "PReLU": Kind(for_each_channel(0, 1, one=True), {0: _CHANNELS}),
    "Scale": Kind(scale, {0: _CHANNELS, 1: _SWITCH}),
    "BatchNorm": Kind(for_each_channel(0, 4), {0: _CHANNELS, 1: _REAL}),
    "InstanceNorm": Kind(instance_norm, {0: _CHANNELS, 1: _REAL, 2: _SWITCH}),
    **{name: Kind(pointwise, {}) for name in ("Sigmoid", "Swish", "TanH", "Mish", "AbsVal", "Noop", "Softplus")},
    **{name: Kind(pointwise, {0: _REAL}) for name in ("ReLU", "ELU", "Dropout")},
    **{name: Kind(pointwise, {0: _REAL, 1: _REAL}) for name in ("Clip", "HardSigmoid", "HardSwish", "SELU")},
    "GELU": Kind(pointwise, {0: _SWITCH}),
    "UnaryOp": Kind(pointwise, {0: _whole(0, 19)}),
    "BinaryOp": Kind(binary, {0: _whole(0, 12), 1: _SWITCH, 2: _REAL}, inputs=(1, 2)),
    "Eltwise": Kind(eltwise, {0: _whole(0, 2), 1: Number(array=True)}, inputs=(2, 64)),
    "Concat": Kind(concat, {0: _whole(-3, 2)}, inputs=(1, 64)),
    "Slice": Kind(slice_axis, {0: Number(REST, 16384, True, True), 1: _whole(-3, 2)}, most_outputs=64),
    "Crop": Kind(
        crop,
        {**dict.fromkeys(range(9), _OFFSET), **dict.fromkeys((9, 10), Number(-16384, 16384, True, True)),
         11: Number(-3, 2, True, True), 13: _NONE, 14: _NONE, 15: _NONE},
        inputs=(1, 2),
    ),  # fmt: skip
    "PixelShuffle": Kind(pixel_shuffle, {0: _FACTOR, 1: _SWITCH}),
    "Reorg": Kind(reorg, {0: _FACTOR, 1: _SWITCH}),
    "ShuffleChannel": Kind(shuffle_channels, {0: _CHANNELS, 1: _SWITCH}),
    "Interp": Kind(
        interp,
        {0: _whole(1, 3), **dict.fromkeys((1, 2), Number(1 / 64, 16)), **dict.fromkeys((3, 4, 5), _NONE), 6: _SWITCH},
    ),
    "Padding": Kind(
        padding, {**dict.fromkeys(range(4), _PAD), 4: _whole(0, 2), 5: _REAL, 6: _NONE, 7: _NONE, 8: _NONE}
    ),
    "Pooling": Kind(
        pooling,
        {0: _SWITCH, 1: _KERNEL, 11: _KERNEL, 2: _STRIDE, 12: _STRIDE, **dict.fromkeys((3, 13, 14, 15), _PAD),
         4: _SWITCH, 5: _SWITCH, 6: _SWITCH, 7: _NONE},
    ),  # fmt: skip
    "Reshape": Kind(reshape, dict.fromkeys((0, 1, 2), _whole(-1, 1 << 24))),
    "MemoryData": Kind(memory_data, {0: _SIDE, 1: _SIDE, 2: _SIDE, 11: _NONE, 21: _SWITCH}, inputs=(0, 0)),
}  # fmt: skip
