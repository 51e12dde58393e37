# SPDX-License-Identifier: Apache-2.0
"""Random integer nodes and networks for tests, with outputs that use their range."""

from __future__ import annotations

import numpy as np

from adaqat.deploy import Graph, IntType, Node, check
from adaqat.deploy.ops.add import Add
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.depthwise_conv2d import DepthwiseConv2d
from adaqat.deploy.ops.linear import Linear
from adaqat.deploy.ops.pool2d import AvgPool2d, MaxPool2d
from adaqat.deploy.ops.requantize import Requantize
from adaqat.deploy.ops.source import Input, Reshape
from adaqat.deploy.ops.weighted import Weights, accumulator_bounds
from adaqat.deploy.requant import Requant, snap, snap_add


class Maker:
    """Makes nodes from one random stream; ``extreme`` weights are only the two end codes."""

    def __init__(self, seed: int, weight_bits: int, *, extreme: bool = False, zero: int = 0):
        self.rng = np.random.default_rng(seed)
        self.bits = weight_bits
        self.extreme = extreme
        self.zero = zero
        self.count = 0

    def weights(self, shape: tuple[int, ...]) -> Weights:
        """Symmetric and zero-free grids in turn."""
        self.count += 1
        top = (1 << self.bits) - 1
        codes = (
            self.rng.integers(0, 2, shape) * top
            if self.extreme
            else self.rng.integers(0, top + 1, shape)
        ).astype(np.uint8)
        odd = self.bits == 1 or self.count % 2 == 0
        return Weights(codes, self.bits, 2 if odd else 1, -top if odd else -(1 << (self.bits - 1)))

    def requant(self, values: np.ndarray, given: IntType, out: IntType, zero: int) -> Requant:
        """Per-channel constants whose outputs spread over the output range; signs vary.

        Every third channel is scaled by a power of two and moved by whole or half steps, so that
        many of its results lie exactly between two codes.
        """
        low, high = accumulator_bounds(values, given)
        spread = np.sqrt((values.reshape(len(values), -1).astype(float) ** 2).sum(1)) + 1.0
        reach = max(abs(given.lo), abs(given.hi)) / 2
        ratio = (out.hi - out.lo) / (spread * reach * 3) * self.rng.uniform(0.4, 1.2, len(values))
        ratio = np.minimum(ratio, 0.45 * 2.0**8) * self.rng.choice([-1, 1, 1], len(values))
        middle = (low + high) / 2
        offset = (out.lo + out.hi) / 2 - zero - ratio * middle + self.rng.normal(0, 1, len(values))
        tied = (np.arange(len(values)) + self.count) % 3 == 0
        exact = np.sign(ratio) * 2.0 ** np.floor(np.log2(np.abs(ratio)))
        ratio = np.where(tied, exact, ratio)
        offset = np.where(tied, np.round(2 * offset) / 2, offset)
        return snap(ratio, offset, low, high, zero=zero, lo=out.lo, hi=out.hi)

    def conv(self, name, source, channels, out, *, kernel=(3, 3), stride=(1, 1), dilation=(1, 1),
             pad=(1, 1, 1, 1), groups=1):
        shape = (channels, *kernel, source.output.shape[2] // groups)
        weights = self.weights(shape)
        rule = self.requant(weights.values, source.output.type, out, self._zero(out))
        op = Conv2d(weights, rule, out, Window(kernel, stride, dilation, pad), groups,
                    source.output.zero)
        return Node.make(name, op, (source,), scale=0.1, zero=self._zero(out))

    def depthwise(self, name, source, out, *, kernel=(3, 3), stride=(1, 1), pad=(1, 1, 1, 1),
                  multiplier=1, dilation=(1, 1)):
        weights = self.weights((source.output.shape[2] * multiplier, *kernel, 1))
        rule = self.requant(weights.values, source.output.type, out, self._zero(out))
        op = DepthwiseConv2d(weights, rule, out, Window(kernel, stride, dilation, pad),
                             source.output.zero)
        return Node.make(name, op, (source,), scale=0.1, zero=self._zero(out))

    def linear(self, name, source, outputs, out):
        weights = self.weights((outputs, source.output.size))
        rule = self.requant(weights.values, source.output.type, out, self._zero(out))
        return Node.make(name, Linear(weights, rule, out), (source,), scale=0.1,
                         zero=self._zero(out))

    def add(self, name, sources, out):
        infos = [source.output for source in sources]
        ratios = [float(r) for r in self.rng.uniform(0.2, 1.5, len(infos))]
        if self.count % 2:
            ratios = [0.5 if ratio < 0.8 else 0.25 for ratio in ratios]  # ties, often
        rule = snap_add(
            ratios, [(i.type.lo, i.type.hi) for i in infos], input_zeros=[i.zero for i in infos],
            zero=self._zero(out), lo=out.lo, hi=out.hi,
        )
        return Node.make(name, Add(rule, out), tuple(sources), scale=0.1, zero=self._zero(out))

    def requantize(self, name, source, out):
        channels = source.output.shape[-1]
        rule = self.requant(np.ones((channels, 1), np.int64), source.output.type, out,
                            self._zero(out))
        return Node.make(name, Requantize(rule, out), (source,), scale=0.1, zero=self._zero(out))

    def avgpool(self, name, source, out, *, kernel, stride=None, pad=(0, 0, 0, 0)):
        count = kernel[0] * kernel[1]
        rule = self.requant(np.ones((1, count), np.int64), source.output.type, out,
                            self._zero(out))
        op = AvgPool2d(Window(kernel, stride or kernel, (1, 1), pad), rule, out,
                       source.output.zero)
        return Node.make(name, op, (source,), scale=0.1, zero=self._zero(out))

    def _zero(self, out: IntType) -> int:
        return self.zero if out.signed and out.bits > 1 else 0


def input_node(shape, type_: IntType, zero: int = 0) -> Node:
    layout = "NCHW" if len(shape) == 3 else "NC"
    return Node.make("x", Input(tuple(shape), type_, layout), (), scale=0.05, zero=zero)


def graph(*nodes: Node, name: str = "t") -> Graph:
    return check(Graph(name, tuple(nodes), nodes[-1].name))


def every_operator(weight_bits: int, act_bits: int, *, signed: bool, seed: int = 0,
                   extreme: bool = False) -> Graph:
    """A network that holds every operator, all weights and activations at the given widths."""
    zero = 1 if signed and act_bits > 2 else 0
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((7, 6, 5), act, zero)
    stem = make.conv("stem", x, 8, act)
    direct = make.conv("direct", stem, 8, act, kernel=(1, 1), pad=(0, 0, 0, 0))
    grouped = make.conv("grouped", stem, 8, act, kernel=(3, 2), dilation=(1, 2), groups=2,
                        pad=(1, 1, 1, 1))
    join = make.add("join", [direct, grouped], act)
    depth = make.depthwise("depth", join, act, stride=(2, 1), pad=(0, 1, 1, 1))
    wide = make.depthwise("wide", depth, act, kernel=(2, 2), pad=(0, 0, 1, 1), multiplier=2)
    regrid = make.requantize("regrid", wide, act)
    regrid2 = Node.make("cat", Concat(), (regrid, depth))
    pooled = Node.make("max", MaxPool2d(Window((3, 3), (2, 2), (1, 1), (1, 1, 1, 1))), (regrid2,))
    mean = make.avgpool("mean", pooled, act, kernel=(2, 2), stride=(1, 1), pad=(0, 0, 0, 1))
    flat = Node.make("flat", Reshape((mean.output.size,)), (mean,))
    hidden = make.linear("hidden", flat, 11, act)
    last = make.linear("last", hidden, 6, IntType(8, True))
    return graph(x, stem, direct, grouped, join, depth, wide, regrid, regrid2, pooled, mean, flat,
                 hidden, last)


def narrow_images(weight_bits: int, act_bits: int, *, signed: bool) -> Graph:
    """Windows wider than their image: every output touches a border, often two at once."""
    zero = 1 if signed and act_bits > 2 else 0
    make = Maker(7, weight_bits, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((2, 2, 4), act, zero)
    one = make.conv("one", x, 8, act)
    two = make.conv("two", one, 8, act, kernel=(5, 3), pad=(2, 1, 2, 1))
    odd = make.conv("odd", two, 6, act, dilation=(2, 2), pad=(2, 2, 2, 2), groups=2)
    depth = make.depthwise("depth", odd, act)
    most = Node.make("most", MaxPool2d(Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))), (depth,))
    mean = make.avgpool("mean", most, act, kernel=(3, 3), stride=(1, 1), pad=(1, 1, 1, 1))
    single = make.conv("single", mean, 4, act, kernel=(2, 2), pad=(0, 0, 0, 0))
    spread = make.conv("spread", single, 8, act)
    last = make.depthwise("last", spread, IntType(8, True))
    return graph(x, one, two, odd, depth, most, mean, single, spread, last)
