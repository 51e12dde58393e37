# SPDX-License-Identifier: Apache-2.0
"""Results over the inputs they replace: the planner, the proof of the order, and its limits."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Maker, every_operator, graph, input_node

from adaqat.deploy import IntType, ToolError
from adaqat.deploy.emit import layout
from adaqat.deploy.kernels.compact_order import window_distance
from adaqat.deploy.memory import Buffer, plan_memory
from adaqat.deploy.memory_overlap import Overlap, plan_overlapping
from adaqat.deploy.ops.base import Window
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host

TARGETS = ("c99", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m33")

chains = st.lists(
    st.tuples(st.integers(1, 400), st.integers(0, 3), st.integers(-50, 450)), min_size=2, max_size=9
)


def problem(rows):
    """Buffers in a chain, and overlaps of neighbours where the first one dies."""
    buffers = [Buffer(f"b{i}", size, i, i + 1 + extra) for i, (size, extra, _) in enumerate(rows)]
    overlaps = [
        Overlap(a.name, b.name, max(distance, -a.size))
        for a, b, (_, extra, distance) in zip(buffers, buffers[1:], rows, strict=False)
        if extra == 0
    ]
    return buffers, overlaps


@settings(max_examples=40, deadline=None)
@given(chains)
def test_only_legal_overlaps(rows):
    buffers, overlaps = problem(rows)
    plan = plan_overlapping(buffers, overlaps)
    legal = {(o.early, o.late): o.distance for o in overlaps}
    for i, a in enumerate(buffers):
        assert plan.offsets[a.name] % 4 == 0
        assert plan.offsets[a.name] + a.size <= plan.size
        for b in buffers[i + 1 :]:
            if not a.meets(b):
                continue
            start_a, start_b = plan.offsets[a.name], plan.offsets[b.name]
            apart = start_a + a.size <= start_b or start_b + b.size <= start_a
            assert apart or start_a - start_b >= legal[a.name, b.name]
    assert plan.lower_bound <= plan.size <= plan_memory(buffers).size
    assert plan == plan_overlapping(buffers, overlaps)


def test_the_exact_plan_of_a_chain():
    # each result starts 8 below its input, so three of them need 16 bytes more than one
    buffers = [Buffer(f"t{i}", 100, i, i + 1) for i in range(3)]
    overlaps = [Overlap(f"t{i}", f"t{i + 1}", 8) for i in range(2)]
    plan = plan_overlapping(buffers, overlaps)
    assert (plan.size, plan.lower_bound) == (116, 116)


WINDOWS = [
    (Window((3, 3), pad=(1, 1, 1, 1)), (6, 5, 4), 4),
    (Window((3, 3), (2, 2), (1, 1), (0, 0, 1, 1)), (7, 6, 2), 6),
    (Window((1, 1)), (4, 4, 3), 7),
    (Window((1, 1)), (4, 4, 8), 2),
    (Window((2, 3), (1, 2), (2, 1), (2, 1, 0, 2)), (6, 7, 3), 5),
    (Window((5, 1), (3, 1), (1, 1), (4, 0, 4, 0)), (9, 3, 1), 2),
]


def first_clash(window, source, outputs, distance, read_first):
    """The first step that overwrites a byte still to be read, None where all is well."""
    height, width, channels = source
    rows, columns = window.out_hw((height, width))
    top = [oy * window.stride[0] - window.pad[0] for oy in range(rows)]
    left = [ox * window.stride[1] - window.pad[1] for ox in range(columns)]
    reads = []
    for oy in range(rows):
        for ox in range(columns):
            inside = {
                (y * width + x) * channels + c
                for ky in range(window.kernel[0])
                for kx in range(window.kernel[1])
                for c in range(channels)
                if 0 <= (y := top[oy] + ky * window.dilation[0]) < height
                and 0 <= (x := left[ox] + kx * window.dilation[1]) < width
            }
            reads.append(inside)
    for step in range(len(reads)):
        later = set().union(*reads[step + read_first :])
        written = {k - distance for k in range((step + 1) * outputs)}
        if written & later:
            return step
    return None


@pytest.mark.parametrize(("window", "source", "outputs"), WINDOWS)
@pytest.mark.parametrize("read_first", [False, True])
def test_the_order_is_safe_and_the_distance_is_not_loose(window, source, outputs, read_first):
    rows, columns = window.out_hw(source[:2])
    result = (rows, columns, outputs)
    distance = window_distance(window, source, result, read_first=read_first)
    assert first_clash(window, source, outputs, distance, read_first) is None
    # a dilated or strided window may skip the byte that the proof counts, but not a whole pixel row
    closer = distance - source[1] * source[2] * max(window.stride) - outputs
    assert first_clash(window, source, outputs, closer, read_first) is not None


def in_place_chain():
    make, act = Maker(5, 8), IntType(8, False)
    x = input_node((8, 8, 8), act)
    a = make.conv("a", x, 8, act)
    b = make.conv("b", a, 8, act)
    c = make.depthwise("c", b, act)
    d = make.conv("d", c, 8, act, kernel=(1, 1), pad=(0, 0, 0, 0))
    return graph(x, a, b, c, d, make.conv("e", d, 2, act))


@pytest.mark.parametrize("setting", ["size", "ram"])
def test_negative_control_one_step_closer_is_wrong(setting):
    net = in_place_chain()
    model = layout(net, get("c99"), "net", setting)
    offsets = model.memory.offsets
    plans = {node.node.name: node.plan for node in model.nodes}
    codes = make_inputs(net, samples=8)
    assert compare_host(model, codes).mismatches == 0
    # the tensors do lie over each other, no further than proved
    for early, late in (("a", "b"), ("b", "c"), ("c", "d")):
        gap = offsets[early] - offsets[late]
        assert plans[late].overlaps[0] <= gap < net[late].output.bytes_
    # half the distance: c overwrites bytes of b that it still reads, and the self test sees it
    near = offsets["c"] // 4 + (offsets["b"] - offsets["c"]) // 8
    moved = tuple(place.replace(f"words[{offsets['c'] // 4}]", f"words[{near}]")
                  for place in model.nodes[2].call)  # fmt: skip
    assert moved != model.nodes[2].call
    nodes = list(model.nodes)
    nodes[2] = dataclasses.replace(nodes[2], call=moved, result=moved[1])
    follow = (moved[1].replace("(uint8_t *)", "(const uint8_t *)"), *nodes[3].call[1:])
    nodes[3] = dataclasses.replace(nodes[3], call=follow)
    with pytest.raises(ToolError, match="net_self_test returned -2"):
        compare_host(dataclasses.replace(model, nodes=tuple(nodes)), codes)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("weight_bits", "act_bits"), [(8, 8), (4, 8), (2, 2)])
def test_ram_is_never_above_the_other_settings(target, weight_bits, act_bits):
    for net in (every_operator(weight_bits, act_bits, signed=False),
                every_operator(weight_bits, act_bits, signed=True), in_place_chain()):
        used = {
            setting: layout(net, get(target), "net", setting).memory.size
            for setting in ("speed", "size", "ram")
        }
        assert used["ram"] <= min(used.values()), used


def test_no_scratch_where_a_kernel_without_exists():
    model = layout(in_place_chain(), get("cortex-m4"), "net", "ram")
    alone = layout(in_place_chain(), get("cortex-m4"), "net", "size")
    assert sum(node.plan.scratch for node in alone.nodes) > 0
    # scratch memory is left only where it does not enlarge the arena
    free = max(node.bytes_ for node in model.nodes)
    assert model.memory.size < alone.memory.size or model.memory.size < free + 300
