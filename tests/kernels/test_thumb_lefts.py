# SPDX-License-Identifier: Apache-2.0
"""What whole words leave over of a window's rows shares words on Cortex-M0+ and M3."""

from __future__ import annotations

import pytest
from nets import Maker, graph, input_node
from thumb_nets import TARGETS

from adaqat.deploy import IntType
from adaqat.deploy.device import Device
from adaqat.deploy.emit import layout
from adaqat.deploy.kernels import FAMILIES, thumb_conv
from adaqat.deploy.kernels.thumb_forms import fields_forms
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host
from adaqat.hw_models import thumb_forms

# image, kernel, padding, dilation
GEOMETRIES = [
    ((7, 9, 3), (3, 3), (1, 1, 1, 1), (1, 1)),
    ((6, 6, 3), (3, 3), (0, 0, 0, 0), (1, 1)),
    ((9, 8, 6), (2, 2), (2, 0, 1, 3), (2, 2)),
    ((8, 5, 5), (4, 1), (1, 0, 2, 0), (1, 1)),
    ((5, 7, 13), (2, 1), (0, 0, 0, 0), (3, 1)),
]
BITS = [(2, 2), (1, 1), (3, 2), (2, 3), (1, 5)]


def layer(geometry, bits, *, signed=False, extreme=False):
    """A network of one convolution, padded with a code of 1."""
    shape, kernel, pad, dilation = geometry
    act = IntType(bits[1], signed)
    zero = 0 if bits[1] == 1 else 1
    x = input_node(shape, act, zero)
    make = Maker(sum(shape) + bits[1], bits[0], extreme=extreme, zero=zero)
    node = make.conv("layer", x, 7, IntType(8, signed), kernel=kernel, pad=pad, dilation=dilation)
    return graph(x, node)


def mismatches(net, target, *, samples=7) -> int:
    """Wrong integers on the host and on the core."""
    model = layout(net, get(target), "net")
    codes = make_inputs(net, samples=samples)
    tally = Tally(model, target)
    with Device(model, target) as device:
        tally.add(codes, device.trace(codes))
    return compare_host(model, codes).mismatches + tally.mismatches


def gathered(net, target) -> bool:
    node = net["layer"]
    planned = FAMILIES[get(target).kernels[0]].plan(node.op, net.inputs_of(node), node.output)
    assert planned is not None
    return "l" in planned[0].values["driver"].removeprefix("conv_")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_layers_with_lefts_are_exact(target, geometry):
    pytest.importorskip("unicorn")
    first, found = GEOMETRIES.index(geometry), 0
    for number in range(first, first + 3):
        net = layer(geometry, BITS[number % 5], signed=number % 2 == 1, extreme=number % 3 == 0)
        found += gathered(net, target)
        assert mismatches(net, target) == 0, BITS[number % 5]
    assert found  # where another form is no better


@pytest.mark.parametrize("target", TARGETS)
def test_longer_runs_would_carry_between_lanes(target, monkeypatch):
    # 3 words and 2 lefts of 63 in a lane of 8 bits: refused, and wrong if it were not
    pytest.importorskip("unicorn")
    net = layer(((5, 6, 7), (3, 2), (0, 0, 0, 0), (1, 1)), (1, 6), extreme=True)

    def four_in_a_word(core, weights, source, *_):
        return next(form for form in fields_forms(core, weights, source) if form.span == 4)

    monkeypatch.setattr(thumb_conv, "choose", four_in_a_word)
    assert not gathered(net, target)
    assert mismatches(net, target) == 0

    def allowed(core, form, runs, run):
        return isinstance(form, thumb_forms.FieldsShape) and form.span == 4

    for module in (thumb_forms, thumb_conv):
        monkeypatch.setattr(module, "gathers_lefts", allowed)
    assert gathered(net, target)
    assert mismatches(net, target) != 0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("signed", [False, True])
def test_three_channels_cost_like_four(target, signed):
    pytest.importorskip("unicorn")
    cost = []
    for channels in (3, 4):
        geometry = ((32, 32, channels), (3, 3), (1, 1, 1, 1), (1, 1))
        net = layer(geometry, (2, 2), signed=signed)
        with Device(layout(net, get(target), "net"), target) as device:
            count = device.count(make_inputs(net, samples=1))
        assert count is not None
        cost.append(count.nodes["layer"].instructions / channels)
    assert cost[0] <= 1.3 * cost[1]
