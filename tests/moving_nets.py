# SPDX-License-Identifier: Apache-2.0
"""Networks of the operators that move, look up and multiply codes, for tests of circuits."""

from __future__ import annotations

import numpy as np
from nets import Maker, graph, input_node

from adaqat.deploy import Graph, IntType, Node
from adaqat.deploy.ops.argmax import ArgMax
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.ops.lookup import Lookup
from adaqat.deploy.ops.mul import Mul
from adaqat.deploy.ops.pad import Pad
from adaqat.deploy.ops.slice import Slice
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.transpose import Transpose
from adaqat.deploy.ops.upsample import UpsampleNearest
from adaqat.deploy.requant import snap


def table(rng: np.random.Generator, source: Node, out: IntType, rows: int, name: str) -> Node:
    """Random entries of the whole output range."""
    entries = rng.integers(out.lo, out.hi + 1, (rows, 1 << source.output.type.bits))
    return Node.make(name, Lookup(entries, out), (source,), zero=source.output.zero)


def product(make: Maker, first: Node, second: Node, out: IntType, name: str) -> Node:
    """A product whose results use the output range."""
    zeros = (first.output.zero, second.output.zero)
    ends = [
        (a - zeros[0]) * (b - zeros[1])
        for a in (first.output.type.lo, first.output.type.hi)
        for b in (second.output.type.lo, second.output.type.hi)
    ]
    reach = max(1, max(abs(end) for end in ends))
    rule = snap(
        np.array([min(0.9, 2 * (out.hi - out.lo) / reach)]), np.array([0.5]),
        np.array([min(ends)]), np.array([max(ends)]), zero=0, lo=out.lo, hi=out.hi,
    )  # fmt: skip
    return Node.make(name, Mul(zeros, rule, out), (first, second), zero=0)


def moving(bits: int, *, signed: bool, seed: int = 0) -> Graph:
    """Every such operator: tables, squeeze-excite, shuffle, split, border, enlargement, argmax."""
    rng = np.random.default_rng(seed)
    act = IntType(bits, signed)
    zero = 1 if signed and bits > 2 else 0
    make = Maker(seed, 3, zero=zero)
    x = input_node((5, 6, 4), act, zero)
    normal = table(rng, x, act, 4, "normal")  # a row for every channel
    conv = make.conv("conv", normal, 6, act)
    curve = table(rng, conv, act, 1, "curve")
    squeeze = make.avgpool("squeeze", curve, act, kernel=(5, 6))
    flat = Node.make("flat", Reshape((6,)), (squeeze,))
    dense = make.linear("dense", flat, 6, act)
    gate = Node.make("gate", Reshape((1, 1, 6)), (dense,))
    excite = product(make, curve, gate, act, "excite")
    one = make.conv("one", curve, 1, act, kernel=(1, 1), pad=(0, 0, 0, 0))
    masked = product(make, excite, one, act, "masked")  # a value for every pixel
    groups = Node.make("groups", Reshape((5, 6, 2, 3)), (masked,))
    turned = Node.make("turned", Transpose((0, 1, 3, 2)), (groups,))
    shuffled = Node.make("shuffled", Reshape((5, 6, 6)), (turned,))
    low = Node.make("low", Slice((0, 0, 0), (5, 6, 2), (1, 1, 1)), (shuffled,))
    high = Node.make("high", Slice((0, 0, 2), (5, 6, 4), (1, 1, 1)), (shuffled,))
    swapped = Node.make("swapped", Concat(), (high, low))
    crop = Node.make("crop", Slice((1, 0, 1), (3, 3, 3), (1, 2, 2)), (swapped,))
    border = Node.make("border", Pad((1, 0, 1), (0, 2, 0), act.hi), (crop,))
    large = Node.make("large", UpsampleNearest((8, 15)), (border,))
    image = Node.make("image", Transpose((1, 0, 2)), (large,))
    square = product(make, image, image, IntType(min(8, bits + 1), signed), "square")
    best = Node.make("best", ArgMax(), (square,))
    return graph(
        x, normal, conv, curve, squeeze, flat, dense, gate, excite, one, masked, groups, turned,
        shuffled, low, high, swapped, crop, border, large, image, square, best,
    )  # fmt: skip
