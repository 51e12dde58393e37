# SPDX-License-Identifier: Apache-2.0
"""The one-node networks whose cost is measured for a table.

Every output is an 8-bit code whatever the input, so that widths which share a kernel give the same
emitted text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .graph import Graph, Node
from .measured_shapes import CONVOLUTIONS, DEPTHWISE, LINEARS, POOLS, SHAPES, Sizes
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


def _label(shape: Sizes) -> str:
    return "x".join(str(size) for size in shape)


def _bind(
    make: Callable[..., Graph], shape: Sizes, *more: int
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


def _conv(type_: IntType, bits: int, shape: Sizes) -> Graph:
    height, width, channels, outputs, kernel, stride, pad, groups = shape
    weights = _weights((outputs, kernel, kernel, channels // groups), bits)
    op = Conv2d(
        weights, _weighted(weights, type_), OUT, _window(kernel, stride, pad), groups=groups
    )
    return _single(type_, (height, width, channels), op)


def _depthwise(type_: IntType, bits: int, shape: Sizes) -> Graph:
    height, width, channels, kernel, stride, pad = shape
    window = _window(kernel, stride, pad)
    weights = _weights((channels, *window.kernel, 1), bits)
    op = DepthwiseConv2d(weights, _weighted(weights, type_), OUT, window)
    return _single(type_, (height, width, channels), op)


def _linear(type_: IntType, bits: int, shape: tuple[int, ...]) -> Graph:
    inputs, outputs = shape
    weights = _weights((outputs, inputs), bits)
    return _single(type_, (inputs,), Linear(weights, _weighted(weights, type_), OUT))


def _maxpool(type_: IntType, bits: int, shape: Sizes) -> Graph:
    return _single(type_, shape[:3], MaxPool2d(_window(*shape[3:])))


def _avgpool(type_: IntType, bits: int, shape: Sizes) -> Graph:
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
