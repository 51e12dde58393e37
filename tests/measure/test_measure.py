# SPDX-License-Identifier: Apache-2.0
"""Measuring a target, its file, and whether shipped tables predict networks they never saw."""

from pathlib import Path

import numpy as np
import pytest

from adaqat import hw_models
from adaqat.deploy import targets
from adaqat.deploy.check import check
from adaqat.deploy.device import Device
from adaqat.deploy.emit import layout
from adaqat.deploy.errors import ToolError, UsageError
from adaqat.deploy.graph import Graph, Node
from adaqat.deploy.measure import measure, measure_tables, measure_targets
from adaqat.deploy.measured_cases import (
    CONVOLUTIONS,
    MEASURED,
    OUT,
    _requant,
    _weighted,
    _weights,
    _window,
    cases,
)
from adaqat.deploy.ops.add import Add
from adaqat.deploy.ops.conv2d import Conv2d
from adaqat.deploy.ops.depthwise_conv2d import DepthwiseConv2d
from adaqat.deploy.ops.linear import Linear
from adaqat.deploy.ops.pool2d import AvgPool2d
from adaqat.deploy.ops.source import Input, Reshape
from adaqat.deploy.requant import snap_add
from adaqat.deploy.table_file import table_text
from adaqat.deploy.table_record import template_hash
from adaqat.deploy.toolchain import find_toolchain
from adaqat.deploy.types import IntType
from adaqat.deploy.vectors import make_inputs
from adaqat.hw_models import HwModel, load_table

U8 = IntType(8, False)


@pytest.fixture(autouse=True)
def needs_a_compiler() -> None:
    try:
        find_toolchain()
    except ToolError as error:
        pytest.skip(str(error))


def test_small_measurement_round_trips_through_its_file(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    table = measure(
        "cortex-m0plus", lambda done, total: calls.append((done, total)), ["linear"], (4,)
    )
    path = tmp_path / "cortex-m0plus.toml"
    path.write_text(table_text(table))
    model = load_table(path)
    assert model.table == table
    assert model.kinds() == ("linear",)
    assert calls[-1] == (calls[-1][1], calls[-1][1]) and len(calls) == calls[-1][1]
    # Kernels that do not depend on the activation width share one row.
    assert model.widths("linear").act_bits == tuple(range(1, 9))
    assert 2 <= len(table.row) < 2 * 8
    # the smallest layers (6 inputs) carry the largest errors
    assert max(row.median_error[0] for row in table.row) < 0.05
    assert max(row.max_error[0] for row in table.row) < 0.25
    provenance = table.provenance
    assert provenance.template_sha256 == template_hash(hw_models.load_core("cortex-m0plus").kernels)
    assert provenance.timing_sha256 == hw_models.timing_hash("cortex-m0plus")
    assert "/" not in provenance.flags


def test_measuring_twice_gives_the_same_rows() -> None:
    first, second = (measure("cortex-m4", kinds=["add"]) for _ in range(2))
    assert first.row == second.row


def test_every_case_is_a_valid_network() -> None:
    for case in cases():
        for type_ in (U8, IntType(8, True), IntType(1, False), IntType(2, True)):
            graph = check(case.build(type_, 4))
            assert graph.output == MEASURED
            assert dict(graph.works())[MEASURED].kind == case.kind
    assert len({(case.kind, case.label) for case in cases()}) == len(cases())
    assert len(CONVOLUTIONS) >= 12


def test_messages(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no folder .*create it first"):
        measure_targets(["cortex-m4"], tmp_path / "none" / "table.toml")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot hold measured counts .*--no-cache"):
        measure_tables(["cortex-m4"], cache=tmp_path / "file" / "cache", kinds=["add"])
    with pytest.raises(ToolError, match="cross compiler: 'tcc' was asked for"):
        measure_tables(["cortex-m4"], compiler="tcc", kinds=["add"])


def small_network(bits: tuple[int, int, int, int]) -> Graph:
    """Six nodes whose shapes are not among the measured ones."""
    nodes = [Node.make("input", Input((10, 10, 4), U8, "NHWC"), ())]

    def conv(name: str, source: Node, outputs: int, kernel: int, stride: int, width: int) -> Node:
        weights = _weights((outputs, kernel, kernel, source.output.shape[2]), width)
        op = Conv2d(weights, _weighted(weights, U8), OUT, _window(kernel, stride, kernel // 2))
        nodes.append(Node.make(name, op, (source,)))
        return nodes[-1]

    first = conv("first", nodes[0], 16, 3, 1, bits[0])
    second = conv("second", first, 16, 3, 1, bits[1])
    rule = snap_add((0.7, 0.6), [(0, 255)] * 2, input_zeros=(0, 0), zero=0, lo=0, hi=255)
    nodes.append(Node.make("add", Add(rule, OUT), (first, second)))
    weights = _weights((16, 3, 3, 1), bits[2])
    depthwise = DepthwiseConv2d(weights, _weighted(weights, U8), OUT, _window(3, 2, 1))
    nodes.append(Node.make("depthwise", depthwise, (nodes[-1],)))
    last = conv("pointwise", nodes[-1], 24, 1, 1, bits[3])
    low, high = np.array([0]), np.array([25 * 255])
    nodes.append(Node.make("pool", AvgPool2d(_window(5, 5, 0), _requant(low, high), OUT), (last,)))
    nodes.append(Node.make("flat", Reshape((24,)), (nodes[-1],)))
    weights = _weights((10, 24), bits[3])
    nodes.append(Node.make("fc", Linear(weights, _weighted(weights, U8), OUT), (nodes[-1],)))
    return check(Graph("small", tuple(nodes), "fc"))


@pytest.mark.parametrize("bits", [(8, 8, 8, 8), (4, 2, 8, 4), (1, 3, 5, 7)])
@pytest.mark.parametrize("target", hw_models.names())
def test_shipped_table_predicts_an_unseen_network(
    target: str, bits: tuple[int, int, int, int]
) -> None:
    model: HwModel = hw_models.load(target)
    core = hw_models.load_core(model.table.core)
    toolchain = find_toolchain(architecture=core.architecture)
    if toolchain.version != model.table.provenance.compiler_version:
        pytest.skip(f"the table was measured with {model.table.provenance.compiler_version}")
    graph = small_network(bits)
    model_c = layout(graph, targets.get(target), "small")
    with Device(model_c, core.name, toolchain=toolchain) as device:
        count = device.count(make_inputs(graph, samples=2, seed=5, extremes=False))
    if count is None:
        pytest.skip(f"{core.name} cannot be counted on this machine")
    predicted = [node.cost for node in model.cost(graph)]
    assert sum(c.instructions for c in predicted) == pytest.approx(
        count.total.instructions, rel=0.05
    )
    if model.has_cycles:
        cycles = sum(c.cycles or 0.0 for c in predicted)
        assert cycles == pytest.approx(count.total.cycles, rel=0.06)
    else:
        assert all(c.cycles is None for c in predicted)


TABLES = sorted((Path(hw_models.__file__).parent / "tables").glob("*.toml"), key=lambda p: p.name)


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.stem)
def test_shipped_tables_were_measured_from_the_templates_of_today(path: Path) -> None:
    table = hw_models.load_table(path).table
    name = path.name.split(".")[0]
    assert table.kernels == targets.get(name).kernels
    assert table.provenance.template_sha256 == template_hash(table.kernels), (
        f"measure again: adaqat measure --target {name}"
    )
