# SPDX-License-Identifier: Apache-2.0
"""The one-node networks whose cost is measured for a table.

Shapes cover what small networks use: few and many channels, borders, strides, one tap and many,
row lengths that fill the packing groups and that do not. Every output is an 8-bit code whatever
the input, so that widths which share a kernel give the same emitted text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .graph import Graph, Node
from .ops.add import Add
from .ops.base import Op, Window
from .ops.concat import Concat
from .ops.conv2d import Conv2d
from .ops.depthwise_conv2d import DepthwiseConv2d
from .ops.linear import Linear
from .ops.pool2d import AvgPool2d, MaxPool2d
from .ops.requantize import Requantize
from .ops.source import Input
from .ops.weighted import Weights, accumulator_bounds
from .requant import Requant, snap, snap_add
from .types import IntType

OUT = IntType(8, False)
_WIDEST = 8
MEASURED = "measured"
CHAINS = (2, 12)
"""Lengths of the chains that size the code around nodes."""


@dataclass(frozen=True)
class Case:
    """One network to measure: the node called "measured" of ``build(input type, weight bits)``.

    kind: the row of the table it belongs to, see `counted_as`.
    """

    kind: str
    label: str
    build: Callable[[IntType, int], Graph]


# height, width, channels, outputs, kernel, stride, padding, groups
CONVOLUTIONS = (
    (12, 12, 3, 16, 3, 1, 1, 1),
    (16, 16, 1, 8, 5, 1, 2, 1),
    (8, 8, 8, 24, 3, 1, 1, 1),
    (8, 8, 16, 16, 3, 1, 1, 1),
    (8, 8, 16, 32, 3, 2, 1, 1),
    (6, 6, 32, 16, 3, 1, 1, 1),
    (4, 4, 64, 64, 3, 1, 1, 1),
    (8, 8, 4, 8, 5, 1, 2, 1),
    (10, 10, 6, 12, 3, 1, 0, 1),
    (8, 8, 16, 16, 3, 1, 1, 4),
    (8, 8, 12, 16, 1, 1, 0, 1),
    (8, 8, 16, 16, 1, 1, 0, 1),
    (6, 6, 32, 32, 1, 1, 0, 1),
    (8, 8, 8, 24, 1, 1, 0, 1),
    (6, 6, 8, 16, 1, 1, 0, 1),
    (10, 10, 3, 8, 1, 1, 0, 1),
    (8, 8, 16, 32, 1, 2, 0, 1),
    (5, 5, 64, 48, 1, 1, 0, 1),
    (9, 9, 3, 8, 3, 2, 1, 1),
    (7, 7, 24, 20, 3, 1, 1, 1),
    (5, 5, 16, 32, 3, 1, 1, 1),
    (7, 7, 48, 24, 1, 1, 0, 1),
    (14, 14, 2, 10, 3, 1, 1, 1),
    (9, 9, 4, 16, 3, 1, 0, 1),
    (12, 9, 1, 16, 5, 2, 2, 1),
    (6, 6, 32, 6, 5, 1, 2, 1),
    (6, 6, 8, 32, 1, 2, 0, 1),
    (9, 9, 24, 24, 1, 2, 0, 1),
    (4, 4, 128, 16, 1, 1, 0, 1),
    (4, 4, 16, 64, 1, 1, 0, 1),
    (24, 24, 3, 8, 3, 2, 1, 1),
    (11, 5, 1, 32, 7, 1, 3, 1),
    (6, 6, 4, 32, 1, 1, 0, 1),
    (9, 9, 5, 8, 3, 1, 1, 1),
    (12, 12, 2, 8, 3, 2, 0, 1),
    (3, 3, 16, 10, 3, 1, 0, 1),
    (12, 12, 1, 8, 3, 1, 1, 1),
    (28, 28, 1, 6, 3, 1, 0, 1),
    (16, 16, 1, 16, 3, 2, 1, 1),
    (9, 11, 1, 12, 3, 1, 1, 1),
    (20, 15, 1, 4, 3, 2, 0, 1),
)
# height, width, channels, kernel, stride, padding
DEPTHWISE = (
    (8, 8, 16, 3, 1, 1),
    (8, 8, 8, 3, 2, 1),
    (6, 6, 32, 3, 1, 1),
    (4, 4, 64, 3, 1, 1),
    (16, 16, 3, 3, 1, 1),
    (25, 5, 16, 3, 1, 1),
    (10, 10, 8, 3, 1, 0),
    (6, 6, 16, 3, 1, 0),
    (9, 9, 12, 3, 2, 0),
    (8, 8, 6, 5, 1, 0),
    (12, 12, 4, 5, 1, 2),
    (7, 7, 8, 5, 2, 2),
    (5, 5, 24, 3, 2, 1),
    (24, 24, 4, 3, 2, 1),
    (2, 3, 264, 3, 1, 1),
    (12, 12, 16, 3, 2, 1),
    (16, 16, 5, 3, 2, 0),
    (3, 3, 32, 3, 1, 1),
    (6, 6, 24, 3, 2, 1),
    (5, 5, 16, 3, 1, 1),
    (7, 7, 16, 3, 1, 1),
    (12, 12, 8, 3, 1, 1),
    (24, 24, 4, 3, 1, 1),
    (11, 14, 6, 3, 1, 0),
    (10, 18, 6, 3, 2, 1),
    (8, 8, 8, 5, 1, 2),
    (12, 1, 8, (9, 1), 1, (4, 0, 4, 0)),
    (9, 9, 8, 7, 1, 3),
    (6, 6, 12, 4, 1, 1),
    (8, 8, 6, 1, 1, 0),
    (10, 10, 6, 5, 2, 2),
    (9, 9, 6, 2, 3, 0),
)
# inputs, outputs
LINEARS = (
    (64, 10),
    (32, 64),
    (30, 10),
    (128, 32),
    (256, 16),
    (100, 20),
    (784, 10),
    (512, 12),
    (8, 10),
    (6, 16),
)
# height, width, channels, kernel, stride, padding
POOLS = (
    (8, 8, 16, 2, 2, 0),
    (12, 12, 8, 2, 2, 0),
    (16, 16, 4, 2, 2, 0),
    (4, 4, 32, 2, 2, 0),
    (8, 8, 8, 3, 2, 1),
    (12, 12, 4, 3, 2, 1),
    (6, 6, 16, 3, 1, 1),
    (8, 8, 6, 2, 2, 1),
    (6, 6, 32, 3, 1, 0),
    (9, 9, 8, 3, 3, 0),
    (12, 12, 4, 4, 4, 0),
    (10, 10, 6, 5, 5, 0),
    (8, 8, 16, 8, 8, 0),
    (4, 4, 64, 4, 4, 0),
    (7, 7, 24, 7, 7, 0),
    (5, 5, 32, 5, 5, 0),
    (3, 3, 64, 3, 3, 0),
    (3, 3, 12, 3, 3, 0),
    (2, 2, 32, 2, 2, 0),
    (25, 5, 16, (25, 5), 1, 0),
    (6, 6, 128, 6, 6, 0),
    (12, 12, 16, 3, 1, 1),
    (8, 8, 24, 3, 2, 1),
    (16, 16, 8, 3, 3, 0),
    (8, 8, 32, 2, 1, 0),
    (6, 6, 20, 2, 2, 0),
    (14, 14, 4, 3, 2, 0),
    (8, 8, 12, 4, 4, 0),
    (12, 12, 16, 5, 1, 0),
    (10, 10, 9, 2, 2, 0),
    (5, 5, 13, 5, 5, 0),
    (9, 9, 8, 5, 1, 2),
    (8, 8, 4, 8, 8, 0),
    (4, 4, 4, 4, 4, 0),
    (8, 8, 3, 2, 2, 0),
    (7, 7, 2, 3, 2, 1),
    (6, 6, 3, 6, 6, 0),
)
SHAPES = ((8, 8, 16), (4, 4, 64), (16, 16, 4), (6, 6, 32), (4, 4, 8), (2, 2, 64), (1, 1, 32),
          (3, 3, 10), (7, 7, 12), (12, 12, 3))  # fmt: skip


def cases() -> list[Case]:
    """Every case, in a fixed order."""
    found = [Case("conv2d", _label(s), _bind(_conv, s)) for s in CONVOLUTIONS]
    found += [Case("depthwise_conv2d", _label(s), _bind(_depthwise, s)) for s in DEPTHWISE]
    found += [Case("linear", _label(s), _bind(_linear, s)) for s in LINEARS]
    found += [Case("maxpool2d", _label(s), _bind(_maxpool, s)) for s in POOLS]
    found += [Case("avgpool2d", _label(s), _bind(_avgpool, s)) for s in POOLS]
    found += [Case("add", _label(s), _bind(_add, s)) for s in SHAPES]
    found += [Case("requantize", _label(s), _bind(_requantize, s)) for s in SHAPES]
    for parts in (2, 3):
        found += [Case("concat", f"{_label(s)} x{parts}", _bind(_concat, s, parts)) for s in SHAPES]
    return found


def counted_as(case: Case, kernels: Sequence[str]) -> Case:
    """The case under the kind that these kernels count it as.

    A convolution over the whole image, for example, may have the code of a fully connected layer.
    """
    works = dict(case.build(OUT, _WIDEST).works(kernels))
    return replace(case, kind=works[MEASURED].kind)


def chain(length: int) -> Graph:
    """A network of ``length`` sums, calls of three arguments, to size the code around nodes."""
    nodes = [Node.make("x", Input((4, 4, 4), OUT, "NCHW"), (), scale=1.0, zero=0)]
    rule = snap_add((0.7, 0.6), [(OUT.lo, OUT.hi)] * 2, input_zeros=(0, 0), zero=0, lo=0, hi=OUT.hi)
    for index in range(length):
        pair = (nodes[-1], nodes[max(0, len(nodes) - 3)])
        nodes.append(Node.make(f"p{index}", Add(rule, OUT), pair))
    return Graph("chain", tuple(nodes), nodes[-1].name)


def has_weights(kind: str) -> bool:
    """Whether a kind's cost depends on a weight width."""
    return kind in ("conv2d", "depthwise_conv2d", "linear")


