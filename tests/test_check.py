# SPDX-License-Identifier: Apache-2.0
"""Structural rules and the accumulator proof."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nets import Maker, every_operator, graph, input_node

from adaqat.deploy import Graph, IntType, Node, UnsupportedError, check, simulate
from adaqat.deploy.emit import layout
from adaqat.deploy.ops.linear import Linear
from adaqat.deploy.ops.weighted import Weights, accumulator_bounds
from adaqat.deploy.requant import snap
from adaqat.deploy.targets import get
from adaqat.deploy.verification import compare_host


def wide_linear(inputs: int) -> tuple[Node, Node]:
    """A linear layer whose sum of code products is the largest possible for its inputs."""
    x = input_node((inputs,), IntType(8, False))
    codes = np.full((1, inputs), 255, np.uint8)
    weights = Weights(codes, 8, 2, -255)
    low, high = accumulator_bounds(weights.values, x.output.type)
    rule = snap(np.array([255 / high[0]]), np.zeros(1), low, high, zero=0, lo=0, hi=255)
    return x, Node.make("fc", Linear(weights, rule, IntType(8, False)), (x,), source="model.fc")


def test_the_longest_sum_that_fits_is_exact_in_c():
    # 2 * 255 * 255 * 16512 = 2147385600 <= 2^31 - 1; one group of eight more does not fit
    x, fc = wide_linear(16512)
    net = graph(x, fc)
    codes = np.full((2, 16512), 255, np.uint8)
    codes[1, 0] = 0
    expected = int(codes[0].astype(int).sum()) * 255
    assert fc.op.accumulator(x.output.type)[1][0] == expected
    model = layout(net, get("c99"), "net")
    assert compare_host(model, codes).mismatches == 0


def test_a_longer_sum_is_refused_with_node_and_bound():
    x, fc = wide_linear(16520)
    with pytest.raises(UnsupportedError, match=r"model\.fc: sum of code products can reach 21484"):
        graph(x, fc)


def test_bounds_are_reached_and_never_exceeded():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.integers(-128, 128, (3, 20))
        type_ = IntType(int(rng.integers(1, 9)), bool(rng.integers(2)))
        low, high = accumulator_bounds(values, type_)
        best = np.where(values > 0, type_.hi, type_.lo)
        worst = np.where(values > 0, type_.lo, type_.hi)
        assert np.array_equal((values * best).sum(1), high)
        assert np.array_equal((values * worst).sum(1), low)


def test_every_broken_rule_is_listed_at_once():
    net = every_operator(4, 4, signed=False)
    broken = []
    for node in net.nodes:
        if node.name in ("stem", "last"):
            info = replace(node.output, scale=-1.0)
            node = replace(node, output=info, source=f"net.{node.name}")
        broken.append(node)
    with pytest.raises(UnsupportedError) as caught:
        check(net.with_nodes(tuple(broken)))
    assert [p.split(":")[0] for p in caught.value.problems] == ["net.stem", "net.last"]
    assert str(caught.value).startswith("2 problems in this model:")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda nodes: [*nodes, nodes[-1]], "name used twice"),
        (lambda nodes: [nodes[1], nodes[0]], "before it exists"),
        (lambda nodes: nodes[1:], "an input in position|reads 'x'"),
    ],
)
def test_structure(change, message):
    x = input_node((4, 4, 2), IntType(4, False))
    nodes = [x, Maker(0, 4).conv("c", x, 2, IntType(4, False))]
    with pytest.raises(UnsupportedError, match=message):
        check(Graph("t", tuple(change(nodes)), "c"))


def test_missing_output():
    x = input_node((4, 4, 2), IntType(4, False))
    node = Maker(0, 4).conv("c", x, 2, IntType(4, False))
    with pytest.raises(UnsupportedError, match="'y' is no node"):
        check(Graph("t", (x, node), "y"))


def test_declared_type_must_be_the_computed_one():
    x = input_node((4, 4, 2), IntType(4, False))
    node = Maker(0, 4).conv("c", x, 2, IntType(4, False))
    wrong = replace(node, output=replace(node.output, type=IntType(5, False)))
    with pytest.raises(UnsupportedError, match=r"declared u5 .* but computes u4"):
        check(Graph("t", (x, wrong), "c"), after="some_pass")


def test_names_of_people_do_not_change_the_model_id():
    net = every_operator(4, 4, signed=False)
    renamed = net.with_nodes(tuple(replace(n, source="elsewhere") for n in net.nodes))
    assert renamed.model_id == net.model_id
    assert every_operator(4, 4, signed=False, seed=1).model_id != net.model_id


def test_simulate_keeps_every_node_on_request():
    net = every_operator(4, 4, signed=False)
    from adaqat.deploy.vectors import make_inputs

    codes = make_inputs(net, samples=3)
    kept = simulate(net, codes, keep=True)
    assert set(kept) == {node.name for node in net.nodes}
    assert np.array_equal(kept[net.output], simulate(net, codes))
    for node in net.nodes:
        assert kept[node.name].shape == (3, *node.output.shape)
        assert node.output.type.contains(kept[node.name])
