# SPDX-License-Identifier: Apache-2.0
"""How kernel families count work: against plain loops, and against what they leave to others."""

from __future__ import annotations

import pytest

from adaqat.hw_models.edges import edges
from adaqat.hw_models.work import conv2d_work, depthwise_conv2d_work, linear_work

FAMILIES = ("armv6m", "armv7m", "dsp")


@pytest.mark.parametrize(
    ("in_hw", "kernel", "stride", "dilation", "pad"),
    [
        ((5, 6), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
        ((7, 7), (3, 2), (2, 1), (1, 2), (1, 0, 0, 2)),
        ((4, 4), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("pixels", [2, 4])
def test_edges_equal_plain_loops(in_hw, kernel, stride, dilation, pad, pixels):
    out = [
        (in_hw[a] + pad[a] + pad[a + 2] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1
        for a in (0, 1)
    ]
    inside, crossing = [], 0
    for oy in range(out[0]):
        for ox in range(out[1]):
            y0, x0 = oy * stride[0] - pad[0], ox * stride[1] - pad[1]
            last = x0 + dilation[1] * (kernel[1] - 1)
            crosses = x0 < 0 or last >= in_hw[1]
            rows = [y0 + k * dilation[0] for k in range(kernel[0])]
            inside.append(not crosses and rows[0] >= 0 and rows[-1] < in_hw[0])
            crossing += crosses * sum(0 <= row < in_hw[0] for row in rows)
    groups = [inside[i : i + pixels] for i in range(0, len(inside), pixels)]
    touching = sum(not all(group) for group in groups)
    shape = (tuple(out), kernel, stride, dilation, pad, pixels)
    assert edges(in_hw, *shape) == (touching, crossing)


@pytest.mark.parametrize("family", FAMILIES)
def test_macs_do_not_depend_on_the_kernels(family):
    shape = ((8, 7, 5), (8, 7, 6), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    assert conv2d_work(*shape, 1, 4, 8, False, (family,)).macs == conv2d_work(
        *shape, 1, 4, 8, False
    ).macs
    deep = ((8, 7, 6), (8, 7, 6), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 4, 8, False)
    assert depthwise_conv2d_work(*deep, (family,)).macs == depthwise_conv2d_work(*deep).macs
    assert linear_work(30, 7, 4, 8, False, (family,)).macs == 210


def test_grouped_convolutions_count_tiles_group_by_group():
    shape = ((8, 8, 8), (8, 8, 8), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 2, 4, 8, False)
    assert conv2d_work(*shape, ("armv6m",)).features["tile"] == 2 * 16
