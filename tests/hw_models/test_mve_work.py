# SPDX-License-Identifier: Apache-2.0
"""Work of the MVE kernels: bytes of constants as emitted, counts as the loops run them."""

from __future__ import annotations

import pytest
from mve_nets import dense, planes

from adaqat.deploy.emit import array_bytes, layout
from adaqat.deploy.targets import get
from adaqat.hw_models.mve_geometry import rounds_of, taps_of
from adaqat.hw_models.mve_storage import (
    BYTES,
    CONV_TILE,
    SLOWER,
    SLOWER_YET,
    Storage,
    apart_bytes,
    apart_cost,
    conv_storage,
    linear_storage,
)
from adaqat.hw_models.work import conv2d_work, depthwise_conv2d_work, linear_work

MVE = ("mve",)


@pytest.mark.parametrize("make", [dense, planes])
@pytest.mark.parametrize("weight_bits", [8, 4, 2])
def test_constants_as_emitted(make, weight_bits):
    net = make(weight_bits, 8, signed=False)
    model = layout(net, get("cortex-m55"), "net")
    works = dict(net.works(MVE))
    for node in model.nodes:
        work = works[node.node.name]
        if work.weight_bits and not (work.kind == "depthwise_conv2d" and weight_bits == 8):
            assert work.const_bytes == array_bytes(node.plan), node.node.name


def test_macs_do_not_depend_on_the_kernels():
    shape = ((8, 7, 5), (8, 7, 6), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    assert conv2d_work(*shape, 1, 4, 8, False, MVE).macs == conv2d_work(
        *shape, 1, 4, 8, False
    ).macs
    deep = ((8, 7, 6), (8, 7, 6), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 4, 8, False)
    assert depthwise_conv2d_work(*deep, MVE).macs == depthwise_conv2d_work(*deep).macs
    assert linear_work(30, 7, 4, 8, False, MVE).macs == 210


def test_steps_and_tiles_of_a_convolution():
    work = conv2d_work(
        (16, 16, 16), (16, 16, 32), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1, 8, 8, False, MVE
    )
    # 128 pixel pairs, 8 channel quads, 9 vectors of 16 inputs; 60 of 256 windows cross the border
    assert work.features["tile"] == 128 * 8 and work.features["step"] == 128 * 8 * 9
    assert work.features["edge_column"] == 60 and "round" not in work.features
    # 32 of their 180 rows lie above or below the image; in 2 of 16 columns of outputs, 46 rows
    # cross a side
    assert work.features["edge_outside"] == 32 and work.features["edge_run"] == 148
    assert work.features["edge_cross"] == 92


def test_codes_share_a_byte_only_where_it_costs_next_to_nothing():
    some, plenty = (4, 2), 1 << 20
    # a 1x1 of 32 inputs and 256 pixels; one of four pairs of pixels; no memory; channel groups
    assert conv_storage(2, 8, 128, 1, 16384, some) == Storage(4, apart=True)
    assert conv_storage(2, 8, 4, 1, plenty, some) == BYTES
    assert conv_storage(2, 8, 128, 1, 2 * apart_bytes(2, 8) - 1, some) == BYTES
    assert conv_storage(2, 8, 128, 2, 16384, some) == BYTES
    # long columns: what takes sums apart is hardly seen, though the codes would not fit
    assert conv_storage(36, 16, 32, 1, 8192, some) == Storage(4)
    assert conv_storage(15, 16, 32, 1, 8192, some) == Storage(2)
    # many weights and few pixels: packing saves more than it costs
    assert conv_storage(8, 32, 18, 1, 9216, (2,)) == Storage(2)
    assert conv_storage(8, 32, 18, 1, 9216, ()) == BYTES
    assert [linear_storage(steps, some).fields for steps in (1, 2, 8, 16)] == [1, 2, 4, 4]
    assert [rounds_of(steps) for steps in (1, 9, 10, 17, 18)] == [0, 0, 1, 2, 2]


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 12, 17, 40])
@pytest.mark.parametrize("tiles", [1, 4, 32])
@pytest.mark.parametrize("pairs", [1, 8, 40, 512])
@pytest.mark.parametrize("values", [1024, 9216, 65536])
def test_no_storage_costs_more_than_it_may(steps, tiles, pairs, values):
    cost = pairs * (tiles * CONV_TILE.cost(steps) + 40 + 8 * steps)
    for counts in ((4, 2), (2,)):
        found = conv_storage(steps, tiles, pairs, 1, values, counts)
        if found.apart:
            assert tiles * apart_cost(steps, found.fields) <= (SLOWER - 1) * cost
            assert 2 * apart_bytes(steps, tiles) <= values
        else:
            limit = SLOWER_YET if tiles * 64 * steps >= 8192 else SLOWER
            assert pairs * tiles * CONV_TILE.mixed(found.fields) <= (limit - 1) * cost + 1e-6


def test_windows_too_wide_for_a_patch_are_left_to_the_portable_kernel():
    assert taps_of((4, 4, 1), 24, (1, 20), (1, 1), (1, 1), 1) is None
    wide = ((4, 23, 1), (4, 4, 1), (1, 20), (1, 1), (1, 1), (0, 0, 0, 0), 4, 8, False)
    assert depthwise_conv2d_work(*wide, MVE) == depthwise_conv2d_work(*wide)
