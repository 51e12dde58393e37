# SPDX-License-Identifier: Apache-2.0
"""Planes of strided depthwise layers on cores without DSP: two channels gathered together."""

from __future__ import annotations

import pytest
from nets import Maker, graph, input_node
from thumb_nets import TARGETS

from adaqat.deploy import IntType
from adaqat.deploy import device as devices
from adaqat.deploy.emit import layout
from adaqat.deploy.errors import ToolError
from adaqat.deploy.kernels import FAMILIES
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host

# image, kernel, stride, padding (top, left, bottom, right), dilation, outputs of a channel
GEOMETRIES = [
    ((16, 16, 4), (3, 3), (2, 2), (0, 0, 1, 1), (1, 1), 1),
    ((9, 11, 6), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    ((8, 8, 2), (3, 3), (2, 2), (1, 0, 0, 1), (1, 1), 2),
    ((7, 10, 4), (3, 3), (2, 2), (0, 1, 0, 0), (1, 1), 1),
    ((12, 5, 8), (3, 3), (2, 1), (0, 0, 0, 0), (1, 1), 1),
    ((6, 13, 4), (3, 3), (1, 2), (2, 2, 2, 2), (1, 1), 1),
    ((5, 6, 4), (5, 5), (2, 2), (3, 4, 4, 3), (1, 1), 1),
    ((3, 2, 6), (3, 3), (2, 2), (2, 2, 2, 2), (1, 1), 3),
    ((11, 12, 4), (2, 2), (3, 3), (0, 0, 0, 0), (1, 1), 1),
    ((12, 9, 4), (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    ((10, 14, 2), (3, 2), (2, 3), (2, 1, 2, 1), (2, 2), 1),
    ((4, 3, 254), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    ((8, 1, 4), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    ((2, 9, 4), (3, 3), (2, 2), (5, 1, 5, 1), (1, 1), 1),
]  # fmt: skip
CORES = [*TARGETS, "riscv32"]
BITS = [(8, 8), (8, 7), (4, 8), (2, 2), (5, 3), (1, 1)]


def layer(geometry, bits, *, signed=False, extreme=False, zero=None):
    """A network of one strided depthwise layer, padded with a code of 1 where there are many."""
    shape, kernel, stride, pad, dilation, multiplier = geometry
    act = IntType(bits[1], signed)
    if zero is None:
        zero = 1 if bits[1] > 2 else 0
    make = Maker(sum(shape), bits[0], extreme=extreme, zero=zero)
    x = input_node(shape, act, zero)
    node = make.depthwise("layer", x, act, kernel=kernel, stride=stride, pad=pad,
                          dilation=dilation, multiplier=multiplier)  # fmt: skip
    return graph(x, node)


def paired(net, target) -> bool:
    node = net["layer"]
    family = FAMILIES[get(target).kernels[0]]
    planned = family.plan(node.op, net.inputs_of(node), node.output)
    return planned is not None and planned[0].values["paired"]


@pytest.mark.thinned(2)
@pytest.mark.parametrize("target", CORES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_strided_layers_are_exact(target, geometry):
    pytest.importorskip("unicorn")
    first = GEOMETRIES.index(geometry)
    for number in range(first, first + 3):
        bits, signed = BITS[number % 6], number % 2 == 1
        net = layer(geometry, bits, signed=signed, extreme=number % 3 == 0)
        model = layout(net, get(target), "net")
        codes = make_inputs(net, samples=7, seed=number)
        tally = compare_host(model, codes)
        assert tally.mismatches == 0, (bits, tally.first)
        tally = Tally(model, target)
        with devices.Device(model, target) as device:
            tally.add(codes, device.trace(codes))
        assert tally.mismatches == 0, (bits, tally.first)


def test_what_is_gathered_in_pairs():
    for geometry in GEOMETRIES:
        one_column = geometry[0][1] == 1
        assert paired(layer(geometry, (8, 8)), "cortex-m0plus")
        assert paired(layer(geometry, (8, 8)), "cortex-m3") != one_column
        assert paired(layer(geometry, (8, 8), signed=True), "cortex-m3") != one_column
        # with one register for sign bits and constants sums are centred, where that pays
        few = geometry in (GEOMETRIES[4], GEOMETRIES[6])
        assert paired(layer(geometry, (8, 8), signed=True), "cortex-m0plus") != few
        assert paired(layer(geometry, (4, 2), signed=True), "cortex-m0plus")
        for signed in (False, True):
            assert paired(layer(geometry, (8, 8), signed=signed), "riscv32") != one_column
    # an odd channel would be left over, and where windows overlap much memory counts for more
    for shape, stride in (((16, 16, 5), (2, 2)), ((16, 16, 4), (1, 1))):
        usual = (shape, (3, 3), stride, (1, 1, 1, 1), (1, 1), 1)
        assert not any(paired(layer(usual, (8, 8)), target) for target in CORES)
    wide = ((3, 4, 256), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1)
    assert paired(layer(wide, (8, 8)), "cortex-m0plus")
    # no load steps over 256 bytes
    assert not any(paired(layer(wide, (8, 8)), target) for target in ("cortex-m3", "riscv32"))


@pytest.mark.parametrize("target", ["cortex-m0plus", "riscv32"])
@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("signed", [False, True])
def test_an_odd_address_is_read_byte_by_byte(signed, checked, target, monkeypatch):
    pytest.importorskip("unicorn")
    from adaqat.deploy.emulate import emulate

    net = layer(GEOMETRIES[1], (8, 8), signed=signed)
    assert paired(net, target)
    model = layout(net, get(target), "net")
    emitted, size = devices.sources, net.input_node.output.bytes_

    def moved(*given):
        """The emitted files, the layer reading a copy of its input at an odd address."""
        texts = dict(emitted(*given))
        call = "net_n0_layer(input,"
        test = "if (((uintptr_t)from & 1u) == 0u)"
        # where borders are assembly, too, they have a test of their own
        assert call in texts["net.c"]
        assert texts["net.c"].count(test) == 1 + (signed and target == "cortex-m0plus")
        text = texts["net.c"].replace(call, "net_n0_layer(net_odd(input),")
        if not checked:
            text = text.replace(test, "if (from != 0)")
        copy = (
            f"static uint32_t net_words[{size // 4 + 2}];\n"
            "static const net_input_t *net_odd(const net_input_t *in)\n{\n"
            "    uint8_t *const to = (uint8_t *)net_words + 1;\n"
            f"    for (uint32_t i = 0u; i < {size}u; ++i) {{\n        to[i] = in[i];\n    }}\n"
            "    return to;\n}\n"
        )
        texts["net.c"] = text.replace("net_status_t net_run(", copy + "net_status_t net_run(")
        return texts

    monkeypatch.setattr(devices, "sources", moved)
    codes = make_inputs(net, samples=5)
    tally = Tally(model, target)
    with devices.Device(model, target) as device:
        image = device.image(tap=False)
        run = (image, device.core, codes[:1].tobytes(), "net_run")
        if not checked:  # the counter-test: half-words at odd addresses are refused
            with pytest.raises(ToolError, match="unaligned"):
                emulate(*run, check_alignment=True)
            with pytest.raises(ToolError, match="unaligned"):
                device.trace(codes)  # so does every verification
            return
        assert emulate(*run, check_alignment=True).status == 0
        tally.add(codes, device.trace(codes))
    assert tally.mismatches == 0, tally.first


@pytest.mark.parametrize("target", [*CORES, "cortex-m4"])
@pytest.mark.parametrize("bits", [(8, 8), (8, 5), (5, 8), (4, 8), (2, 2)])
@pytest.mark.parametrize(("zero", "signed"), [(0, False), (1, False), (0, True)])
def test_strides_cost_at_most_a_third_more(target, bits, zero, signed):
    # instructions per multiply-accumulate, against the same layer at stride 1
    pytest.importorskip("unicorn")
    cost = []
    for stride, pad in (((1, 1), (1, 1, 1, 1)), ((2, 2), (0, 0, 1, 1))):
        net = layer(((16, 16, 32), (3, 3), stride, pad, (1, 1), 1), bits, signed=signed, zero=zero)
        model = layout(net, get(target), "net")
        with devices.Device(model, target) as device:
            count = device.count(make_inputs(net, samples=1))
        assert count is not None
        cost.append(count.nodes["layer"].instructions / net["layer"].output.size)
    assert cost[1] <= 1.3 * cost[0]
