# SPDX-License-Identifier: Apache-2.0
"""Networks with softmax and argmax: torch exact mode = simulator = host C."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaqat.deploy import UnsupportedError, lower, quantize_input, simulate
from adaqat.deploy.emit import layout
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host
from adaqat.train import calibrate, exact, prepare
from adaqat.train.capture import capture
from adaqat.train.classes import first_largest, whole_softmax
from adaqat.train.preparation import UnitGrid


class Net(nn.Module):
    """A layer and what a test puts behind it."""

    def __init__(self, kind: str, end: Callable[[Tensor], Tensor] | nn.Module) -> None:
        super().__init__()
        self.layer: nn.Module = {
            "vector": lambda: nn.Linear(7, 9),
            "map": lambda: nn.Conv2d(3, 9, 3, padding=1),
            "sequence": lambda: nn.Conv1d(3, 9, 3, padding=1),
            "classifier": lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(),
                                                nn.Linear(72, 9)),
        }[kind]()  # fmt: skip
        self.part = end if isinstance(end, nn.Module) else None
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.layer(x))


SHAPES = {"vector": (7,), "map": (3, 5, 4), "sequence": (3, 6), "classifier": (3, 6, 5)}
ENDS = {
    "softmax": lambda x: F.softmax(x, dim=1),
    "method": lambda x: x.softmax(1),
    "module": nn.Softmax(dim=1),
    "argmax": lambda x: x.argmax(1),
    "argmax_keep": lambda x: torch.argmax(x, dim=1, keepdim=True),
    "both": lambda x: torch.softmax(x, 1).argmax(dim=1),
    "gated": lambda x: torch.cat([torch.softmax(x, 1) * x, F.relu(torch.softmax(x, 1))], 1),
}


def proved(kind: str, end: str, bits: int):
    torch.manual_seed(1)
    model, x = Net(kind, ENDS[end]).eval(), 2 * torch.randn(6, *SHAPES[kind])
    module = prepare(model, x, first_last_bits=None).eval()
    for width in module.widths:
        if not width.fixed:
            width.n = float(bits)
    calibrate(module, [x])
    graph = lower(module, x)
    far = torch.cat([x, x * 40, -x * 40, torch.zeros_like(x)])
    with torch.no_grad():
        wanted = exact(module)(far)
        assert wanted.shape == model(far).shape
        assert module(x).shape == model(x).shape
    values = simulate(graph, quantize_input(graph, far.double().numpy()), keep=True)
    for name, codes in exact(module).codes(far).items():
        found = values[name].astype(np.int64)
        found = np.moveaxis(found, -1, 1) if found.ndim == 4 else found
        if graph[name].op.kind != "reshape":  # features of another order
            assert np.array_equal(found, codes.numpy()), name
    result = compare_host(layout(graph, get("c99"), "net"), make_inputs(graph, samples=20))
    assert result.mismatches == 0, result.first
    return model, module, graph, x


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("end", ENDS)
def test_exact_mode_simulator_and_c(kind, end):
    if kind == "classifier" and end == "gated":
        pytest.skip("the same as for vectors")
    model, module, graph, x = proved(kind, end, 8)
    kinds = [node.op.kind for node in graph.nodes]
    assert ("softmax" in kinds) == (end not in ("argmax", "argmax_keep"))
    assert ("argmax" in kinds) == (end.startswith("argmax") or end == "both")
    with torch.no_grad():
        real, found = model(x), exact(module)(x)
    if end in ("softmax", "module"):
        assert graph.output_node.output.scale == 1 / 256
        assert (real - found).abs().max() < 0.06
    if end.startswith("argmax"):
        assert (real == found).double().mean() > 0.9


@pytest.mark.parametrize("bits", [2, 4, 6])
@pytest.mark.parametrize("end", ["softmax", "both"])
def test_other_widths(end, bits):
    """With few bits several classes are equal; the first of them wins everywhere."""
    proved("classifier", end, bits)


def test_widths_and_grids_of_the_end():
    model, x = Net("classifier", ENDS["both"]), torch.randn(6, 3, 6, 5)
    module = prepare(model, x, weight_bits=4, act_bits=5, fixed={"a:softmax": 6})
    reasons = {group.name: (group.bits, group.reason) for group in module.groups()}
    assert reasons["a:softmax"] == (6, "result of softmax")
    assert reasons["a:argmax"] == (8, "result of argmax")
    assert reasons["a:layer_3"] == (8, "network output")
    assert reasons["w:layer.3"][1] == "last layer"
    calibrate(module, [x])
    assert isinstance(module.act_quantizer("softmax"), UnitGrid)
    assert float(module.act_quantizer("softmax").scale()) == 1 / 64
    graph = lower(module, x)
    assert str(graph["softmax"].output.type) == "u6"


def test_gradients_through_softmax():
    model, x = Net("classifier", ENDS["softmax"]), torch.randn(6, 3, 6, 5)
    module = prepare(model, x)
    calibrate(module, [x])
    module.train()
    module(x)[:, 0].sum().backward()
    parameters = [*module.network_parameters(), *module.quantizer_parameters()]
    used = [p for p in parameters if p.grad is not None and bool(p.grad.abs().sum() > 0)]
    assert len(used) > 5 and all(torch.isfinite(p.grad).all() for p in used)
    state = module.state_dict()
    module.load_state_dict(state)


def test_whole_softmax_against_python_integers():
    rng = np.random.default_rng(2)
    table = np.sort(rng.integers(0, 1 << 15, 256))[::-1].copy()
    table[0] = 1 << 15
    codes = np.concatenate([rng.integers(0, 256, (200, 40)), np.zeros((1, 40), np.int64)])
    for bits in (1, 3, 8):
        found = whole_softmax(torch.from_numpy(codes).double(),
                              torch.from_numpy(table[None]).double(), bits)  # fmt: skip
        for row, y in zip(codes.tolist(), found.long().tolist(), strict=True):
            e = [int(table[max(row) - v]) for v in row]
            wanted = [min(((v << bits) + sum(e) // 2) // sum(e), (1 << bits) - 1) for v in e]
            assert wanted == y


def test_the_first_of_equal_ones():
    x = torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.0, -1.0, 5.0]])
    assert first_largest(x).flatten().tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("kind", "end", "message"),
    [
        ("map", lambda x: F.softmax(x, dim=-1), "softmax over dimension -1 of .*; the channels"),
        ("vector", lambda x: x.argmax(), "argmax over dimension None of"),
        ("vector", lambda x: F.relu(x.argmax(1, keepdim=True)), "argmax of 9 classes, or inside"),
        ("vector", lambda x: torch.cat([x] * 29, 1).argmax(1), "argmax of 261 classes"),
        ("vector", lambda x: F.log_softmax(x, 1), "function log_softmax; .*softmax and argmax"),
    ],
)
def test_refusals(kind, end, message):
    with pytest.raises(UnsupportedError, match=message):
        capture(Net(kind, end), torch.randn(4, *SHAPES[kind]))


def test_an_index_into_another_order_is_refused():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Softmax(1))
    x = torch.randn(4, 3, 2, 2)

    class Index(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = model

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x).argmax(1)

    module = prepare(Index(), x)
    calibrate(module, [x])
    with pytest.raises(UnsupportedError, match="argmax: a flattened map as the network's output"):
        lower(module, x)
