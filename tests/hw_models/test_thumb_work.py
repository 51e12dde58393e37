# SPDX-License-Identifier: Apache-2.0
"""The work of the kernels without DSP: the form that is counted is the form that is emitted."""

from __future__ import annotations

import numpy as np
import pytest
from nets import Maker, input_node

from adaqat.deploy import IntType
from adaqat.deploy.emit import array_bytes
from adaqat.deploy.kernels import FAMILIES
from adaqat.deploy.ops.weighted import Weights
from adaqat.hw_models.thumb_choice import choose_conv, choose_linear
from adaqat.hw_models.thumb_core import CORES
from adaqat.hw_models.thumb_forms import FieldsShape, usual_grid

PAIRS = [(8, 8), (7, 5), (5, 8), (4, 8), (4, 4), (3, 2), (2, 2), (1, 8), (1, 1)]


class Symmetric(Maker):
    """Weights on the grids of training, no signed multipliers."""

    def weights(self, shape):
        codes = self.rng.integers(1, (1 << self.bits) - 1, shape, endpoint=True).astype(np.uint8)
        if self.bits == 1:
            return Weights(codes, 1, 2, -1)
        return Weights(codes, self.bits, 1, -(1 << (self.bits - 1)))

    def requant(self, values, given, out, zero):
        rule = super().requant(values, given, out, zero)
        return type(rule)(rule.p, rule.bias, np.abs(rule.m), rule.s, rule.z, rule.lo, rule.hi)


def weight_bytes(plan) -> int:
    return array_bytes(plan) - array_bytes(type(plan)("", {}, plan.arrays[1:]))


@pytest.mark.parametrize("family", CORES)
@pytest.mark.parametrize(("weight_bits", "act_bits"), PAIRS)
@pytest.mark.parametrize("signed", [False, True])
def test_stored_bytes_are_those_of_the_plan(family, weight_bits, act_bits, signed):
    act = IntType(act_bits, signed)
    make = Symmetric(1, weight_bits)
    x = input_node((9, 8, 6), act)
    line = input_node((45,), act)
    nodes = [
        (make.conv("three", x, 11, act), x),
        (make.conv("groups", x, 12, act, groups=3), x),
        (make.conv("whole", x, 5, act, kernel=(9, 8), pad=(0,) * 4), x),
        (make.conv("each", x, 12, act, groups=6), x),
        (make.depthwise("depthwise", x, act, stride=(2, 1)), x),
        (make.linear("rows", line, 10, act), line),
    ]
    for node, source in nodes:
        planned = FAMILIES[family].plan(node.op, [source.output], node.output)
        work = node.op.work([source.output], node.output, (family,))
        assert planned is not None
        assert work.stored["byte"] == weight_bytes(planned[0]), node.name


@pytest.mark.parametrize("family", CORES)
@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "dilation"),
    [((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)), ((3, 3), (2, 2), (0, 0, 1, 1), (1, 1)),
     ((5, 6), (1, 1), (2, 2, 2, 3), (1, 1)), ((2, 1), (1, 2), (0, 0, 0, 0), (1, 1)),
     ((3, 2), (1, 1), (2, 2, 2, 2), (2, 3)), ((8, 8), (1, 1), (4, 4, 4, 4), (1, 1))],
)  # fmt: skip
def test_planes_are_those_of_the_planner(family, kernel, stride, pad, dilation):
    x = input_node((9, 11, 3), IntType(8, False))
    node = Maker(0, 4).depthwise("d", x, IntType(8, False), kernel=kernel, stride=stride, pad=pad,
                                 dilation=dilation)  # fmt: skip
    planned = FAMILIES[family].plan(node.op, [x.output], node.output)
    work = node.op.work([x.output], node.output, (family,))
    assert (planned is None) == ("plane" not in work.features)
    if planned is not None:
        words = work.features["plane"]
        assert planned[0].scratch == 16 * -(-words // 4)  # four are padded at a time


@pytest.mark.parametrize("family", CORES)
def test_forms_cost_no_more_at_fewer_bits(family):
    core = CORES[family]
    for depth in (9, 32, 144):
        cost = np.empty((8, 8))
        for w in range(1, 9):
            for a in range(1, 9):
                form = choose_conv(core, usual_grid(w, a, False), 32, 1, depth)
                cost[w - 1, a - 1] = form.cost(core, depth)
        # a choice counts the column's cost and flash too, and binary weights need a sum
        assert (cost[1:-1] <= 1.08 * cost[2:]).all() and (cost[:, :-1] <= 1.08 * cost[:, 1:]).all()


def test_narrow_linear_layers_leave_the_form_of_four_rows():
    for core in CORES.values():
        assert choose_linear(core, usual_grid(8, 8, False), 64, 256) is None
        narrow = choose_linear(core, usual_grid(2, 2, False), 64, 256)
        assert isinstance(narrow, FieldsShape) and narrow.span == 4
