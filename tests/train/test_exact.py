# SPDX-License-Identifier: Apache-2.0
"""Exact mode equals the integer simulator in every node, for every operator and width."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaqat.deploy import UnsupportedError, UsageError, lower, quantize_input, simulate
from adaqat.deploy.requant import S_MAX, S_MIN, AddRequant, Requant
from adaqat.train import calibrate, exact, exact_mode, prepare

Make = Callable[[], nn.Module]


class Everything(nn.Module):
    """Every operator: grouped, depthwise, strided, padded, dilated, pools, adds, concats, norms."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.b1 = nn.BatchNorm2d(8)
        self.dw = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.b2 = nn.BatchNorm2d(16)
        self.c3 = nn.Conv2d(16, 8, 1)
        self.c4 = nn.Conv2d(24, 12, 3, stride=2, padding="valid", groups=2)
        self.c5 = nn.Conv2d(12, 12, 2, padding="same", dilation=2)
        self.alone = nn.BatchNorm2d(12)
        half = (size - 3) // 2 + 1
        self.flat_norm = nn.BatchNorm1d(12 * (half // 2 + 1) ** 2)
        self.f1 = nn.Linear(12 * (half // 2 + 1) ** 2, 20)
        self.f2 = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.b1(self.c1(x)))
        b = F.relu6(self.b2(self.dw(a)))
        d = F.relu(self.c3(b) + a)
        e = torch.cat([d, b], 1)
        f = F.relu(self.alone(self.c5(self.c4(e))))
        g = F.hardtanh(F.avg_pool2d(f, 2, stride=2, padding=1), -1, 1.5)
        g = F.max_pool2d(g, 3, 1, 1)
        return self.f2(self.f1(self.flat_norm(g.flatten(1))).relu())


def trained(size: int, x: Tensor) -> nn.Module:
    torch.manual_seed(3)
    model = Everything(size)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(module.weight, 0.5, 1.0)  # some gammas are negative
            nn.init.normal_(module.bias, 0.0, 0.5)
    for _ in range(4):
        model(x)
    return model.eval()


@pytest.mark.parametrize("weight_bits", range(1, 9))
@pytest.mark.parametrize("quantizers", [("lsq", "pact"), ("dorefa", "lsq")])
def test_exact_mode_is_the_simulator(weight_bits: int, quantizers: tuple[str, str]) -> None:
    size = 8 + weight_bits % 3
    generator = torch.Generator().manual_seed(weight_bits)
    x = torch.randn(6, 3, size, size, generator=generator)
    model = trained(size, x)
    for act_bits in range(1, 9):
        module = prepare(
            model, x, weight_bits=weight_bits, act_bits=act_bits, min_bits=1,
            weight_quantizer=quantizers[0], act_quantizer=quantizers[1],
            first_last_bits=None if act_bits % 2 else 8, join_bits=None if act_bits % 3 else 8,
        ).eval()  # fmt: skip
        calibrate(module, [x])
        graph = lower(module, x)  # compares every node itself
        extreme = torch.cat([x * 50, -x * 50, torch.zeros_like(x)])
        codes = quantize_input(graph, extreme.double().numpy())
        got = simulate(graph, codes)
        wanted = exact(module)(extreme) / graph.output_node.output.scale
        assert np.array_equal(got, wanted.numpy().astype(np.int64))


def test_exact_mode_is_close_to_fake_quantisation(residual: Make, images: Tensor) -> None:
    module = prepare(residual(), images, weight_bits=4, act_bits=4).eval()
    calibrate(module, [images])
    error = (exact(module)(images) - module(images)).norm() / module(images).norm()
    assert float(error.detach()) < 0.05


def test_training_on_integers_computes_them(residual: Make, images: Tensor) -> None:
    module = prepare(residual(), images, weight_bits=3, act_bits=3)
    calibrate(module, [images])
    module.train()
    module.stats = "freeze"
    integers = exact(module)
    out = module(images, codes=integers.values(images))
    assert torch.equal(out, integers(images).float())
    out.square().sum().backward()
    assert all(
        p.grad is not None and torch.isfinite(p.grad).all() for p in module.network_parameters()
    )


def test_autocast_does_not_touch_integers(residual: Make, images: Tensor) -> None:
    module = prepare(residual(), images).eval()
    calibrate(module, [images])
    integers = exact(module)
    with torch.autocast("cpu", torch.bfloat16):
        inside = integers.codes(images)
    assert all(torch.equal(inside[k], v) for k, v in integers.codes(images).items())


def test_large_accumulators_are_summed_in_float64() -> None:
    model = nn.Linear(2000, 2, bias=False).eval()
    x = torch.rand(8, 2000)
    with torch.no_grad():
        model.weight.fill_(0.5)
        model.weight[1, ::2] = -0.5
    module = prepare(model, x).eval()
    calibrate(module, [x])
    integers = exact(module)
    assert (
        integers._rules["output" if "output" in integers._rules else module.network.output][
            "weight"
        ].dtype
        == torch.float64
    )
    lower(module, x)  # compares with the simulator


def test_a_dead_channel_becomes_a_constant(residual: Make, images: Tensor) -> None:
    model = residual()
    with torch.no_grad():
        model.get_parameter("bn.weight")[1] = 0.0
        model.get_parameter("bn.bias")[1] = 0.7
        model.get_parameter("bn.weight")[2] = 1e-9
        model.get_parameter("bn.weight")[3] *= -1
    module = prepare(model, images).eval()
    calibrate(module, [images])
    graph = lower(module, images)
    rule = graph["conv"].op.requant
    assert rule.m[1] == 0 and rule.m[2] == 0
    assert rule.z[1] == np.floor(0.7 / graph["conv"].output.scale + 0.5)


def test_layouts_and_names(residual: Make, images: Tensor) -> None:
    module = prepare(residual(), images).eval()
    calibrate(module, [images])
    graph = lower(module, images, name="toy")
    assert graph.name == "toy"
    assert graph.input_node.output.shape == (8, 8, 2)
    assert [n.name for n in graph.nodes] == [r.name for r in module.network.records]
    assert graph["conv1"].source == "conv1"
    assert graph["conv1"].op.weights.codes.shape == (6, 3, 3, 6)


def test_lower_needs_a_prepared_and_calibrated_network(residual: Make, images: Tensor) -> None:
    with pytest.raises(UsageError, match="Residual found; a prepared network is needed"):
        lower(residual(), images)
    with pytest.raises(UsageError, match="without activation ranges"):
        lower(prepare(residual(), images), images)


def test_a_flattened_map_as_output(images: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten())
    module = prepare(model, images).eval()
    calibrate(module, [images])
    with pytest.raises(UnsupportedError, match="a flattened map as the network's output"):
        lower(module, images)


def test_an_output_map_and_a_vector_network(images: Tensor) -> None:
    for model, x in (
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1)), images),
        (nn.Sequential(nn.Linear(7, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 3)),
         torch.randn(10, 7)),
    ):  # fmt: skip
        module = prepare(model.eval(), x).eval()
        calibrate(module, [x])
        graph = lower(module, x)
        assert graph.output_node.output.type.signed


