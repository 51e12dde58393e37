# SPDX-License-Identifier: Apache-2.0
"""How the DSP kernels count work: by the planner's own forms, and against plain loops."""

from __future__ import annotations

import pytest
from nets import Maker, input_node

from adaqat.deploy import IntType
from adaqat.deploy.emit import layout
from adaqat.deploy.kernels import dsp_packing
from adaqat.deploy.kernels.dsp_runs import runs_of
from adaqat.deploy.targets import get
from adaqat.hw_models.dsp_column import column_of
from adaqat.hw_models.dsp_form import expected_packing
from adaqat.hw_models.dsp_work import border
from adaqat.hw_models.pool_work import pool2d_work
from adaqat.hw_models.taps_form import row_steps, taps_form
from adaqat.hw_models.work import conv2d_work, depthwise_conv2d_work, elementwise_work, linear_work

DSP = ("dsp",)
FAR = (1 << 30, 1 << 30)


@pytest.mark.parametrize(
    ("kernel", "dilation", "groups", "channels"),
    [((3, 3), 1, 1, 3), ((3, 3), 1, 1, 16), ((5, 5), 1, 1, 5), ((3, 2), 2, 1, 6), ((3, 3), 1, 2, 3),
     ((1, 1), 1, 1, 5), ((7, 1), 1, 1, 1), ((3, 3), 1, 1, 65)],
)  # fmt: skip
def test_columns_hold_every_weight_once(kernel, dilation, groups, channels):
    x = input_node((9, 9, channels * groups), IntType(8, False))
    node = Maker(0, 4).conv("c", x, 2 * groups, IntType(8, False), kernel=kernel,
                            dilation=(dilation, dilation), pad=(0, 0, 0, 0), groups=groups)
    column = column_of(kernel, (dilation, dilation), groups, channels)
    runs = runs_of(node.op, column)
    codes = node.op.weights.rows().astype("int64")
    assert runs.order(codes).shape[1] == 4 * column.blocks
    assert sorted(runs.order(codes + 1)[0].tolist()).count(0) == 4 * column.blocks - codes.shape[1]


@pytest.mark.parametrize(
    ("in_hw", "kernel", "stride", "dilation", "pad"),
    [
        ((5, 6), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
        ((7, 7), (3, 2), (2, 1), (1, 2), (1, 0, 0, 2)),
        ((2, 2), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    ],
)
def test_borders_equal_plain_loops(in_hw, kernel, stride, dilation, pad):
    out = tuple(
        (in_hw[a] + pad[a] + pad[a + 2] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1
        for a in (0, 1)
    )
    pixels = []
    for oy in range(out[0]):
        for ox in range(out[1]):
            rows = [oy * stride[0] - pad[0] + k * dilation[0] for k in range(kernel[0])]
            left = ox * stride[1] - pad[1]
            crosses = left < 0 or left + dilation[1] * (kernel[1] - 1) >= in_hw[1]
            outside = sum(not 0 <= row < in_hw[0] for row in rows)
            pixels.append((crosses or outside, (len(rows) - outside) * crosses, outside))
    if len(pixels) % 2:
        pixels.append(pixels[-1])
    tiles = [pixels[i : i + 2] for i in range(0, len(pixels), 2)]
    touching = [tile for tile in tiles if tile[0][0] or tile[1][0]]
    expected = (
        len(touching),
        sum(p[1] for tile in touching for p in tile),
        sum(p[2] for tile in touching for p in tile),
    )
    assert border(in_hw, out, kernel, stride, dilation, pad, FAR) == expected


@pytest.mark.parametrize("weight_bits", range(1, 9))
@pytest.mark.parametrize("act_bits", range(1, 9))
@pytest.mark.parametrize("signed", [False, True])
def test_packings_follow_the_widths(weight_bits, act_bits, signed):
    x = input_node((6, 6, 16), IntType(act_bits, signed))
    make = Maker(3, weight_bits, extreme=True)
    node = make.conv("c", x, 24, IntType(8, False))
    column = column_of((3, 3), (1, 1), 1, 16)
    scheme = dsp_packing.choose(node.op, x.output.type, column)
    expected = expected_packing(weight_bits, act_bits, 24, column, act_signed=signed)
    assert scheme.packing.mode == expected.mode


def test_layers_have_the_kind_whose_code_they_share():
    whole = ((4, 4, 8), (1, 1, 10), (4, 4), (1, 1), (1, 1), (0, 0, 0, 0), 1, 4, 8, False)
    assert conv2d_work(*whole, DSP) == linear_work(128, 10, 4, 8, False, DSP)
    one = ((8, 8, 1), (8, 8, 10), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1, 4, 8, False)
    assert conv2d_work(*one, DSP).kind == "depthwise_conv2d"
    assert conv2d_work(*one, DSP).macs == conv2d_work(*one).macs


def test_macs_do_not_depend_on_the_kernels():
    shape = ((8, 7, 5), (8, 7, 6), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    assert conv2d_work(*shape, 1, 4, 8, False, DSP).macs == conv2d_work(
        *shape, 1, 4, 8, False
    ).macs
    for kernel, out in (((3, 3), (8, 7, 6)), ((5, 5), (6, 5, 6))):
        deep = ((8, 7, 6), out, kernel, (1, 1), (1, 1), (1, 1, 1, 1), 4, 8, False)
        assert depthwise_conv2d_work(*deep, DSP).macs == depthwise_conv2d_work(*deep).macs
    assert linear_work(30, 7, 4, 8, False, DSP).macs == 210


def test_tiles_round_up():
    work = conv2d_work((5, 5, 4), (5, 5, 3), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1, 8, 8, False,
                       DSP)  # fmt: skip
    assert work.features["bytes_tile"] == 13 * 2 and work.stored["channel"] == 4


def test_pools_that_stay_portable_count_as_portable():
    few = ((8, 8, 3), (4, 4, 3), (2, 2), (2, 2), (0, 0, 0, 0), 8, False)
    assert pool2d_work("maxpool2d", *few, DSP) == pool2d_work("maxpool2d", *few)
    long = ((1, 258, 4), (1, 1, 4), (1, 258), (1, 1), (0, 0, 0, 0), 8, False)
    assert pool2d_work("avgpool2d", *long, DSP) == pool2d_work("avgpool2d", *long)
    assert pool2d_work("maxpool2d", *long, DSP) != pool2d_work("maxpool2d", *long)


def test_requantisation_counts_passes_and_what_is_left():
    work = elementwise_work("requantize", 7 * 10, 1, 8, False, 0, 10, DSP)
    assert work.features["straight_pass"] == 10 and work.features["left"] == 30


@pytest.mark.parametrize("columns", range(1, 10))
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 3), (2, 2)])
def test_every_tap_is_multiplied_once(columns, stride, dilation):
    form = taps_form(columns, stride, dilation)
    for together in {form.together, 1}:
        steps = row_steps(form, columns, dilation, together)
        for register in ("r9", "r10")[:together]:
            found = [s for s in steps if s[0].startswith("smla") and s[1] == register]
            taps = sum(2 if s[0] == "smlad" else 1 for s in found)
            assert taps >= columns and taps <= columns + 2


def test_planned_kernels_have_the_names_of_their_forms():
    make = Maker(0, 4)
    x = input_node((12, 1, 6), IntType(8, False))
    node = make.depthwise("lying", x, IntType(8, False), kernel=(9, 1), pad=(4, 0, 4, 0))
    from nets import graph

    plan = layout(graph(x, node), get("cortex-m4"), "net").nodes[-1].plan
    assert "taps1x9" in plan.values["tile"]
