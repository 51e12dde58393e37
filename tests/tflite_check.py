# SPDX-License-Identifier: Apache-2.0
"""Comparisons with LiteRT's reference kernels, of files that were read and of written ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from nets import Maker, graph, input_node

from adaqat.deploy import IntType, Node
from adaqat.deploy.emit import layout
from adaqat.deploy.frontends.tflite import read_tflite
from adaqat.deploy.frontends.tflite_export import tflite_bytes
from adaqat.deploy.litert import compare_export, compare_with_litert
from adaqat.deploy.ops.add import Add
from adaqat.deploy.ops.mul import Mul, product_range
from adaqat.deploy.ops.upsample import UpsampleBilinear, denominators
from adaqat.deploy.requant import snap, snap_add
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host


def equal(data: bytes, folder, codes=None, host: bool = True) -> None:
    """LiteRT = simulator = host C for a file, in every tensor."""
    path = folder / "m.tflite"
    path.write_bytes(data)
    found = read_tflite(path)
    codes = make_inputs(found.graph, samples=20) if codes is None else codes
    entry = compare_with_litert(path, codes, found)
    assert entry["values"] > 0 and entry["mismatches"] == 0, entry
    if host:
        result = compare_host(layout(found.graph, get("c99"), "net"), codes)
        assert result.mismatches == 0, result.first


def differences(net, samples: int = 12) -> dict:
    data, exported = tflite_bytes(net)
    assert set(exported.tensors) == {node.name for node in net.nodes}
    found = compare_export(net, data, exported, make_inputs(net, samples=samples))
    assert found["values"] == samples * sum(node.output.size for node in net.nodes)
    return found


def exact(net, samples: int = 12) -> None:
    found = differences(net, samples)
    assert found["differences"] == 0, {n: v for n, v in found["nodes"].items() if v["differences"]}


def joined(act: IntType, *, sign: int = 1):
    """A sum, a product and a bilinear upsampling whose scales are those of the tensors."""
    make = Maker(2, 8)
    zero = 3 if act.signed else 0
    x = input_node((4, 5, 6), act, zero)
    y = make.conv("y", x, 6, act, kernel=(1, 1), pad=(0, 0, 0, 0))
    y = replace(y, output=replace(y.output, scale=0.08))
    infos, grids = [x.output, y.output], [(i.type.lo, i.type.hi) for i in (x.output, y.output)]
    rule = snap_add([0.05 / 0.1, sign * 0.08 / 0.1], grids, input_zeros=[i.zero for i in infos],
                    zero=zero, lo=act.lo, hi=act.hi)  # fmt: skip
    total = Node.make("total", Add(rule, act), (x, y), scale=0.1, zero=zero)
    ends = product_range(infos, (infos[0].zero, infos[1].zero))
    factor = snap(np.array([0.05 * 0.08 / 0.03]), np.zeros(1), np.array([ends[0]]),
                  np.array([ends[1]]), zero=zero, lo=act.lo, hi=act.hi)  # fmt: skip
    product = Node.make("product", Mul((infos[0].zero, infos[1].zero), factor, act), (x, y),
                        scale=0.03, zero=zero)  # fmt: skip
    size, out = (8, 10), []
    for name, grid in (("fine", 0.1), ("finer", 0.09)):
        count = denominators(total.output.shape, size, False)
        edges = (np.array([count * act.lo]), np.array([count * act.hi]))
        gain = 0.1 / grid / count
        soft = snap(np.array([gain]), np.array([-gain * count * zero]), *edges, zero=zero,
                    lo=act.lo, hi=act.hi)  # fmt: skip
        out.append(Node.make(name, UpsampleBilinear(size, 0, soft, act), (total,), scale=grid,
                             zero=zero))  # fmt: skip
    return graph(x, y, total, product, *out)
