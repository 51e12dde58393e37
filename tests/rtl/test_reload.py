# SPDX-License-Identifier: Apache-2.0
"""Another network written into a circuit, over AXI4-Lite: its integers, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import pytest
from circuit_cases import simulator
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, save
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.rtl.circuit import plan_circuit
from adaqat.deploy.rtl.emit import beats_of
from adaqat.deploy.rtl.goals import Goals
from adaqat.deploy.rtl.plan import Fold
from adaqat.deploy.rtl.project import _vectors, project
from adaqat.deploy.rtl.reload import address_map, folder_design, reloaded, stores, writes
from adaqat.deploy.rtl.reload_project import bench_texts
from adaqat.deploy.rtl.tools import call, verilator
from adaqat.deploy.rtl.verification import verify_circuit
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs

icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None or shutil.which("make") is None,
    reason="iverilog or make is not installed",
)
SCORES = IntType(8, True)
FOLDS = {"conv": Fold(3, 2), "depth": Fold(2), "fc": Fold(2, 5), "pool": Fold(2)}


def net(seed, *, out=SCORES, weight_bits=3, extreme=False, pool_seed=1):
    """Thresholds (3 bits) and multipliers (8 bits), shared and lanewise layers, a pool between."""
    make = Maker(seed, weight_bits, extreme=extreme)
    x = input_node((5, 6, 3), IntType(3, False))
    conv = make.conv("conv", x, 6, IntType(3, False))
    depth = make.depthwise("depth", conv, IntType(8, False), stride=(2, 2))
    pool = Maker(pool_seed, 3).avgpool("pool", depth, IntType(4, False), kernel=(3, 1))
    flat = Node.make("flat", Reshape((pool.output.size,)), (pool,))
    return graph(x, conv, depth, pool, flat, make.linear("fc", flat, 5, out))


def reloadable(network, target="fpga"):
    """Its circuit, at foldings that are not all divisors."""
    goals = replace(Goals.of(get(target)), reload=True)
    return plan_circuit(network, get(target), "net", goals, FOLDS)


def emitted(folder, circuit):
    """The folder's files, without its search for foldings."""
    for name, text in project(circuit).items():
        (folder / name).write_text(text)
    return folder


def bench(folder, circuit, other, frames=3):
    """The emitted bench with another network's vectors."""
    codes = make_inputs(circuit.design.graph, samples=frames, seed=1, extremes=False)
    texts = bench_texts(
        circuit, other, codes, lambda out: _vectors(beats_of(out, circuit.design.output),
                                                    circuit.design.output), 20_000,
    )  # fmt: skip
    for name, text in texts.items():
        if name not in ("Makefile", "README.md"):
            (folder / name).write_text(text)
    return subprocess.run(["make", "-C", folder, "sim-reload"], capture_output=True, text=True)


