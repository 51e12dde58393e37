# SPDX-License-Identifier: Apache-2.0
"""Tables and narrow clamps in .tflite files: CAST, ADD, GATHER, MINIMUM, MAXIMUM."""

from __future__ import annotations

import numpy as np
import pytest
from more_nets import MoreMaker
from nets import graph, input_node
from tflite_check import equal
from tflite_models import TfMaker

from adaqat.deploy import IntType, UnsupportedError, export_tflite, import_tflite, simulate
from adaqat.deploy.frontends.tflite import read_tflite
from adaqat.deploy.frontends.tflite_export import tflite_bytes
from adaqat.deploy.vectors import make_inputs

ALL = np.arange(-128, 128, dtype=np.int8).reshape(1, 256)


@pytest.mark.parametrize("act", ["s8", "u8", "u3", "s4"])
def test_what_the_export_writes_is_read_again(act, tmp_path):
    type_ = IntType.parse(act)
    make = MoreMaker(5, 4, zero=1 if type_.signed else 0)
    x = input_node((6, 5, 4), type_, 1 if type_.signed else 0)
    layer = make.conv("layer", x, 4, type_)
    one = make.lookup("one", layer, type_)
    four = make.lookup("four", one, type_, rows=4)
    again = make.requantize("again", four, type_)
    net = graph(x, layer, one, four, again)
    data, exported = tflite_bytes(net)
    codes = make_inputs(net, samples=12).astype(np.int64) + exported.shifts["x"]
    equal(data, tmp_path, codes.astype(np.int8))
    export_tflite(net, tmp_path / "b.tflite")
    found = simulate(read_tflite(tmp_path / "b.tflite").graph, codes.astype(np.int8), keep=True)
    wanted = simulate(net, make_inputs(net, samples=12), keep=True)
    name = read_tflite(tmp_path / "b.tflite").tensors[exported.tensors["again"]]
    values = wanted["again"].astype(np.int64) + exported.shifts["again"]
    # only the layer rounds otherwise, so most of the tables' results are the same
    assert (values == found[name]).mean() > 0.9


@pytest.mark.parametrize("name", ["MINIMUM", "MAXIMUM"])
@pytest.mark.parametrize("limit", [-128, -7, 0, 93, 127])
def test_limits(name, limit, tmp_path):
    make = TfMaker(1)
    x, y = make.tensor([1, 256], 0.04, 3), make.tensor([1, 256], 0.04, 3)
    end = make.tensor([1], 0.04, 3, data=np.array([limit], np.int8))
    make.op(name, [x, end], y, 2, options="MaximumMinimumOptions")
    equal(make.data(x, y), tmp_path, ALL)


def gathered(*, start=128, length=256, kind="int32", second=False) -> bytes:
    make = TfMaker(1)
    x, y = make.tensor([1, 256], 0.04, 3), make.tensor([1, 256], 0.07, -9)
    wide = make.tensor([1, 256], None, type_=kind)
    make.op("CAST", [x], wide, options="CastOptions", inDataType=9,
            outDataType=2 if kind == "int32" else 0)  # fmt: skip
    index = make.tensor([1, 256], None, type_="int32")
    addend = make.ints(np.full(2 if second else 1, start))
    make.op("ADD", [wide, addend], index, 1, options="AddOptions")
    table = make.tensor([length], 0.07, -9, data=make.rng.integers(-128, 128, length, np.int8))
    make.op("GATHER", [table, index], y, 2, options="GatherOptions", axis=0)
    return make.data(x, y)


@pytest.mark.parametrize(("start", "length"), [(128, 256), (130, 300)])
def test_a_table(start, length, tmp_path):
    equal(gathered(start=start, length=length), tmp_path, ALL)


def odd(name: str) -> bytes:
    make = TfMaker(1)
    x, y = make.tensor([1, 4], 0.04, 3), make.tensor([1, 4], 0.04, 3)
    if name == "GATHER":
        make.op("GATHER", [x, make.ints([1, 0, 2, 3])], y, 2, options="GatherOptions", axis=1)
    else:
        many = make.tensor([4], 0.04, 3, data=np.arange(4, dtype=np.int8))
        make.op("MINIMUM", [x, many], y, 2, options="MaximumMinimumOptions")
    return make.data(x, y)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gathered(start=100), r"indices -28..227 of 256 entries"),
        (gathered(length=200), r"indices 0..255 of 200 entries"),
        (gathered(kind="float32"), "a cast to float32; only as indices of a GATHER"),
        (gathered(second=True), "another addend than one, or one per channel"),
        (odd("GATHER"), "is not constant; a constant is supported there"),
        (odd("MINIMUM"), "several limits, or another scale behind"),
    ],
)
def test_refusals(data, message, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    with pytest.raises(UnsupportedError, match=message):
        import_tflite(path)
