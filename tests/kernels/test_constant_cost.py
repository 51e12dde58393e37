# SPDX-License-Identifier: Apache-2.0
"""What a layer costs depends on no activation: every operator counted at inputs far apart."""

from __future__ import annotations

import numpy as np
import pytest
from nets import Maker, graph

from adaqat.deploy import Graph, IntType, Node, simulate
from adaqat.deploy.device import Device
from adaqat.deploy.emit import layout
from adaqat.deploy.errors import ToolError
from adaqat.deploy.ops.add import Add
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.concat import Concat
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.ops.source import Input, Reshape
from adaqat.deploy.ops.weighted import accumulator_bounds
from adaqat.deploy.requant import snap, snap_add
from adaqat.deploy.targets import get
from adaqat.deploy.toolchain import find_toolchain
from adaqat.deploy.vectors import make_inputs

pytest.importorskip("unicorn")

CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4")
BORDER = Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))


class Steep(Maker):
    """Layers whose results leave their range on both sides."""

    def requant(self, values, given, out, zero):
        low, high = accumulator_bounds(values, given)
        ratio = np.minimum(0.4, 12.0 * (out.hi - out.lo) / (high - low))
        return snap(ratio, -ratio * (low + high) / 2 + (out.lo + out.hi) / 2 - zero, low, high,
                    zero=zero, lo=out.lo, hi=out.hi)  # fmt: skip


def star(bits: int, channels: int, *, signed: bool) -> Graph:
    """Every operator reads the input itself, so that an input reaches all of them unsmoothed."""
    act = IntType(bits, signed)
    make = Steep(4, bits)
    x = Node.make("x", Input((6, 7, channels), act, "NCHW"), (), scale=0.1, zero=0)
    nodes = [
        make.conv("window", x, 7, act),
        make.conv("point", x, 9, act, kernel=(1, 1), pad=(0,) * 4),
        make.conv("groups", x, 8, act, groups=2),
        make.depthwise("depthwise", x, act),
        make.avgpool("average", x, act, kernel=(3, 3), stride=(1, 1), pad=(1,) * 4),
        Node.make("largest", MaxPool2d(BORDER), (x,)),
    ]
    rule = snap_add((2.5, 2.0), [(act.lo, act.hi)] * 2, input_zeros=(0, 0),
                    zero=-2 * act.hi - 2 * act.lo, lo=act.lo, hi=act.hi)  # fmt: skip
    nodes.append(Node.make("sum", Add(rule, act), (x, x), scale=0.1, zero=0))
    flat = Node.make("flat", Reshape((x.output.size,)), (x,))
    rows = make.linear("rows", flat, 42, act)
    wide = Node.make("wide", Reshape((6, 7, 1)), (rows,))
    return graph(x, *nodes, flat, rows, wide, Node.make("all", Concat(), (*nodes, wide)))


def inputs_of(net: Graph) -> dict[str, np.ndarray]:
    """All zero, random, at both ends of the range, and jumping between them."""
    info = net.input_node.output
    shape, (low, high) = (1, *info.shape), (info.type.lo, info.type.hi)
    some = make_inputs(net, samples=1, seed=2, extremes=False)
    chosen = {
        "zero": np.zeros(shape), "random": some, "low": np.full(shape, low),
        "high": np.full(shape, high),
        "jumping": np.where(np.arange(some.size).reshape(shape) % 3 == 0, low, high),
    }  # fmt: skip
    return {name: codes.astype(some.dtype) for name, codes in chosen.items()}


def limited(net: Graph, codes: np.ndarray) -> np.ndarray:
    """How many results of each weighted node lie at an end of their range."""
    kept = simulate(net, codes, keep=True)
    return np.array([
        np.isin(kept[node.name], (node.output.type.lo, node.output.type.hi)).sum()
        for node in net.nodes if node.op.weight_bits
    ])  # fmt: skip


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("channels", [4, 10])
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (4, True), (2, False)])
def test_cost_does_not_depend_on_data(core, bits, signed, channels):
    try:
        toolchain = find_toolchain("gcc")
    except ToolError as error:
        pytest.skip(str(error))
    net = star(bits, channels, signed=signed)
    given = inputs_of(net)
    ends = np.stack([limited(net, codes) for codes in given.values()])
    assert np.ptp(ends, axis=0).min() >= 5, "nothing would be shown"
    with Device(layout(net, get(core), "net"), core, toolchain=toolchain) as device:
        counts = {label: device.count(codes) for label, codes in given.items()}
    first = counts.pop("zero")
    for label, count in counts.items():
        differing = {
            node: (first.nodes[node].instructions, region.instructions)
            for node, region in count.nodes.items()
            if region.instructions != first.nodes[node].instructions
        }
        assert differing == {}, label