def test_ties_round_up_as_in_the_integer_rule() -> None:
    """Real networks hardly ever meet one: constants made for them."""
    rng = np.random.default_rng(0)
    s = np.arange(S_MIN, S_MAX + 1)
    m = 1 << rng.integers(0, 16, len(s))
    zeros = np.zeros(len(s), np.int64)
    rule = Requant(0, zeros, m, s, zeros - 3, -(2**40), 2**40)
    odd = 2 * rng.integers(-200, 200, (50, 1)) + 1
    acc = odd * ((1 << (s - 1)) // m) + rng.integers(-1, 2, (50, len(s)))
    acc = np.where(np.abs(acc) < 2**31, acc, odd)
    assert ((acc * m) % (1 << s) == 1 << (s - 1)).sum() > 50
    tensors = {
        "m": torch.tensor(m).double(), "s": torch.tensor(np.ldexp(1.0, s)),
        "z": torch.tensor(rule.z).double(), "bias": torch.zeros(len(s)).double(),
    }  # fmt: skip
    found = exact_mode._requantise(rule, tensors, torch.tensor(acc).double())
    assert np.array_equal(found.numpy(), rule.apply(acc))

    a = np.arange(-2000, 2000)
    for shift in (1, 4, 9):
        add = AddRequant((3, -4), 7, shift, 2, -(2**40), 2**40)
        total = 3 * a - 4 * a[::-1] + 7
        assert (total % (1 << shift) == 1 << (shift - 1)).any()
        parts = (torch.tensor(a).float(), torch.tensor(a[::-1].copy()).float())
        assert np.array_equal(exact_mode._add(add, parts).numpy(), add.apply([a, a[::-1]]))
