# SPDX-License-Identifier: Apache-2.0
"""Every operator at every pair of widths: simulator = host C = emulated Cortex-M4 and M0+.

RISC-V runs the portable C that the host test proves at every pair, so it gets a part of them.
"""

from __future__ import annotations

import numpy as np
import pytest
from more_nets import every_other_operator, tflite_operators
from nets import Maker, every_operator

from adaqat.deploy import IntType, simulate
from adaqat.deploy.emit import layout
from adaqat.deploy.ops import REGISTRY
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host

PAIRS = [(w, a) for w in range(1, 9) for a in range(1, 9)]
RISCV_PAIRS = [(w, a) for w, a in PAIRS if a - w in (0, 1, 7, -7)]


def test_the_networks_hold_every_operator():
    nets = (
        every_operator(4, 4, signed=False),
        every_other_operator(4, 4, signed=False),
        tflite_operators(),
    )
    assert {node.op.kind for net in nets for node in net} == set(REGISTRY)


@pytest.mark.thinned(4)
@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize(("weight_bits", "act_bits"), PAIRS)
def test_host(weight_bits, act_bits, kind):
    signed, extreme = kind % 2 == 1, kind // 2 == 1
    net = every_operator(weight_bits, act_bits, signed=signed, extreme=extreme, seed=weight_bits)
    model = layout(net, get("c99"), "net")
    result = compare_host(model, make_inputs(net, samples=24, seed=act_bits)).result()
    assert result.values > 5000
    assert result.mismatches == 0, result.first_mismatch


@pytest.mark.parametrize("act_bits", range(1, 9))
def test_host_further_operators(act_bits):
    # weights meet only the transposed convolution here, so their widths go along
    for signed in (False, True):
        net = every_other_operator(
            9 - act_bits, act_bits, signed=signed, extreme=act_bits % 2 == 0, seed=act_bits
        )
        result = compare_host(layout(net, get("c99"), "net"), make_inputs(net, samples=24)).result()
        assert result.mismatches == 0, result.first_mismatch


@pytest.mark.parametrize("weight_bits", [4, 8])
def test_host_tflite(weight_bits):
    for extreme in (False, True):
        net = tflite_operators(weight_bits, extreme=extreme, seed=weight_bits)
        result = compare_host(layout(net, get("c99"), "net"), make_inputs(net, samples=60)).result()
        assert result.mismatches == 0, result.first_mismatch


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m0plus", "riscv32"])
def test_emulated_further_operators(core):
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device

    for net in (
        every_other_operator(3, 8, signed=True),
        every_other_operator(8, 3, signed=False),
        tflite_operators(extreme=True),
    ):
        model = layout(net, get(core), "net")
        codes = make_inputs(net, samples=8)
        tally = Tally(model, core)
        with Device(model, core) as device:
            tally.add(codes, device.trace(codes))
        assert tally.mismatches == 0, tally.first


def test_nodes_with_the_same_text_stay_functions_of_their_own():
    # GCC would join them, and the counts of one of them would be lost
    pytest.importorskip("unicorn")
    from nets import graph, input_node

    from adaqat.deploy import Node, verify
    from adaqat.deploy.ops.slice import Slice

    x = input_node((4, 4, 2), IntType(8, True))
    twice = [Node.make(n, Slice((1, 1, 0), (2, 2, 2), (1, 1, 1)), (x,)) for n in ("a", "b")]
    net = graph(x, *twice, Maker(0, 4).add("sum", twice, IntType(8, True)))
    report = verify(net, "cortex-m4", make_inputs(net, samples=3), executor="emulator")
    assert report.mismatches == 0
    assert all(row["instructions"] for row in report.nodes)
    # no table has a price for a slice yet, so there is no prediction of the whole either
    assert report.totals["predicted_cycles"] is None or report.nodes[0]["predicted_cycles"]


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    ("core", "weight_bits", "act_bits"),
    [(core, *pair) for pair in PAIRS for core in ("cortex-m4", "cortex-m0plus")]
    + [("riscv32", *pair) for pair in RISCV_PAIRS],
)
def test_emulated(core, weight_bits, act_bits):
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device

    signed = (weight_bits + act_bits) % 2 == 0
    extreme = (weight_bits + act_bits) % 4 < 2
    net = every_operator(weight_bits, act_bits, signed=signed, extreme=extreme, seed=act_bits)
    model = layout(net, get(core), "net")
    codes = make_inputs(net, samples=12, seed=weight_bits)
    tally = Tally(model, core)
    with Device(model, core) as device:
        tally.add(codes, device.trace(codes))
    assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize(("weight_bits", "act_bits"), [(1, 1), (2, 4), (8, 8)])
def test_outputs_use_their_range(weight_bits, act_bits):
    # a test whose outputs all sit at the clamps would hide wrong sums
    net = every_operator(weight_bits, act_bits, signed=False, seed=2)
    kept = simulate(net, make_inputs(net, samples=24), keep=True)
    inside = [
        np.mean((kept[n.name] > n.output.type.lo) & (kept[n.name] < n.output.type.hi))
        for n in net.nodes
        if n.op.weight_bits and n.output.type.bits > 2
    ]
    assert np.mean(inside) > 0.3
