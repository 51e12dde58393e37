# SPDX-License-Identifier: Apache-2.0
"""Random networks of the operators beyond the basic ones, and of those with TFLite's rounding."""

from __future__ import annotations

import numpy as np
from nets import Maker, graph, input_node

from adaqat.deploy import Graph, IntType, Node
from adaqat.deploy.ops.argmax import ArgMax
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.ops.conv_transpose2d import ConvTranspose2d
from adaqat.deploy.ops.extremum import Extremum
from adaqat.deploy.ops.lookup import Lookup
from adaqat.deploy.ops.mul import Mul, product_range
from adaqat.deploy.ops.pad import Pad
from adaqat.deploy.ops.slice import Slice
from adaqat.deploy.ops.softmax import Softmax
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.tflite_avgpool2d import TfliteAvgPool2d
from adaqat.deploy.ops.tflite_elementwise import TfliteAdd, TfliteMul
from adaqat.deploy.ops.tflite_softmax import TfliteSoftmax
from adaqat.deploy.ops.tflite_weighted import TfliteConv2d, TfliteDepthwiseConv2d, TfliteLinear
from adaqat.deploy.ops.transpose import Transpose
from adaqat.deploy.ops.upsample import UpsampleBilinear, UpsampleNearest, denominators
from adaqat.deploy.ops.weighted import Weights
from adaqat.deploy.requant import snap
from adaqat.deploy.tflite_rule import TfliteRequant, quantize_multiplier, quantize_multipliers
from adaqat.deploy.tflite_softmax import exp_table

S8 = IntType(8, True)


