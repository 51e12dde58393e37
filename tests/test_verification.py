# SPDX-License-Identifier: Apache-2.0
"""Verification itself: it finds a wrong integer, says where, and counts what it compared."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from nets import every_operator

from adaqat.deploy import UsageError, render, verify
from adaqat.deploy.emit import layout
from adaqat.deploy.simulate import simulate
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import Tally, compare_host


@pytest.fixture(scope="module")
def net():
    return every_operator(4, 4, signed=False)


def test_host_report_counts_every_integer(net):
    codes = make_inputs(net, samples=30)
    seen = []
    report = verify(net, "cortex-m4", codes, progress=lambda *state: seen.append(state))
    sizes = [n.output.size for n in net.nodes if n.op.kind not in ("input", "reshape")]
    entry = report.verify[0]
    assert entry["values"] == 30 * (sum(sizes) + net.output_node.output.size)
    assert (entry["samples"], entry["mismatches"], report.mismatches) == (30, 0, 0)
    assert seen[-1] == (30, 30)
    assert [row["name"] for row in report.nodes] == [
        n.name for n in net.nodes if n.op.kind not in ("input", "reshape")
    ]


def test_floats_are_quantised_by_the_input_rule(net):
    floats = np.random.default_rng(0).uniform(-0.2, 1.0, (4, 5, 7, 6))
    assert verify(net, "c99", floats).mismatches == 0


@pytest.mark.parametrize("template", ["c/helpers/requant.c.j2", "c/helpers/dot.c.j2"])
def test_an_off_by_one_in_the_number_core_is_found(net, monkeypatch, template):
    original = render.environment()
    source = original.loader.get_source(original, template)[0]
    broken = source.replace("(s - 17u)", "(s - 16u)").replace("sum = 0;", "sum = 1;")
    assert broken != source
    overlay = original.overlay()
    loader = original.loader

    class Loader(type(loader)):
        def __init__(self):
            pass

        def get_source(self, environment, name):
            if name == template:
                return broken, name, lambda: True
            return loader.get_source(environment, name)

    overlay.loader = Loader()
    overlay.cache = {}
    monkeypatch.setattr(render, "environment", lambda: overlay)
    model = layout(net, get("c99"), "net")
    monkeypatch.setattr("adaqat.deploy.host.STRICT", ())
    # the self test fails first; look past it at the nodes
    text = render.environment().get_template("c/tools/host_shim.c.j2")
    assert text is not None
    monkeypatch.setattr(
        "adaqat.deploy.host.sources", lambda m, v: _without_self_test(m, v)
    )
    tally = compare_host(model, make_inputs(net, samples=24))
    assert tally.mismatches > 0
    assert tally.first is not None and tally.first["node"] == "stem"
    assert tally.first["expected"] != tally.first["found"]


def _without_self_test(model, vector):
    from adaqat.deploy.emit import sources

    texts = sources(model, vector)
    name = f"{model.name}_self_test.c"
    texts[name] = (
        f'#include "{model.name}.h"\n{model.name}_status_t {model.name}_self_test('
        f"{model.name}_ctx_t *c) {{ (void)c; return {model.name.upper()}_OK; }}\n"
    )
    return texts


def test_first_mismatch_names_node_sample_and_index(net):
    codes = make_inputs(net, samples=3)
    model = layout(net, get("c99"), "net")
    kept = simulate(net, codes, keep=True)
    order = [n.node.name for n in model.nodes] + [net.output]
    trace = np.concatenate(
        [kept[name].reshape(3, -1).view(np.uint8).reshape(3, -1) for name in order], axis=1
    )
    tally = Tally(model, "host")
    tally.add(codes, trace)
    assert tally.mismatches == 0
    sizes = [net[name].output.size for name in order]
    trace = trace.copy()
    trace[2, sizes[0] + 5] ^= 1  # second node, sixth value
    other = Tally(model, "host")
    other.add(codes, trace)
    assert other.mismatches == 1
    assert other.first["node"] == order[1]
    assert (other.first["sample"], other.first["index"]) == (2, 5)
    assert other.first["expected"] == other.first["found"] ^ 1


def test_counts_from_the_emulated_core(net):
    pytest.importorskip("unicorn")
    report = verify(net, "cortex-m4", make_inputs(net, samples=8), executor="emulator")
    assert report.mismatches == 0
    assert report.totals["instructions"] > report.totals["cycles"] / 3
    nodes = sum(row["instructions"] for row in report.nodes)
    assert 0 <= report.totals["instructions"] - nodes < 300  # the run function between the nodes
    assert report.totals["stack_bytes"] > 0 and report.totals["code_bytes"] > 500
    assert report.target["core"] == "cortex-m4" and report.target["compiler"]


@pytest.mark.parametrize(
    ("target", "executor", "message"),
    [
        ("cortex-m9", "host", "'cortex-m9' is unknown; known targets: .*cortex-m4"),
        ("cortex-m4", "gpu", "executor: 'gpu' is unknown; host, emulator, qemu and the cores"),
        ("c99", "emulator", "target c99 names no core"),
    ],
)
def test_unknown_names(net, target, executor, message):
    with pytest.raises(UsageError, match=message):
        verify(net, target, make_inputs(net, samples=1), executor=executor)


def test_no_samples(net):
    with pytest.raises(UsageError, match="no samples"):
        verify(net, "c99", make_inputs(net, samples=0))


@pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="QEMU is not installed")
@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_qemu_is_a_second_opinion_on_the_same_image(net, target):
    report = verify(net, target, make_inputs(net, samples=10), executor="qemu")
    assert report.mismatches == 0
    assert report.verify[0]["executor"] == f"{target} in QEMU"
    assert report.totals["instructions"] is None, "QEMU counts nothing"