@icarus
@pytest.mark.parametrize("target", ["fpga-ice40", "fpga-ecp5"])
def test_another_network_s_integers_after_writing_it(target, tmp_path):
    circuit = reloadable(net(1), target)
    out = emitted(tmp_path, circuit)
    # as emitted: the same network with its channels moved
    done = subprocess.run(["make", "-C", out, "sim", "sim-reload"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("\nPASS") == 2, done.stdout + done.stderr
    # other weights, all extreme
    done = bench(out, circuit, net(2, extreme=True))
    assert done.returncode == 0 and "PASS" in done.stdout, done.stdout + done.stderr
    # one wrong bit in what is written: a high one of the last layer's first factor
    store = next(s for s in stores(circuit.design)
                 if (s.module.node.name, s.rom.name) == ("fc", "scale"))  # fmt: skip
    bit = store.module.plan.values["rescale"]["m_bits"] - 4
    lines = (out / "net_reload.hex").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if int(line[:8], 16) == 4 * store.base)
    lines[at] = f"{int(lines[at], 16) ^ 1 << bit:016x}"
    (out / "net_reload.hex").write_text("\n".join(lines) + "\n")
    done = subprocess.run(["make", "-C", out, "sim-reload"], capture_output=True, text=True)
    assert done.returncode != 0 and "FAIL" in done.stdout


@simulator
@pytest.mark.sweep
@pytest.mark.parametrize("target", ["fpga-ice40", "fpga-ecp5"])
def test_a_circuit_that_can_be_written_computes_the_same_in_the_same_cycles(target, tmp_path):
    circuit = reloadable(net(3), target)
    report = verify_circuit(circuit, make_inputs(net(3), samples=12))
    assert report.mismatches == 0, report.verify[0]["first_mismatch"]


@simulator
def test_lint_finds_nothing(tmp_path):
    folder = emitted(tmp_path, reloadable(net(1)))
    tool = verilator()
    call([tool.command, "--lint-only", "-Wall", "--top-module", "net", "net.v"], "lint",
         tool.environment, folder)  # fmt: skip


def test_regions_do_not_overlap_and_hold_every_word():
    design = reloadable(net(1)).design
    seen = set()
    for store in stores(design):
        size = 1 << (store.bits + store.piece_bits)
        assert store.base % size == 0
        region = set(range(store.base, store.base + size))
        assert not region & seen
        seen |= region
        assert store.rom.depth << store.piece_bits <= size
        assert store.pieces * 32 >= store.rom.width > (store.pieces - 1) * 32
    addresses = [address for address, _ in writes(design)]
    assert len(set(addresses)) == len(addresses)
    assert {address // 4 for address in addresses} <= seen
    stated = address_map(design)
    assert 4 * max(seen) < 1 << stated["address_bits"]
    assert {m["layer"] for m in stated["memories"]} == {"conv", "depth", "fc"}


def test_the_memories_do_not_depend_on_the_weights():
    """Every literal of a layer is that of its shapes and types."""
    one, two = reloadable(net(1)).design, reloadable(net(1)).design
    other = reloaded(one, net(4, extreme=True))
    assert [m.plan.values for m in other.modules] == [m.plan.values for m in two.modules]
    assert list(writes(other)) != list(writes(one))


def test_what_cannot_be_written_is_named():
    design = reloadable(net(1)).design
    with pytest.raises(UnsupportedError, match=r"fc: linear of s7 \[5\] where the circuit has"):
        reloaded(design, net(1, out=IntType(7, True)))
    with pytest.raises(UnsupportedError, match=r"pool: avgpool2d with other constants"):
        reloaded(design, net(1, pool_seed=9))
    with pytest.raises(UnsupportedError, match=r"conv: conv2d with other constants"):
        reloaded(design, net(1, weight_bits=4))
    fixed = plan_circuit(net(1), get("fpga"), "net", folds=FOLDS).design
    with pytest.raises(UnsupportedError, match=r"emitted with --reloadable-weights"):
        reloaded(fixed, net(2))
    wide = net(1)
    last = wide.nodes[-1]
    rule = last.op.requant
    steep = replace(last, op=replace(last.op, requant=replace(rule, s=rule.s - 8)))
    with pytest.raises(UnsupportedError, match=r"fc: requantisation: factors of \d+"):
        reloaded(design, wide.with_nodes((*wide.nodes[:-1], steep)))


def test_the_command_prints_the_writes(tmp_path, run_python):
    folder = emitted(tmp_path, reloadable(net(1)))
    save(net(1), folder / "model.adaqat")
    assert json.loads((folder / "net_reload.json").read_text())["layout"]
    save(net(2), folder / "other.adaqat")
    done = run_python("-m", "adaqat.deploy.rtl.reload", folder, folder / "other.adaqat")
    assert done.returncode == 0, done.stderr
    wanted = [f"{a:08x} {w:08x}" for a, w in writes(reloaded(folder_design(folder), net(2)))]
    assert done.stdout.split("\n")[:-1] == wanted
    done = run_python("-m", "adaqat.deploy.rtl.reload", folder / "no", folder / "other.adaqat")
    assert done.returncode == 2 and "--reloadable-weights" in done.stderr