def _label(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)


def _bind(
    make: Callable[..., Graph], shape: tuple[int, ...], *more: int
) -> Callable[[IntType, int], Graph]:
    def build(type_: IntType, weight_bits: int) -> Graph:
        return make(type_, weight_bits, shape, *more)

    return build


def _input(shape: tuple[int, ...], type_: IntType) -> Node:
    return Node.make("input", Input(shape, type_, "NHWC" if len(shape) == 3 else "NC"), ())


def _graph(*nodes: Node) -> Graph:
    return Graph(MEASURED, nodes, nodes[-1].name)


def _single(type_: IntType, shape: tuple[int, ...], op: Op) -> Graph:
    source = _input(shape, type_)
    return _graph(source, Node.make(MEASURED, op, (source,)))


def _weights(shape: tuple[int, ...], bits: int) -> Weights:
    """Weights as training leaves them: the symmetric grid (binary at 1 bit), bell-shaped codes."""
    half = 1 << (bits - 1)
    drawn = np.floor(np.random.default_rng(bits).normal(half, half / 2.5, shape))
    # two weights of -128 side by side, rare in trained layers, cost extra on cores without DSP
    codes = np.clip(drawn, int(bits == 8), 2 * half - 1).astype(np.uint8)
    return Weights(codes, bits, 1, -half) if bits > 1 else Weights(codes, bits, 2, -1)


