# SPDX-License-Identifier: Apache-2.0
"""Random networks over every operator, shape and width, from one seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from more_nets import MoreMaker, _add
from nets import graph, input_node

from adaqat.deploy import Graph, IntType, Node
from adaqat.deploy.ops.argmax import ArgMax
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.ops.extremum import Extremum
from adaqat.deploy.ops.pad import Pad
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.ops.slice import Slice
from adaqat.deploy.ops.softmax import Softmax
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.tflite_avgpool2d import TfliteAvgPool2d
from adaqat.deploy.ops.tflite_elementwise import TfliteMul
from adaqat.deploy.ops.tflite_softmax import TfliteSoftmax
from adaqat.deploy.ops.tflite_weighted import TfliteDepthwiseConv2d, TfliteLinear
from adaqat.deploy.ops.transpose import Transpose
from adaqat.deploy.ops.upsample import UpsampleNearest
from adaqat.deploy.tflite_rule import quantize_multiplier
from adaqat.deploy.tflite_softmax import exp_table

S8 = IntType(8, True)
LIMIT = 1500
"""Largest tensor, so that many networks fit into a test."""


class Grower:
    """Adds random nodes until a network is large enough."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.make = MoreMaker(seed, 8, extreme=bool(self.rng.integers(4) == 0),
                              zero=int(self.rng.integers(-2, 2)))  # fmt: skip
        shape = (self.pick(1, 9), self.pick(1, 9), self.pick(1, 9))
        type_ = self.narrow()
        zero = min(max(self.make._zero(type_), type_.lo), type_.hi)
        self.nodes = [input_node(shape, type_, zero)]

    def pick(self, low: int, high: int) -> int:
        """A number from low to high - 1."""
        return int(self.rng.integers(low, high))

    def type(self) -> IntType:
        if self.pick(0, 4) == 0:
            return S8
        wide = self.pick(0, 12) == 0
        return IntType(self.pick(9, 17) if wide else self.pick(1, 9), bool(self.pick(0, 2)))

    def narrow(self) -> IntType:
        """A type of at most 8 bits."""
        found = self.type()
        return IntType(min(found.bits, 8), found.signed)

    def source(self) -> Node:
        recent = self.nodes[-4:]
        return recent[self.pick(0, len(recent))] if self.pick(0, 3) == 0 else self.nodes[-1]

    def grow(self, steps: int) -> Graph:
        while len(self.nodes) <= steps:
            name = f"n{len(self.nodes)}"
            self.make.bits = self.pick(1, 9)
            source = self.source()
            kinds = KINDS[len(source.output.shape)]
            if source.output.wide:
                kinds = [kind for kind in kinds if kind in WIDE]
            node = kinds[self.pick(0, len(kinds))](self, name, source)
            if node is not None and 0 < node.output.size <= LIMIT and self.fits(node):
                self.nodes.append(node)
        return graph(*self.nodes)

    def fits(self, node: Node) -> bool:
        """Whether the operator takes these widths: sums of wide tensors may leave int32."""
        by_name = {n.name: n.output for n in self.nodes}
        infos = [by_name[name] for name in node.inputs]
        narrow = max(info.type.bits for info in (*infos, node.output)) <= node.op.widest
        return narrow and all(b.magnitude <= b.limit for b in node.op.bounds(infos))

    def window(self, source: Node, *, dilated: bool) -> Window | None:
        height, width, _ = source.output.shape
        kernel = (self.pick(1, 5), self.pick(1, 5))
        dilation = (self.pick(1, 3), self.pick(1, 3)) if dilated else (1, 1)
        reach = [k * d for k, d in zip(kernel * 2, dilation * 2, strict=True)]
        pad = tuple(self.pick(0, min(3, size)) for size in reach)
        window = Window(kernel, (self.pick(1, 4), self.pick(1, 4)), dilation, pad)
        return window if min(window.out_hw((height, width))) > 0 else None

    def conv(self, name: str, source: Node) -> Node | None:
        w = self.window(source, dilated=True)
        channels = source.output.shape[2]
        groups = int(self.rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
        if w is None:
            return None
        outputs = groups * self.pick(1, 4)
        if source.output.type == S8 and self.pick(0, 4) == 0:
            rounding = "single" if self.pick(0, 2) else "double"
            return self.make.tflite_conv(name, source, outputs, rounding, groups=groups, window=w)
        return self.make.conv(name, source, outputs, self.type(), kernel=w.kernel, stride=w.stride,
                              dilation=w.dilation, pad=w.pad, groups=groups)  # fmt: skip

    def depthwise(self, name: str, source: Node) -> Node | None:
        w = self.window(source, dilated=True)
        if w is None:
            return None
        multiplier = self.pick(1, 4)
        if source.output.type == S8 and self.pick(0, 4) == 0:
            weights = self.make.weights((source.output.shape[2] * multiplier, *w.kernel, 1))
            rule = self.make.tflite_rule(weights, source, "double")
            op = TfliteDepthwiseConv2d(weights, rule, S8, w, source.output.zero)
            return Node.make(name, op, (source,), scale=0.1, zero=-3)
        return self.make.depthwise(
            name, source, self.type(), kernel=w.kernel, stride=w.stride, dilation=w.dilation,
            pad=w.pad, multiplier=multiplier,
        )  # fmt: skip

    def transposed(self, name: str, source: Node) -> Node | None:
        kernel, dilation = (self.pick(1, 4), self.pick(1, 4)), (self.pick(1, 3), self.pick(1, 3))
        reach = [d * (k - 1) for k, d in zip(kernel * 2, dilation * 2, strict=True)]
        pad = tuple(self.pick(0, r + 1) for r in reach)
        gap = (self.pick(1, 4), self.pick(1, 4))
        size = [(n - 1) * g + 1 + a + b - r for n, g, a, b, r in
                zip(source.output.shape, gap, pad, pad[2:], reach, strict=False)]  # fmt: skip
        if min(size) < 1 or size[0] * size[1] * 4 > LIMIT:
            return None
        groups = 2 if source.output.shape[2] % 2 == 0 and self.pick(0, 2) else 1
        return self.make.conv_transpose(name, source, 4, self.narrow(), kernel=kernel, gap=gap,
                                        pad=pad, groups=groups, dilation=dilation)  # fmt: skip

    def maxpool(self, name: str, source: Node) -> Node | None:
        w = self._pool(source)
        return w and Node.make(name, MaxPool2d(w), (source,))

    def avgpool(self, name: str, source: Node) -> Node | None:
        w = self._pool(source)
        if w is None:
            return None
        if self.pick(0, 2):
            type_ = source.output.type
            return Node.make(name, TfliteAvgPool2d(w, type_.lo, type_.hi), (source,))
        return self.make.avgpool(name, source, self.type(), kernel=w.kernel, stride=w.stride,
                                 pad=w.pad)  # fmt: skip

    def _pool(self, source: Node) -> Window | None:
        w = self.window(source, dilated=False)
        if w is None or any(p >= k for p, k in zip(w.pad, w.kernel * 2, strict=True)):
            return None
        # a window that starts inside the padding behind holds no pixel
        last = [(o - 1) * s - p for o, s, p in
                zip(w.out_hw(source.output.shape[:2]), w.stride, w.pad, strict=False)]  # fmt: skip
        return w if all(a < n for a, n in zip(last, source.output.shape, strict=False)) else None

    def join(self, name: str, source: Node) -> Node | None:
        same = [n for n in self.nodes if n.output.shape == source.output.shape]
        other = same[self.pick(0, len(same))]
        if source.output.type == other.output.type == S8 and self.pick(0, 2):
            if self.pick(0, 2):
                return Node.make(name, _add("double", 1), (source, other), scale=0.1, zero=4)
            m, shift = quantize_multiplier(0.009)
            op = TfliteMul((-3, 2), m, shift, 2, -128, 127, "double", S8)
            return Node.make(name, op, (source, other), scale=0.1, zero=2)
        if self.pick(0, 2):
            return self.make.mul(name, source, other, self.type())
        return self.make.add(name, [source, other], self.type())

    def excite(self, name: str, source: Node) -> Node | None:
        channels = source.output.shape[2]
        parts = [n for n in self.nodes if n.output.shape in ((1, 1, channels), (1, 1, 1))]
        return self.make.mul(name, source, parts[-1], self.type()) if parts else None

    def concat(self, name: str, source: Node) -> Node | None:
        def grid(node: Node) -> tuple[object, ...]:
            out = node.output
            return out.shape[:-1], out.type, out.scale, out.zero

        same = [n for n in self.nodes if grid(n) == grid(source)]
        return Node.make(name, Concat(), (source, same[self.pick(0, len(same))]))

    def extremum(self, name: str, source: Node) -> Node | None:
        out = source.output
        same = [n for n in self.nodes if (n.output.shape, n.output.type, n.output.scale,
                n.output.zero) == (out.shape, out.type, out.scale, out.zero)]  # fmt: skip
        other = same[self.pick(0, len(same))]
        return Node.make(name, Extremum(self.pick(0, 2)), (source, other))

    def regrid(self, name: str, source: Node) -> Node | None:
        if self.pick(0, 2):
            return self.make.requantize(name, source, self.type())
        rows = source.output.shape[-1] if self.pick(0, 2) else 1
        return self.make.lookup(name, source, self.narrow(), rows=rows)

    def requantize(self, name: str, source: Node) -> Node | None:
        return self.make.requantize(name, source, self.type())

    def pad(self, name: str, source: Node) -> Node | None:
        rank, type_ = len(source.output.shape), source.output.type
        sizes = [tuple(self.pick(0, 3) for _ in range(rank)) for _ in range(2)]
        value = source.output.zero if self.pick(0, 2) else self.pick(type_.lo, type_.hi + 1)
        return Node.make(name, Pad(sizes[0], sizes[1], value), (source,))

    def cut(self, name: str, source: Node) -> Node | None:
        start, size, step = [], [], []
        for full in source.output.shape:
            start.append(self.pick(0, full))
            step.append(self.pick(1, 3))
            size.append(self.pick(1, (full - 1 - start[-1]) // step[-1] + 2))
        return Node.make(name, Slice(tuple(start), tuple(size), tuple(step)), (source,))

    def turn(self, name: str, source: Node) -> Node | None:
        axes = tuple(int(a) for a in self.rng.permutation(len(source.output.shape)))
        return Node.make(name, Transpose(axes), (source,))

    def larger(self, name: str, source: Node) -> Node | None:
        size = (self.pick(1, 12), self.pick(1, 12))
        if self.pick(0, 2):
            return Node.make(name, UpsampleNearest(size), (source,))
        return self.make.bilinear(name, source, self.narrow(), size, self.pick(0, 2))

    def reshape(self, name: str, source: Node) -> Node | None:
        return Node.make(name, Reshape((source.output.size,)), (source,))

    def fold(self, name: str, source: Node) -> Node | None:
        """The same elements over two to five axes, as channel shuffles and attention have them."""
        shape, left = [], source.output.size
        for _ in range(self.pick(1, 5)):
            shape.append(int(self.rng.choice([d for d in range(1, left + 1) if left % d == 0])))
            left //= shape[-1]
        return Node.make(name, Reshape((*shape, left)), (source,))

    def image(self, name: str, source: Node) -> Node | None:
        return Node.make(name, Reshape((1, 1, source.output.size)), (source,))

    def linear(self, name: str, source: Node) -> Node | None:
        outputs = self.pick(1, 20)
        if source.output.type == S8 and self.pick(0, 3) == 0:
            weights = self.make.weights((outputs, source.output.size))
            rule = self.make.tflite_rule(weights, source, "single")
            return Node.make(name, TfliteLinear(weights, rule, S8), (source,), scale=0.1, zero=-3)
        return self.make.linear(name, source, outputs, self.type())

    def soft(self, name: str, source: Node) -> Node | None:
        if source.output.type == S8 and self.pick(0, 2):
            op = TfliteSoftmax(exp_table(0.03 * self.pick(1, 40), 1.0))
            return Node.make(name, op, (source,), scale=1 / 256, zero=-128)
        bits = self.pick(1, 9)
        return Node.make(name, Softmax.of(source.output, bits), (source,), scale=2.0**-bits, zero=0)

    def best(self, name: str, source: Node) -> Node | None:
        if source.output.shape[-1] > 256:
            return None
        return Node.make(name, ArgMax(), (source,), scale=1.0, zero=0)


Step = Callable[[Grower, str, Node], Node | None]
ANY: list[Step] = [Grower.join, Grower.concat, Grower.extremum, Grower.regrid, Grower.requantize,
                   Grower.pad, Grower.cut, Grower.turn, Grower.soft, Grower.best]  # fmt: skip
IMAGE: list[Step] = [*ANY, *[Grower.conv] * 4, *[Grower.depthwise] * 2, Grower.transposed,
                     Grower.maxpool, Grower.avgpool, Grower.larger, Grower.excite,
                     Grower.reshape, Grower.fold]  # fmt: skip
VECTOR: list[Step] = [*ANY, *[Grower.linear] * 3, Grower.image, Grower.fold]
PLANE: list[Step] = [*ANY, Grower.reshape, Grower.fold, Grower.image]
DEEP: list[Step] = [Grower.join, Grower.concat, Grower.regrid, Grower.requantize, Grower.turn,
                    Grower.soft, Grower.reshape, Grower.fold, Grower.image]  # fmt: skip
KINDS = {1: VECTOR, 2: PLANE, 3: IMAGE, 4: DEEP, 5: DEEP}
"""What may follow a tensor, by the number of its axes."""


WIDE: list[Step] = [Grower.extremum, Grower.conv, Grower.depthwise, Grower.linear, Grower.join,
                    Grower.concat, Grower.requantize, Grower.avgpool, Grower.maxpool, Grower.pad,
                    Grower.cut, Grower.turn, Grower.reshape, Grower.fold, Grower.image,
                    Grower.excite]  # fmt: skip
"""What may follow a tensor of more than 8 bits."""


def random_graph(seed: int, steps: int = 9) -> Graph:
    """The same seed gives the same network."""
    return Grower(seed).grow(steps)
