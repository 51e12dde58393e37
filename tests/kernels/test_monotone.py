# SPDX-License-Identifier: Apache-2.0
"""Fewer bits never cost instructions: every operator at every pair of widths, counted."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from nets import graph, input_node

from adaqat.deploy import Graph, IntType, Node
from adaqat.deploy.device import Device
from adaqat.deploy.emit import layout
from adaqat.deploy.errors import ToolError
from adaqat.deploy.ops.add import Add
from adaqat.deploy.ops.base import Op, Window
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.depthwise_conv2d import DepthwiseConv2d
from adaqat.deploy.ops.linear import Linear
from adaqat.deploy.ops.pool2d import AvgPool2d, MaxPool2d
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.weighted import Weights, accumulator_bounds
from adaqat.deploy.requant import Requant, snap, snap_add
from adaqat.deploy.targets import get
from adaqat.deploy.toolchain import find_toolchain
from adaqat.deploy.vectors import make_inputs
from adaqat.hw_models import load_core

pytest.importorskip("unicorn")

CORES = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55", "riscv32")
"""A family joins by its core."""
PAYS = ("cortex-m0plus", "cortex-m3", "riscv32")
"""Cores where every halving of the bits saves instructions; with SMLAD 8 and 4 bits cost alike."""
TOLERANCE = 1.02
SLACK = {"riscv32": 32, "cortex-m55": 8, "cortex-m0plus": 16, "cortex-m3": 16}
"""Instructions of a node that are no matter of tolerance: entering a layer of a few hundred."""
BITS = tuple(range(8, 0, -1))
FEW = [(w, a) for w in (8, 4, 3, 2, 1) for a in (8, 2)]
ALL = [(w, a) for w in BITS for a in BITS]
ONE = (1, 1, 1, 1)
OUT = IntType(8, False)


def _weights(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> Weights:
    codes = rng.integers(0, 1 << bits, shape).astype(np.uint8)
    return Weights(codes, bits, 1, -(1 << (bits - 1))) if bits > 1 else Weights(codes, 1, 2, -1)


def _rule(values: np.ndarray, given: IntType, out: IntType) -> Requant:
    """Positive multipliers; few outputs leave their range, so that clamps cost nothing."""
    low, high = accumulator_bounds(values, given)
    ratio = np.minimum(0.4, 0.9 * (out.hi - out.lo) / np.maximum(high - low, 1))
    return snap(ratio, -ratio * (low + high) / 2 + out.hi / 2, low, high, zero=0, lo=out.lo,
                hi=out.hi)  # fmt: skip


class _Chain:
    """A network, node after node; each layer reads activations of one type."""

    def __init__(self, weight_bits: int, act: IntType, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(5)
        self.bits, self.act = weight_bits, act
        self.nodes = [input_node(shape, act)]

    def put(self, name: str, op: Op, *sources: Node) -> Node:
        self.nodes.append(Node.make(name, op, sources or (self.nodes[-1],), scale=0.1, zero=0))
        return self.nodes[-1]

    def conv(self, name, channels, kernel, *, stride=(1, 1), pad=ONE, groups=1, dilation=(1, 1)):
        depth = self.nodes[-1].output.shape[2] // groups
        weights = _weights(self.rng, (channels, *kernel, depth), self.bits)
        window = Window(kernel, stride, dilation, pad)
        rule = _rule(weights.values, self.act, self.act)
        return self.put(name, Conv2d(weights, rule, self.act, window, groups))

    def depthwise(self, name, stride):
        channels = self.nodes[-1].output.shape[2]
        weights = _weights(self.rng, (channels, 3, 3, 1), self.bits)
        rule = _rule(weights.values, self.act, self.act)
        window = Window((3, 3), (stride, stride), (1, 1), ONE)
        return self.put(name, DepthwiseConv2d(weights, rule, self.act, window))

    def linear(self, name, outputs):
        weights = _weights(self.rng, (outputs, self.nodes[-1].output.size), self.bits)
        return self.put(name, Linear(weights, _rule(weights.values, self.act, self.act), self.act))


def network(weight_bits: int, act_bits: int, *, signed: bool = False) -> Graph:
    """Every operator, all activations of one width."""
    act = IntType(act_bits, signed)
    chain = _Chain(weight_bits, act, (8, 8, 1))
    chain.conv("one_channel", 12, (3, 3))
    three = chain.conv("point_narrow", 3, (1, 1), pad=(0,) * 4)
    chain.conv("three_channels", 16, (3, 3))
    wide = chain.conv("window", 24, (3, 3))
    chain.conv("odd", 15, (3, 3), stride=(2, 2))
    chain.conv("gaps", 16, (3, 3), dilation=(2, 2), pad=(2,) * 4)
    chain.conv("groups", 16, (3, 3), groups=2)
    chain.conv("point", 32, (1, 1), pad=(0,) * 4)
    left = chain.depthwise("depthwise", 1)
    right = chain.depthwise("depthwise_again", 1)
    ranges = [(act.lo, act.hi)] * 2
    rule = snap_add((0.4, 0.4), ranges, input_zeros=(0, 0), zero=0, lo=act.lo, hi=act.hi)
    chain.put("add", Add(rule, act), left, right)
    chain.depthwise("depthwise_stride", 2)
    chain.put("max", MaxPool2d(Window((2, 2), (1, 1), (1, 1), (0, 0, 1, 1))))
    low, high = np.array([4 * act.lo]), np.array([4 * act.hi])
    rule = snap(np.array([0.2]), np.zeros(1), low, high, zero=0, lo=act.lo, hi=act.hi)
    chain.put("average", AvgPool2d(Window((2, 2), (1, 1), (1, 1), (0, 0, 1, 1)), rule, act))
    chain.put("flat", Reshape((chain.nodes[-1].output.size,)))
    chain.linear("rows", 22)
    chain.linear("few", 7)
    assert three.output.shape[2] == 3 and wide.output.shape[2] == 24
    return graph(*chain.nodes)


@cache
def counts(core: str, weight_bits: int, act_bits: int, signed: bool) -> dict[str, int]:
    """Instructions of every node."""
    try:
        architecture = load_core(core).architecture
        toolchain = find_toolchain(
            "gcc" if architecture == "arm" else None, architecture=architecture
        )
    except ToolError as error:
        pytest.skip(str(error))
    net = network(weight_bits, act_bits, signed=signed)
    with Device(layout(net, get(core), "net"), core, toolchain=toolchain) as device:
        count = device.count(make_inputs(net, samples=1, seed=3, extremes=False))
    assert count is not None
    return {name: region.instructions for name, region in count.nodes.items()}


def rising(core: str, pairs: list[tuple[int, int]], signed: bool) -> list[str]:
    """Nodes that cost more at fewer bits."""
    found = []
    for w, a in pairs:
        for wider_w, wider_a in pairs:
            if w <= wider_w and a <= wider_a and (w, a) != (wider_w, wider_a):
                narrow, wide = (
                    counts(core, *pair, signed) for pair in ((w, a), (wider_w, wider_a))
                )
                found += [
                    f"{name}: w{w}a{a} {narrow[name]}, w{wider_w}a{wider_a} {wide[name]}"
                    for name in narrow
                    if narrow[name] > TOLERANCE * wide[name] + SLACK.get(core, 0)
                ]
    return found


@pytest.mark.parametrize("core", CORES)
def test_fewer_bits_never_cost_instructions(core):
    assert rising(core, FEW, False) == []


@pytest.mark.sweep
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("signed", [False, True])
def test_fewer_bits_never_cost_instructions_at_all_widths(core, signed):
    assert rising(core, ALL, signed) == []


@pytest.mark.parametrize("core", PAYS)
@pytest.mark.parametrize("name", ["window", "point", "rows"])
def test_every_step_down_pays(core, name):
    steps = [counts(core, bits, bits, False)[name] for bits in (8, 4, 2)]
    assert steps[0] > 1.05 * steps[1] and steps[1] > 1.05 * steps[2]
