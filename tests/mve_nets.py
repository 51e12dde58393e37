# SPDX-License-Identifier: Apache-2.0
"""Networks for the MVE kernels: many layers in one image, because QEMU starts slowly."""

from __future__ import annotations

from nets import Maker, graph, input_node

from adaqat.deploy import Graph, IntType, Node
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.ops.source import Reshape


def _zero(signed: bool, act_bits: int) -> int:
    return -1 if signed and act_bits > 2 else 0


def dense(weight_bits: int, act_bits: int, *, signed: bool, extreme: bool = False,
          seed: int = 0) -> Graph:  # fmt: skip
    """Convolutions of every loop and border, fully connected layers of every rest, pools, sums."""
    zero = _zero(signed, act_bits)
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    nodes = [input_node((9, 7, 3), act, zero)]
    for name, channels, more in (
        ("first", 7, {"pad": (1, 1, 1, 1)}),
        ("point", 20, {"kernel": (1, 1), "pad": (0, 0, 0, 0)}),
        ("apart", 5, {"dilation": (2, 2), "pad": (2, 2, 2, 2)}),
        ("uneven", 28, {"kernel": (3, 2), "stride": (2, 1), "pad": (1, 0, 0, 2)}),
        ("looped", 60, {"pad": (1, 1, 1, 1)}),
        ("far", 6, {"pad": (1, 1, 1, 1)}),
        ("grouped", 9, {"kernel": (2, 2), "groups": 3, "pad": (1, 1, 1, 1)}),
        ("strided", 4, {"kernel": (1, 1), "stride": (2, 2), "pad": (0, 0, 0, 0)}),
        ("valid", 18, {"kernel": (2, 3), "pad": (0, 0, 0, 0)}),
        ("again", 18, {"kernel": (1, 1), "pad": (0, 0, 0, 0)}),
    ):
        nodes.append(make.conv(name, nodes[-1], channels, act, **more))
    total = make.add("sum", nodes[-2:], act)
    largest = Node.make("max", MaxPool2d(Window((2, 2), (1, 1), (1, 1), (1, 0, 0, 1))), (total,))
    mean = make.avgpool("mean", total, act, kernel=(2, 2), stride=(1, 1), pad=(1, 0, 0, 1))
    parts = make.requantize("left", largest, act), make.requantize("right", mean, act)
    joined = Node.make("cat", Concat(), parts)
    flat = Node.make("flat", Reshape((joined.output.size,)), (joined,))
    nodes += [total, largest, mean, *parts, joined, flat]
    for outputs in (61, 38, 17, 4, 11):
        nodes.append(make.linear(f"to{outputs}", nodes[-1], outputs, act))
    return graph(*nodes)


def planes(weight_bits: int, act_bits: int, *, signed: bool, extreme: bool = False,
           seed: int = 0) -> Graph:  # fmt: skip
    """Depthwise windows: whole blocks, shared gathers, several patches, lines both ways."""
    zero = _zero(signed, act_bits)
    make = Maker(seed, weight_bits, extreme=extreme, zero=zero)
    act = IntType(act_bits, signed)
    nodes = [input_node((16, 18, 3), act, zero)]
    for name, more in {
        "single": {}, "sixteen": {"pad": (1, 0, 1, 0)}, "blocks": {},
        "doubled": {"multiplier": 2, "pad": (2, 1, 0, 2)},
        "down": {"stride": (2, 2), "pad": (0, 0, 1, 1)},
        "columns": {"kernel": (5, 2), "pad": (2, 0, 2, 0)}, "odd": {},
        "large": {"kernel": (4, 5), "pad": (2, 2, 2, 2)},
        "apart": {"kernel": (2, 3), "dilation": (2, 2), "stride": (1, 3), "pad": (1, 3, 1, 3)},
        "narrow": {"kernel": (1, 3), "pad": (0, 0, 0, 0)},
        "thin": {"kernel": (9, 1), "pad": (4, 0, 4, 0)},
        "last": {"kernel": (3, 1), "stride": (2, 1), "pad": (0, 0, 0, 0)},
        "lone": {"kernel": (3, 1), "pad": (0, 0, 0, 0)},
    }.items():  # fmt: skip
        nodes.append(make.depthwise(name, nodes[-1], act, **more))
    return graph(*nodes)


NETS = (dense, planes)
