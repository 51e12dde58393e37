# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import reference
from more_nets import MoreMaker
from nets import graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, simulate
from adaqat.deploy.ops.upsample import UpsampleNearest, denominators, taps
from adaqat.deploy.vectors import make_inputs


@pytest.mark.parametrize("size", [(8, 6), (5, 13), (4, 3)])
def test_upsample_nearest_copies(size):
    x = input_node((4, 3, 2), IntType(8, True))
    net = graph(x, Node.make("u", UpsampleNearest(size), (x,)))
    codes = make_inputs(net, samples=8)
    result = simulate(net, codes)
    for y, z in np.ndindex(*size):
        assert np.array_equal(result[:, y, z], codes[:, y * 4 // size[0], z * 3 // size[1]])


def position(i: int, size: int, out: int, corners: bool) -> Fraction:
    if corners:
        return Fraction(i * (size - 1), max(out - 1, 1))
    return max(Fraction(2 * i + 1, 2) * Fraction(size, out) - Fraction(1, 2), Fraction(0))


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("size", [(8, 6), (7, 11), (1, 1)])
def test_upsample_bilinear_is_the_fraction(size, corners):
    x = input_node((4, 3, 2), IntType(8, True), zero=5)
    node = MoreMaker(0, 4).bilinear("u", x, IntType(8, True), size, corners)
    net = graph(x, node)
    codes = make_inputs(net, samples=8)
    result = simulate(net, codes)
    factor = denominators((4, 3, 2), size, bool(corners))
    for n, y, z, c in np.ndindex(*result.shape):
        py, pz = position(y, 4, size[0], corners), position(z, 3, size[1], corners)
        total = Fraction(0)
        for dy in (0, 1):
            for dz in (0, 1):
                wy = py - floor(py) if dy else 1 - py + floor(py)
                wz = pz - floor(pz) if dz else 1 - pz + floor(pz)
                a, b = min(floor(py) + dy, 3), min(floor(pz) + dz, 2)
                total += wy * wz * int(codes[n, a, b, c])
        assert (total * factor).denominator == 1
        assert result[n, y, z, c] == reference.requant(int(total * factor), node.op.requant, 0)


def test_weights_sum_to_the_denominator_and_stay_inside():
    for size, out in ((1, 7), (3, 7), (5, 10), (9, 4)):
        for corners in (False, True):
            low, high, weight, denominator = taps(size, out, corners)
            assert (0 <= low).all() and (high < size).all()
            assert (0 <= weight).all() and (weight < denominator).all()


def test_empty_sizes_are_refused():
    x = input_node((4, 3, 2), IntType(8, True))
    with pytest.raises(UnsupportedError, match=r"upsample_nearest: from \(4, 3, 2\) to \(0, 3\)"):
        Node.make("u", UpsampleNearest((0, 3)), (x,))
