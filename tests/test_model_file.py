# SPDX-License-Identifier: Apache-2.0
"""The .adaqat file: round trip, same bytes, and every way a file can be wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nets import every_operator
from safetensors import safe_open
from safetensors.numpy import save_file

from adaqat.deploy import AdaqatError, ModelFileError, load, save, simulate
from adaqat.deploy.emit import layout, sources
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "net.adaqat"
    save(every_operator(3, 5, signed=True), path)
    return path


def test_round_trip_and_same_bytes(file, tmp_path):
    net = every_operator(3, 5, signed=True)
    again = load(file)
    assert again.model_id == net.model_id and again.dump() == net.dump()
    codes = make_inputs(net, samples=5)
    assert np.array_equal(simulate(again, codes), simulate(net, codes))
    save(again, tmp_path / "again.adaqat")
    assert (tmp_path / "again.adaqat").read_bytes() == file.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["again.adaqat"]


def header_of(file):
    with safe_open(file, framework="numpy") as opened:
        arrays = {key: opened.get_tensor(key) for key in opened.keys()}
        return json.loads(opened.metadata()["adaqat"]), arrays


def rewrite(path, header, arrays):
    save_file(arrays, path, {"adaqat": json.dumps(header)})
    return path


def test_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match="no such file"):
        load(tmp_path / "nothing.adaqat")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_file(file, tmp_path, keep):
    short = tmp_path / "short.adaqat"
    short.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match="not a readable safetensors file"):
        load(short)


def test_foreign_file(tmp_path):
    foreign = tmp_path / "foreign.adaqat"
    save_file({"a": np.zeros(3, np.float32)}, foreign)
    with pytest.raises(ModelFileError, match="without an adaqat graph"):
        load(foreign)


def test_pickle_is_not_read(tmp_path):
    import pickle

    evil = tmp_path / "evil.adaqat"
    evil.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelFileError, match="not a readable"):
        load(evil)


CHANGES = {
    "other format": (lambda h: h.update(format=99), "format version 99; version 1"),
    "unknown operator": (lambda h: h["nodes"][1].update(kind="magic"), "operator 'magic'; known"),
    "missing field": (lambda h: h["nodes"][1]["op"].pop("groups"), "fields .* are declared"),
    "extra field": (lambda h: h["nodes"][1]["op"].update(z=1), "fields .* are declared"),
    "text for a number": (lambda h: h["nodes"][1]["op"].update(groups="1"), "an integer is"),
    "float for a number": (lambda h: h["nodes"][1]["op"].update(groups=1.5), "an integer is"),
    "missing array": (lambda h: h["nodes"][1]["op"]["weights"]["codes"].update(array="no"), "no"),
    "wrong array": (
        lambda h: h["nodes"][1]["op"]["weights"]["codes"].update(array="1.requant.bias"),
        "holds int64, not uint8",
    ),
    "newline in a name": (lambda h: h["nodes"][1].update(name="a\n#error"), "printable text"),
    "cycle": (lambda h: h["nodes"][1].update(inputs=["last"]), "before it exists"),
    "no nodes": (lambda h: h.update(nodes=[]), "no node of the graph"),
    "nodes as text": (lambda h: h.update(nodes="abc"), "inconsistent graph"),
    "infinite scale": (lambda h: h["nodes"][1].update(scale=float("inf")), "positive finite"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_file(file, tmp_path, name):
    change, message = CHANGES[name]
    header, arrays = header_of(file)
    change(header)
    with pytest.raises(ModelFileError, match=message):
        load(rewrite(tmp_path / "changed.adaqat", header, arrays))


def test_weight_code_beyond_its_bits(file, tmp_path):
    header, arrays = header_of(file)
    arrays["1.weights.codes"] = arrays["1.weights.codes"] | np.uint8(0x80)
    with pytest.raises(ModelFileError, match="too large for its bits"):
        load(rewrite(tmp_path / "changed.adaqat", header, arrays))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(position=st.floats(0, 1), value=st.integers(0, 255))
def test_any_changed_byte_gives_a_graph_or_a_clear_error(file, tmp_path, position, value):
    data = bytearray(file.read_bytes())
    data[int(position * (len(data) - 1))] = value
    changed = tmp_path / "byte.adaqat"
    changed.write_bytes(bytes(data))
    try:
        net = load(changed)
    except AdaqatError as error:
        assert str(changed) in str(error)
    else:
        assert simulate(net, make_inputs(net, samples=1)).shape[0] == 1


def test_names_cannot_leave_comments_or_identifiers(file, tmp_path):
    header, arrays = header_of(file)
    evil = "*/ int x; /* \\ `$(touch /tmp/x)`"
    for node in header["nodes"]:
        node["source"] = evil
        node["inputs"] = [f"{name}{evil}" for name in node["inputs"]]
        node["name"] += evil
    header["output"] += evil
    net = load(rewrite(tmp_path / "evil.adaqat", header, arrays))
    model = layout(net, get("c99"), "net")
    codes = make_inputs(net, samples=1)
    text = "".join(sources(model, (codes[0], simulate(net, codes)[0])).values())
    assert "*/ int" not in text and "\\ `" not in text
    for node in model.nodes:
        assert node.ident.replace("_", "a").isalnum()