class MoreMaker(Maker):
    """Nodes of the further operators."""

    def lookup(self, name: str, source: Node, out: IntType, *, rows: int = 1) -> Node:
        shape = (rows, 1 << source.output.type.bits)
        table = self.rng.integers(out.lo, out.hi + 1, shape)
        return Node.make(name, Lookup(table, out), (source,), scale=0.1, zero=self._zero(out))

    def mul(self, name: str, a: Node, b: Node, out: IntType) -> Node:
        zeros = (a.output.zero, b.output.zero)
        low, high = product_range([a.output, b.output], zeros)
        ratio = np.array([(out.hi - out.lo) / max(1, high - low) * self.rng.uniform(0.5, 1.5)])
        ratio = np.minimum(ratio, 100.0) * self.rng.choice([-1, 1])
        zero = self._zero(out)
        rule = snap(ratio, np.zeros(1), np.array([low]), np.array([high]), zero=zero, lo=out.lo,
                    hi=out.hi)  # fmt: skip
        return Node.make(name, Mul(zeros, rule, out), (a, b), scale=0.1, zero=zero)

    def bilinear(self, name: str, source: Node, out: IntType, size, corners: int) -> Node:
        info = source.output
        factor = denominators(info.shape, size, bool(corners))
        zero = self._zero(out)
        gain = (out.hi - out.lo + 1) / (1 << info.type.bits) / factor
        rule = snap(np.array([gain]), np.array([-gain * factor * info.zero]),
                    np.array([info.type.lo * factor]), np.array([info.type.hi * factor]),
                    zero=zero, lo=out.lo, hi=out.hi)  # fmt: skip
        op = UpsampleBilinear(size, corners, rule, out)
        return Node.make(name, op, (source,), scale=0.1, zero=zero)

    def conv_transpose(self, name, source, channels, out, *, kernel=(3, 2), gap=(2, 2),
                       pad=(1, 1, 2, 1), groups=1, dilation=(1, 1)):
        shape = (channels, *kernel, source.output.shape[2] // groups)
        weights = self.weights(shape)
        rule = self.requant(weights.values, source.output.type, out, self._zero(out))
        op = ConvTranspose2d(weights, rule, out, Window(kernel, (1, 1), dilation, pad), gap, groups,
                             source.output.zero)  # fmt: skip
        return Node.make(name, op, (source,), scale=0.1, zero=self._zero(out))

    def tflite_rule(self, weights: Weights, source: Node, rounding: str) -> TfliteRequant:
        values = weights.values
        spread = np.sqrt((values.reshape(len(values), -1) ** 2.0).sum(1)) + 1
        factor = 255 / (spread * 128 * 3) * self.rng.uniform(0.5, 1.5, len(values))
        m, shift = quantize_multipliers(factor)
        bias = self.rng.integers(-3000, 3000, len(values))
        bias -= source.output.zero * values.reshape(len(values), -1).sum(1)
        return TfliteRequant(bias, m, shift, -3, -128, 127, rounding)

    def tflite_conv(self, name, source, channels, rounding="double", *, groups=1, window=None):
        window = window or Window((3, 3), pad=(1, 1, 1, 1))
        weights = self.weights((channels, *window.kernel, source.output.shape[2] // groups))
        rule = self.tflite_rule(weights, source, rounding)
        op = TfliteConv2d(weights, rule, S8, window, groups, source.output.zero)
        return Node.make(name, op, (source,), scale=0.1, zero=-3)


def every_other_operator(weight_bits: int, act_bits: int, *, signed: bool, seed: int = 0,
                         extreme: bool = False) -> Graph:
    """A network of every operator that `nets.every_operator` leaves out, TFLite's excepted."""
    zero = 1 if signed and act_bits > 2 else 0
    make = MoreMaker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((4, 5, 6), act, zero)
    up = make.conv_transpose("up", x, 8, act, groups=2)
    odd = make.conv_transpose("odd", up, 4, act, kernel=(2, 3), gap=(1, 1), pad=(0, 1, 1, 2),
                              dilation=(1, 2))  # fmt: skip
    wave = make.lookup("wave", odd, act)
    bent = make.lookup("bent", wave, act, rows=4)
    most = Node.make("most", Extremum(1), (wave, bent), scale=bent.output.scale, zero=zero)
    gate = make.avgpool("gate", most, act, kernel=bent.output.shape[:2])
    excited = make.mul("excited", most, gate, act)
    product = make.mul("product", excited, bent, act)
    border = Node.make("border", Pad((1, 0, 0), (0, 2, 1), act.hi), (product,))
    _, columns, channels = border.output.shape
    part = Node.make("part", Slice((1, 1, 0), (3, columns // 2, channels), (2, 2, 1)), (border,))
    near = Node.make("near", UpsampleNearest((6, 7)), (part,))
    fine = make.bilinear("fine", near, act, (11, 14), 0)
    finer = make.bilinear("finer", fine, act, (13, 9), 1)
    split = Node.make("split", Reshape((13 * 9, 5, 1)), (finer,))
    turned = Node.make("turned", Transpose((1, 2, 0)), (split,))
    low = Node.make("low", Slice((0, 0, 0), (5, 1, 60), (1, 1, 1)), (turned,))
    high = Node.make("high", Slice((0, 0, 57), (5, 1, 60), (1, 1, 1)), (turned,))
    both = Node.make("both", Concat(), (low, high))
    soft = Node.make("soft", Softmax.of(both.output), (both,), scale=1 / 256, zero=0)
    last = Node.make("last", ArgMax(), (soft,), scale=1.0, zero=0)
    return graph(x, up, odd, wave, bent, most, gate, excited, product, border, part, near, fine,
                 finer, split, turned, low, high, both, soft, last)  # fmt: skip


def tflite_operators(weight_bits: int = 8, *, seed: int = 0, extreme: bool = False) -> Graph:
    """A network of every operator with TFLite's rounding, in both of its roundings."""
    make = MoreMaker(seed, weight_bits, extreme=extreme)
    x = input_node((6, 5, 4), S8, 7)
    a = make.tflite_conv("a", x, 6)
    b = make.tflite_conv("b", x, 6, "single", groups=2, window=Window((1, 3), (1, 1), (1, 2),
                                                                      (0, 2, 0, 2)))  # fmt: skip
    weights = make.weights((12, 2, 3, 1))
    window = Window((2, 3), (2, 1), (1, 1), (0, 1, 1, 1))
    dw = TfliteDepthwiseConv2d(
        weights, make.tflite_rule(weights, a, "double"), S8, window, a.output.zero
    )
    total = Node.make("total", _add("double", 1), (a, b), scale=0.1, zero=4)
    less = Node.make("less", _add("single", -1), (total, b), scale=0.1, zero=4)
    deep = Node.make("deep", dw, (less,), scale=0.1, zero=-3)
    pool = Node.make("pool", TfliteAvgPool2d(Window((2, 2), (1, 1), pad=(0, 0, 1, 1)), -100, 90),
                     (deep,))  # fmt: skip
    mean = Node.make("mean", TfliteAvgPool2d(Window(pool.output.shape[:2]), -128, 127), (pool,))
    m, shift = quantize_multiplier(0.013)
    product = Node.make("product", TfliteMul((-3, -3), m, shift, 2, -128, 127, "double", S8),
                        (pool, mean), scale=0.1, zero=2)  # fmt: skip
    flat = Node.make("flat", Reshape((product.output.size,)), (product,))
    weights = make.weights((9, flat.output.size))
    fc = Node.make("fc", TfliteLinear(weights, make.tflite_rule(weights, flat, "single"), S8),
                   (flat,), scale=0.1, zero=-3)  # fmt: skip
    soft = Node.make("soft", TfliteSoftmax(exp_table(0.1, 1.0)), (fc,), scale=1 / 256, zero=-128)
    return graph(x, a, b, total, less, deep, pool, mean, product, flat, fc, soft)


def _add(rounding: str, sign: int) -> TfliteAdd:
    pairs = [quantize_multiplier(f) for f in (0.5, 0.31, 1.2e-6)]
    m = (pairs[0][0], sign * pairs[1][0], pairs[2][0])
    shifts = (pairs[0][1], pairs[1][1], pairs[2][1])
    return TfliteAdd((-3, -3), m, shifts, 4, -128, 127, rounding, S8)

