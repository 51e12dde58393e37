# SPDX-License-Identifier: Apache-2.0
"""Activations of 9 to 16 bits: simulator = C on the host and on emulated cores, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
from more_nets import MoreMaker
from nets import Maker, every_operator, graph, input_node

from adaqat.deploy import IntType, Node, UnsupportedError, load, save, simulate, verify
from adaqat.deploy.emit import layout
from adaqat.deploy.ops.base import Window
from adaqat.deploy.ops.source import Reshape
from adaqat.deploy.ops.tflite_weighted import TfliteConv2d, TfliteDepthwiseConv2d, TfliteLinear
from adaqat.deploy.ops.weighted import Weights
from adaqat.deploy.targets import get
from adaqat.deploy.tflite_rule import TfliteRequant, quantize_multipliers
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host
from adaqat.hw_models import load as load_table

S16 = IntType(16, True)


def rule(values: np.ndarray, rounding: str, reach: int, rng: np.random.Generator) -> TfliteRequant:
    """Constants whose results fill 16 bits, with biases as large as ``reach``."""
    count = len(values)
    m, shift = quantize_multipliers(rng.uniform(0.5, 1.5, count) * 30000 / (reach + 2.0**24))
    return TfliteRequant(rng.integers(-reach, reach, count), m, shift, 0, -32768, 32767, rounding)


def wide_tflite(reach: int, bits: int = 8):
    """Every weighted operator with 16-bit activations, sums beyond 32 bits."""
    make = MoreMaker(4, bits, extreme=True)
    rng = make.rng
    x = input_node((7, 6, 80), S16, 0)
    w = make.weights((5, 3, 3, 80))
    conv = TfliteConv2d(w, rule(w.values, "short", reach, rng), S16, Window((3, 3), (2, 1), (1, 1),
                        (1, 1, 1, 1)))  # fmt: skip
    a = Node.make("a", conv, (x,), scale=0.001)
    w = make.weights((10, 3, 2, 1))
    deep = TfliteDepthwiseConv2d(w, rule(w.values, "short", reach, rng), S16, Window((3, 2)))
    b = Node.make("b", deep, (a,), scale=0.001)
    flat = Node.make("flat", Reshape((b.output.size,)), (b,))
    w = make.weights((9, flat.output.size))
    last = TfliteLinear(w, rule(w.values, "long", reach, rng), S16)
    return graph(x, a, b, flat, Node.make("c", last, (flat,), scale=0.001))


@pytest.mark.parametrize("bits", [(8, 16), (5, 13), (1, 9)])
@pytest.mark.parametrize("signed", [True, False])
def test_every_operator(bits: tuple[int, int], signed: bool) -> None:
    net = every_operator(*bits, signed=signed)
    codes = make_inputs(net, samples=24)
    for target in ("c99", "cortex-m4"):
        result = compare_host(layout(net, get(target), "net"), codes)
        assert result.mismatches == 0, result.first


@pytest.mark.parametrize("reach", [1 << 20, 1 << 40])
@pytest.mark.parametrize("bits", [8, 3])
def test_tflite_rounding(reach: int, bits: int, tmp_path) -> None:
    net = wide_tflite(reach, bits)
    assert net["a"].op.long_sums(S16) == (bits == 8)
    codes = make_inputs(net, samples=24)
    result = compare_host(layout(net, get("c99"), "net"), codes)
    assert result.mismatches == 0, result.first
    assert reach > 1 << 30 or len(np.unique(simulate(net, codes))) > 20
    save(net, tmp_path / "n.adaqat")
    assert load(tmp_path / "n.adaqat").model_id == net.model_id


def test_emulated_cores() -> None:
    net = wide_tflite(1 << 40)
    codes = make_inputs(net, samples=6)
    for core in ("cortex-m0plus", "cortex-m4"):
        report = verify(net, core, codes, executor="emulator")
        assert report.mismatches == 0, report.verify


def test_no_cost_is_guessed() -> None:
    net = every_operator(8, 16, signed=True)
    table = load_table("cortex-m4")
    assert not any(table.predicts(work) for _, work in net.works(table.kernels)
                   if work.act_bits > 8)  # fmt: skip


def test_what_does_not_fit_is_refused() -> None:
    make = Maker(0, 8, extreme=True)
    x = input_node((700,), S16)
    codes = np.full((2, 700), 255, np.uint8)
    weights = Weights(codes, 8, 1, -128)
    last = make.linear("last", x, 2, S16)
    op = type(last.op)(weights, last.op.requant, S16)
    with pytest.raises(UnsupportedError, match=r"accumulator can reach .*; int32 holds"):
        graph(x, Node.make("last", op, (x,)))
    image = input_node((4, 4, 2), S16)
    with pytest.raises(UnsupportedError, match="16-bit activations; 1 to 8 bits are supported by"):
        graph(image, MoreMaker(0, 4).conv_transpose("up", image, 2, IntType(8, True)))
