# SPDX-License-Identifier: Apache-2.0
"""Networks that torch.fx cannot follow, captured by torch.export; operations in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from adaqat.deploy import UnsupportedError, lower, quantize_input, simulate
from adaqat.train import calibrate, prepare
from adaqat.train.capture import Network, capture


class Stages(nn.Module):
    """Loops and branches over sizes, unpacked shapes, assertions, functions of the layer list."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(True))
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, groups=g) for g in (1, 8, 2))
        self.slope = nn.PReLU(8)
        self.w = nn.Parameter(torch.randn(4, 8, 1, 1) * 0.3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        _batch, channels, height, _width = x.shape
        assert channels == 3, "colour images"
        y = self.stem(x)
        while min(y.shape[2:]) > 4:
            y = F.max_pool2d(y, 2)
        for i, conv in enumerate(self.convs):
            y = y + F.hardswish(conv(y)) if len(y) and i % 2 == 0 else self.slope(conv(y))
        b, c, h, w = y.size()
        y = y.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        left, right = y.split(c // 2, dim=1)
        y = torch.cat([right, -left, y[:, ::2, 1:]], 1) if h == 0 else torch.cat([right, left], 1)
        y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
        y = F.conv2d(y[:, :, 1 : height // 2], self.w).clamp(-3, 3)
        return self.fc(y.mean((-2, -1)) if y.ndim == 4 else y)


class Steps(nn.Module):
    """A causal network over sequences whose padding follows from the length."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(c, 6, 3, dilation=d) for c, d in ((4, 1), (6, 2)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            length = int(x.shape[-1])
            x = F.pad(x, (2 * layer.dilation[0], 0))
            x = torch.sigmoid(1 - layer(x)) / 2
            if x.shape[-1] != length:
                raise ValueError(length)
        return x


def values(network_of: nn.Module, x: Tensor) -> Tensor:
    """What the records compute in floating point."""
    module = prepare(network_of, x).eval()
    with torch.no_grad(), module.running(mode="float"):
        return module(x)


@pytest.mark.parametrize(("make", "shape"), [(Stages, (3, 16, 16)), (Steps, (4, 9))])
def test_networks_beyond_fx(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    model, x = make().eval(), torch.randn(2, *shape)
    with pytest.raises(Exception, match=r"Prox|iterat|bool|control flow"):
        fx.symbolic_trace(model)
    with torch.no_grad():
        torch.testing.assert_close(values(model, x), model(x))
    module = prepare(model, x)
    calibrate(module, [x])
    graph = lower(module.eval(), x)  # compares every node with exact mode
    assert simulate(graph, quantize_input(graph, x.double().numpy())).shape[0] == 2


def test_records_are_named_after_modules() -> None:
    network = capture(Stages(), torch.randn(1, 3, 16, 16))
    by_name = {record.name: record for record in network.records}
    assert by_name["stem_0"].source == "stem.0" and by_name["stem_0"].weight == "stem.0.weight"
    assert by_name["stem_0"].bn is not None and by_name["stem_0"].clamp[0] == 0
    assert by_name["slope"].attrs["slopes"] == "slope.weight"
    assert [r.source for r in network.records if r.weight == "w"] == ["conv2d"]


class Body(nn.Module):
    def __init__(self, forward: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)
        self.glu = nn.GLU(1)
        self.body = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def _add_(s: Any, x: Tensor) -> Tensor:
    y = s.conv(x)
    z = y.clamp(min=0)
    y.add_(z)
    return y * z


def _module(s: Any, x: Tensor) -> Tensor:
    y = s.conv(x)
    z = s.act(y)
    return y + z


def _assigned(s: Any, x: Tensor) -> Tensor:
    y = s.conv(x)
    z = y
    z += torch.sigmoid(y)
    z *= 0.5
    return torch.cat([y, z], 1)


def _function(s: Any, x: Tensor) -> Tensor:
    y = s.conv(x)
    F.relu_(y)
    return F.relu(y, inplace=True) - F.hardswish(y)


@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("body", [_add_, _module, _assigned, _function])
def test_overwritten_tensors(body: Callable[[Any, Tensor], Tensor], beyond: bool) -> None:
    """Who reads a tensor after it was overwritten reads the new one, also by its old name."""

    def forward(s: Any, x: Tensor) -> Tensor:
        if beyond:
            _, _, _, _ = x.shape  # torch.fx stops here
        return body(s, x)

    torch.manual_seed(2)
    model, x = Body(forward).eval(), torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(values(model, x), model(x))


def test_every_problem_has_its_module() -> None:
    def forward(s: Any, x: Tensor) -> Tensor:
        assert len(x) > 0
        y = s.glu(s.conv(x))
        z = torch.erfinv(F.conv2d(y, torch.ones(2, 2, 1, 1)))
        return z.cumsum(1)

    with pytest.raises(UnsupportedError) as caught:
        capture(Body(forward), torch.randn(1, 3, 6, 6))
    text = "\n".join(caught.value.problems)
    assert "glu: function glu" in text and "erfinv: function erfinv" in text
    assert "cumsum: function cumsum" in text
    assert "conv2d: a weight" in text
    assert len(caught.value.problems) == 4
    assert all(problem.count(";") >= 2 for problem in caught.value.problems)


def test_a_branch_on_values_is_refused() -> None:
    def forward(s: Any, x: Tensor) -> Tensor:
        return s.conv(x) if float(x.mean()) > 0 else x

    with pytest.raises(UnsupportedError, match="control flow that depends on data"):
        capture(Body(forward), torch.randn(1, 3, 6, 6))


def test_both_ways_read_the_same_records() -> None:
    """The same network with and without a line that only torch.export follows."""

    def of(beyond: bool) -> Network:
        def forward(s: Any, x: Tensor) -> Tensor:
            if beyond:
                assert len(x) > 0
            y = s.act(s.conv(x))
            y = F.avg_pool2d(F.pad(y, (1, 0, 0, 1)), 2, 1, padding=1)
            y = F.gelu(F.leaky_relu(y, 0.2), approximate="tanh")
            y = F.max_pool2d(F.elu(y) * F.softplus(y), 3, stride=2)
            return torch.softmax(y.mean((2, 3)), 1).argmax(1, keepdim=True)

        return capture(Body(forward), torch.randn(2, 3, 9, 9))

    traced, exported = of(False), of(True)
    assert [(r.kind, r.shape, r.weight, r.clamp) for r in traced.records] == [
        (r.kind, r.shape, r.weight, r.clamp) for r in exported.records
    ]
    for a, b in zip(traced.records, exported.records, strict=True):
        assert {k: np.array(v).tolist() for k, v in a.attrs.items()} == {
            k: np.array(v).tolist() for k, v in b.attrs.items()
        }, (a, b)
