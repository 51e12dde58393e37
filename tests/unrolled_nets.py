# SPDX-License-Identifier: Apache-2.0
"""A network of every kind of layer that can be unrolled into adders."""

from __future__ import annotations

import numpy as np
from nets import Maker, graph, input_node

from adaqat.deploy import IntType
from adaqat.deploy.rtl.plan import Fold


def small(weight_bits: int, act_bits: int, *, signed: bool, seed: int = 0):
    """Every kind of layer with weights: padded, strided, dilated, grouped, per channel, linear."""
    zero = 1 if signed and act_bits > 2 else 0
    make = Maker(seed, weight_bits, zero=zero)
    act = IntType(act_bits, signed)
    x = input_node((6, 5, 2), act, zero)
    first = make.conv("first", x, 4, act)
    mixed = make.conv("mixed", first, 4, act, kernel=(2, 3), stride=(1, 2), dilation=(2, 1),
                      groups=2, pad=(1, 1, 0, 2))  # fmt: skip
    depth = make.depthwise("depth", mixed, act, kernel=(3, 2), stride=(2, 1), pad=(1, 0, 1, 1))
    wide = make.depthwise("wide", depth, act, kernel=(1, 1), pad=(0, 0, 0, 0), multiplier=2)
    skip = make.conv("skip", wide, 3, act, kernel=(1, 1), stride=(2, 2), pad=(0, 0, 0, 0))
    last = make.conv("last", skip, 5, IntType(8, True), kernel=(2, 1), pad=(0, 0, 0, 0))
    return graph(x, first, mixed, depth, wide, skip, last)


def unrolled(net, seed: int) -> dict[str, Fold]:
    """All layers with weights unrolled, with requantisers of all forms."""
    rng = np.random.default_rng(seed)
    folds = {}
    for node in net.nodes:
        if node.op.unrolls:
            channels = node.output.shape[-1]
            at_once = [n for n in range(1, channels + 1) if channels % n == 0]
            # bit by bit; all at once, by constants where they are wide; some at once
            form = int(rng.integers(0, 3))
            pe = int(rng.choice(at_once)) if form == 2 else channels
            folds[node.name] = Fold(pe, 1, form == 0, unrolled=True)
    return folds
