# SPDX-License-Identifier: Apache-2.0
"""Pools and requantisation with the DSP extension: every width, window form and channel count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node
from adaqat.deploy.emit import layout
from adaqat.deploy.errors import ToolError
from adaqat.deploy.kernels import dsp_pool
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.pool2d import MaxPool2d
from adaqat.deploy.targets import get
from adaqat.deploy.toolchain import find_toolchain
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host


def maxpool(name, source, kernel, stride, pad=(0, 0, 0, 0)):
    op = MaxPool2d(Window(kernel, stride, (1, 1), pad))
    return Node.make(name, op, (source,), scale=source.output.scale, zero=source.output.zero)


def largest(bits, *, signed, channels=9):
    """Windows inside and across the border, straight and in loops, wider than the image."""
    x = input_node((13, 11, channels), IntType(bits, signed), 1 if signed and bits > 1 else 0)
    a = maxpool("border", x, (3, 3), (1, 1), (1, 1, 1, 1))
    b = maxpool("uneven", a, (2, 3), (1, 2), (1, 0, 0, 2))
    c = maxpool("tall", b, (5, 1), (1, 1))
    d = maxpool("small", c, (2, 2), (2, 1))
    e = maxpool("wide", d, (3, 6), (1, 1), (2, 3, 1, 4))
    f = maxpool("loop", e, (4, 4), (1, 1), (0, 0, 0, 0))
    return graph(x, a, b, c, d, e, f, maxpool("whole", f, f.output.shape[:2], (1, 1)))


def sums(bits, *, signed, channels=9, seed=0):
    """The same for averages, and requantisation between them; outputs signed and unsigned."""
    make = Maker(seed, 8, zero=1 if signed and bits > 1 else 0)
    act = IntType(bits, signed)
    x = input_node((13, 11, channels), act, make.zero)
    a = make.avgpool("border", x, act, kernel=(3, 3), stride=(1, 1), pad=(1, 1, 1, 1))
    b = make.requantize("same", a, act)
    c = make.avgpool("uneven", b, act, kernel=(2, 3), stride=(1, 2), pad=(1, 0, 0, 2))
    d = make.avgpool("small", c, act, kernel=(2, 2), stride=(2, 1))
    e = make.avgpool("wide", d, act, kernel=(3, 6), stride=(1, 1), pad=(2, 3, 1, 4))
    f = make.avgpool("loop", e, act, kernel=(4, 4), stride=(1, 1))
    g = make.requantize("other", f, IntType(7, not signed))
    h = make.avgpool("whole", g, act, kernel=g.output.shape[:2])
    return graph(x, a, b, c, d, e, f, g, h, make.requantize("few", h, act))


def tiny(bits, *, signed, channels=4):
    """Images narrower than their windows."""
    x = input_node((1, 2, channels), IntType(bits, signed))
    a = maxpool("a", x, (2, 3), (1, 1), (1, 1, 1, 1))
    b = Maker(0, 8).avgpool("b", a, IntType(bits, signed), kernel=(3, 3), pad=(1, 1, 1, 1),
                            stride=(2, 1))  # fmt: skip
    return graph(x, a, b)


MAKERS = [largest, sums, tiny]


def check_everywhere(net, codes, core="cortex-m4", **more):
    pytest.importorskip("unicorn")
    from adaqat.deploy.device import Device

    model = layout(net, get("cortex-m4"), "net")
    host = compare_host(model, codes).result()
    assert host.mismatches == 0, host.first_mismatch
    tally = Tally(model, core)
    with Device(model, core, **more) as device:
        tally.add(codes, device.trace(codes))
    assert tally.mismatches == 0, tally.first


@pytest.mark.thinned(2)
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("make", MAKERS)
def test_every_width(make, bits, signed):
    net = make(bits, signed=signed)
    check_everywhere(net, make_inputs(net, samples=12, seed=bits))


@pytest.mark.parametrize("channels", [3, 4, 5, 7, 8])
@pytest.mark.parametrize("make", MAKERS)
def test_channel_counts(make, channels):
    net = make(8, signed=True, channels=channels)
    check_everywhere(net, make_inputs(net, samples=8))


@pytest.mark.parametrize(
    ("compiler", "optimise"), [("gcc", "-O3"), ("gcc", "-Os"), ("zig", "-Os"), ("zig", "-O3")]
)
@pytest.mark.parametrize("make", MAKERS)
def test_compilers_and_cores(make, compiler, optimise):
    try:
        toolchain = find_toolchain(compiler)
    except ToolError as error:
        pytest.skip(str(error))
    net = make(6, signed=True)
    codes = make_inputs(net, samples=6)
    check_everywhere(net, codes, "cortex-m33", toolchain=toolchain, optimise=optimise)


def test_constants_per_channel_and_narrow_clamps():
    net = sums(5, signed=True)

    def change(rule):
        dead = np.arange(len(rule.m)) % 3 == 1
        return replace(rule, m=np.where(dead, 0, rule.m), bias=np.where(dead, 0, rule.bias),
                       z=np.where(dead, rule.lo + 1, rule.z), lo=rule.lo + 1,
                       hi=rule.hi - 1)  # fmt: skip

    nodes = [
        replace(n, op=replace(n.op, requant=change(n.op.requant)))
        if n.op.kind == "requantize" else n
        for n in net.nodes
    ]  # fmt: skip
    net = graph(*nodes)
    check_everywhere(net, make_inputs(net, samples=8))


def all_top(taps):
    """One average of ``taps`` positions, and an input that holds the largest code everywhere."""
    make = Maker(0, 8)
    x = input_node((1, taps, 4), IntType(8, False))
    net = graph(x, make.avgpool("sum", x, IntType(8, False), kernel=(1, taps)))
    return net, np.full((1, *net.input_node.output.shape), 255, np.uint8)


def test_sums_are_as_long_as_half_words_hold_and_no_longer(monkeypatch):
    net, codes = all_top(257)
    model = layout(net, get("cortex-m4"), "net")
    assert "65535 <= 65535" in str(model.nodes[-1].plan.proof)
    check_everywhere(net, codes)
    longer, codes = all_top(258)
    assert layout(longer, get("cortex-m4"), "net").nodes[-1].plan.template == "avgpool2d"
    # one position more than proven
    monkeypatch.setattr(dsp_pool, "largest_sum", lambda type_, taps: (0, 1))
    model = layout(longer, get("cortex-m4"), "net")
    assert compare_host(model, codes).result().mismatches > 0