def _requant(low: NDArray[np.int64], high: NDArray[np.int64]) -> Requant:
    """A rectified output that uses its range: an eighth of the proven range spans all codes."""
    ratio = np.minimum(8.0 * OUT.hi / np.maximum(high - low, 1), 0.4)
    return snap(ratio, np.zeros(len(ratio)), low, high, zero=0, lo=0, hi=OUT.hi)


def _weighted(weights: Weights, type_: IntType) -> Requant:
    return _requant(*accumulator_bounds(weights.values, IntType(_WIDEST, type_.signed)))


def _window(
    kernel: int | tuple[int, int], stride: int, pad: int | tuple[int, int, int, int]
) -> Window:
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    around = (pad, pad, pad, pad) if isinstance(pad, int) else pad
    return Window(size, (stride, stride), (1, 1), around)


def _conv(type_: IntType, bits: int, shape: tuple[int, ...]) -> Graph:
    height, width, channels, outputs, kernel, stride, pad, groups = shape
    weights = _weights((outputs, kernel, kernel, channels // groups), bits)
    op = Conv2d(
        weights, _weighted(weights, type_), OUT, _window(kernel, stride, pad), groups=groups
    )
    return _single(type_, (height, width, channels), op)


def _depthwise(type_: IntType, bits: int, shape: tuple[int, ...]) -> Graph:
    height, width, channels, kernel, stride, pad = shape
    window = _window(kernel, stride, pad)
    weights = _weights((channels, *window.kernel, 1), bits)
    op = DepthwiseConv2d(weights, _weighted(weights, type_), OUT, window)
    return _single(type_, (height, width, channels), op)


def _linear(type_: IntType, bits: int, shape: tuple[int, ...]) -> Graph:
    inputs, outputs = shape
    weights = _weights((outputs, inputs), bits)
    return _single(type_, (inputs,), Linear(weights, _weighted(weights, type_), OUT))


def _maxpool(type_: IntType, bits: int, shape: tuple[int, ...]) -> Graph:
    return _single(type_, shape[:3], MaxPool2d(_window(*shape[3:])))


def _avgpool(type_: IntType, bits: int, shape: tuple[int, ...]) -> Graph:
    window = _window(*shape[3:])
    wide = IntType(_WIDEST, type_.signed)
    taps = window.kernel[0] * window.kernel[1]
    requant = _requant(np.array([taps * wide.lo]), np.array([taps * wide.hi]))
    return _single(type_, shape[:3], AvgPool2d(window, requant, OUT))


def _add(type_: IntType, bits: int, shape: tuple[int, ...]) -> Graph:
    wide = IntType(_WIDEST, type_.signed)
    source = _input(shape, type_)
    other = Node.make("other", _identity(shape, type_), (source,))
    rule = snap_add(
        (0.7, 0.6), [(wide.lo, wide.hi)] * 2, input_zeros=(0, 0), zero=0, lo=0, hi=OUT.hi
    )
    return _graph(source, other, Node.make(MEASURED, Add(rule, OUT), (source, other)))


def _identity(shape: tuple[int, ...], type_: IntType) -> Requantize:
    wide = IntType(_WIDEST, type_.signed)
    channels = shape[-1]
    low, high = np.full(channels, wide.lo), np.full(channels, wide.hi)
    ratio = np.full(channels, 0.4)
    rule = snap(ratio, np.zeros(channels), low, high, zero=0, lo=type_.lo, hi=type_.hi)
    return Requantize(rule, type_)


def _requantize(type_: IntType, bits: int, shape: tuple[int, ...]) -> Graph:
    wide = IntType(_WIDEST, type_.signed)
    low, high = np.full(shape[-1], wide.lo), np.full(shape[-1], wide.hi)
    ratio = np.linspace(0.3, 0.45, shape[-1])
    rule = snap(ratio, np.zeros(shape[-1]), low, high, zero=0, lo=0, hi=OUT.hi)
    return _single(type_, shape, Requantize(rule, OUT))


def _concat(type_: IntType, bits: int, shape: tuple[int, ...], parts: int) -> Graph:
    source = _input(shape, type_)
    others = [Node.make(f"other{i}", _identity(shape, type_), (source,)) for i in range(parts - 1)]
    return _graph(source, *others, Node.make(MEASURED, Concat(), (source, *others)))
