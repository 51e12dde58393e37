# SPDX-License-Identifier: Apache-2.0
"""Networks as records: modules, functions and methods alike; problems all at once."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaqat.deploy import UnsupportedError
from adaqat.train.capture import Network, capture

X = torch.randn(3, 4, 8, 8)


class Body(nn.Module):
    """A network given by a function of (self, x)."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **parts: nn.Module) -> None:
        super().__init__()
        self.body = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


class Wrap(nn.Module):
    """A function as a sub-module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def part(thing: Any) -> nn.Module:
    return thing if isinstance(thing, nn.Module) else Wrap(thing)


def kinds(network: Network) -> list[str]:
    return [record.kind for record in network.records]


def conv() -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, padding=1)


@pytest.mark.parametrize(
    ("act", "limits"),
    [
        (nn.ReLU(), (0, float("inf"))),
        (nn.ReLU6(), (0, 6)),
        (nn.Hardtanh(-2, 3), (-2, 3)),
        (F.relu, (0, float("inf"))),
        (torch.relu, (0, float("inf"))),
        (F.relu6, (0, 6)),
        (lambda x: F.hardtanh(x, -1, 1), (-1, 1)),
        (lambda x: x.relu(), (0, float("inf"))),
        (lambda x: x.clamp(-1, 4), (-1, 4)),
        (lambda x: torch.clamp(x, min=0), (0, float("inf"))),
        (lambda x: F.relu(x).clamp(max=2), (0, 2)),
    ],
)
def test_activations_fuse_as_a_clamp(act: Any, limits: tuple[float, float]) -> None:
    parts = {"c": conv(), "bn": nn.BatchNorm2d(4), "act": part(act)}
    network = capture(Body(lambda s, x: s.act(s.bn(s.c(x))), **parts), X)
    assert kinds(network) == ["input", "conv2d"]
    assert network.records[1].clamp == limits
    assert network.records[1].bn is not None


def test_functional_layers_are_understood() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(8, 2, 3, 3))
            self.mean, self.var = nn.Buffer(torch.zeros(8)), nn.Buffer(torch.ones(8))
            self.f = nn.Parameter(torch.randn(5, 8))
            self.b = nn.Parameter(torch.randn(5))

        def forward(self, x: Tensor) -> Tensor:
            y = F.conv2d(x, self.w, stride=2, padding=(1, 1), groups=2)
            y = F.relu(F.batch_norm(y, self.mean, self.var, training=self.training))
            y = F.adaptive_avg_pool2d(y, 1)
            return F.linear(torch.flatten(y, 1), self.f, self.b)

    network = capture(Functional(), X)
    assert kinds(network) == ["input", "conv2d", "avgpool2d", "flatten", "linear"]
    assert network.records[1].attrs["groups"] == 2
    assert network.records[1].weight == "w" and network.records[-1].bias == "b"


@pytest.mark.parametrize(
    "add", [torch.add, operator.add, lambda a, b: a.add(b), lambda a, b: a.add_(b)]
)
def test_adds(add: Any) -> None:
    network = capture(Body(lambda s, x: F.relu(add(s.c(x), s.d(x))), c=conv(), d=conv()), X)
    assert kinds(network) == ["input", "conv2d", "conv2d", "add"]
    assert network.records[-1].clamp[0] == 0


@pytest.mark.parametrize(
    "pool",
    [
        nn.AdaptiveAvgPool2d(1),
        nn.AvgPool2d(8),
        lambda x: F.avg_pool2d(x, 8),
        lambda x: x.mean((2, 3), keepdim=True),
        lambda x: torch.mean(x, dim=[-1, -2], keepdim=True),
    ],
)
@pytest.mark.parametrize(
    "flat",
    [
        nn.Flatten(),
        lambda x: x.flatten(1),
        lambda x: x.view(x.size(0), -1),
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: x.view(-1, 4),
    ],
)
def test_global_pools_and_flattens(pool: Any, flat: Any) -> None:
    parts = {"c": conv(), "fc": nn.Linear(4, 3), "flat": part(flat), "pool": part(pool)}
    network = capture(Body(lambda s, x: s.fc(s.flat(s.pool(s.c(x)))), **parts), X)
    assert kinds(network) == ["input", "conv2d", "avgpool2d", "flatten", "linear"]
    assert network.records[2].attrs["divisor"] == 64


def test_mean_without_keepdim_is_pool_and_flatten() -> None:
    network = capture(Body(lambda s, x: s.fc(s.c(x).mean((2, 3))), c=conv(), fc=nn.Linear(4, 3)), X)
    assert kinds(network) == ["input", "conv2d", "avgpool2d", "flatten", "linear"]


def test_windows_that_hang_over_the_end() -> None:
    network = capture(Body(lambda s, x: F.max_pool2d(s.c(x), 3, 2, ceil_mode=True), c=conv()), X)
    assert network.records[2].attrs["pad"] == (0, 0, 1, 1)
    assert network.records[2].shape == (4, 4, 4)


def test_adaptive_pools_that_repeat() -> None:
    def body(s: Any, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(s.c(x).mean((2, 3), keepdim=True), (2, 3))

    network = capture(Body(body, c=conv()), X)
    assert kinds(network) == ["input", "conv2d", "avgpool2d", "upsample_nearest"]


@pytest.mark.parametrize("function", [torch.maximum, torch.minimum])
def test_extremes_of_tensors_and_numbers(function: Any) -> None:
    network = capture(Body(lambda s, x: function(s.c(x), s.d(x)), c=conv(), d=conv()), X)
    assert kinds(network) == ["input", "conv2d", "conv2d", "extremum"]
    clamped = capture(Body(lambda s, x: function(s.c(x), torch.tensor(2.0)), c=conv()), X)
    limits = (2.0, float("inf")) if function is torch.maximum else (-float("inf"), 2.0)
    assert clamped.records[1].clamp == limits


def test_relu_moves_over_a_pool() -> None:
    network = capture(Body(lambda s, x: F.relu(F.max_pool2d(s.c(x), 2)), c=conv()), X)
    assert kinds(network) == ["input", "conv2d", "maxpool2d"]
    assert network.records[1].clamp[0] == 0


def test_relu_stays_behind_a_shared_tensor() -> None:
    def body(s: Any, x: Tensor) -> Tensor:
        y = s.c(x)
        return F.relu(y) + y

    network = capture(Body(body, c=conv()), X)
    assert kinds(network) == ["input", "conv2d", "affine", "add"]
    assert network.records[1].clamp == (-float("inf"), float("inf"))


def test_dropout_and_identity_vanish() -> None:
    parts = {"c": conv(), "drop": nn.Dropout(), "same": nn.Identity(), "bn": nn.BatchNorm2d(4)}
    network = capture(Body(lambda s, x: F.relu(s.same(s.bn(s.drop(s.c(x))))), **parts), X)
    assert kinds(network) == ["input", "conv2d"]


def test_batch_norm_alone_and_same_padding() -> None:
    parts = {"bn": nn.BatchNorm2d(4), "c": nn.Conv2d(4, 4, 2, padding="same", dilation=2)}
    network = capture(Body(lambda s, x: s.c(F.relu(s.bn(x))), **parts), X)
    assert kinds(network) == ["input", "affine", "conv2d"]
    assert network.records[2].attrs["pad"] == (1, 1, 1, 1)
    uneven = capture(Body(lambda s, x: s.c(x), c=nn.Conv2d(4, 4, 2, padding="same")), X)
    assert uneven.records[1].attrs["pad"] == (0, 0, 1, 1)


def test_shared_module_gives_two_records() -> None:
    network = capture(Body(lambda s, x: s.c(F.relu(s.c(x))), c=conv()), X)
    assert [r.weight for r in network.records[1:]] == ["c.weight", "c.weight"]


def test_one_sample_is_enough() -> None:
    network = capture(Body(lambda s, x: s.fc(x.view(-1, 256)), fc=nn.Linear(256, 2)), X[:1])
    assert kinds(network) == ["input", "flatten", "linear"]


def test_several_outputs_are_told_once_and_not_for_each_result() -> None:
    def forward(self: Body, x: Tensor) -> Tensor:
        maps = x.unbind(1)
        return self.rnn((maps[0] + maps[1]).flatten(1))[0]

    with pytest.raises(UnsupportedError) as caught:
        capture(Body(forward, rnn=nn.GRU(X[0, 0].numel(), 5)), X)
    told = [problem for problem in caught.value.problems if "several outputs" in problem]
    assert [problem.partition(";")[0].partition(": ")[2] for problem in told] == [
        "method unbind with several outputs",
        "module rnn with several outputs",
    ]
    assert all("split and chunk" in text and "one tensor per node" in text for text in told)
    assert not any("getitem" in problem for problem in caught.value.problems)


def test_every_problem_is_named_at_once() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.GLU(1)
            self.scale = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return torch.erf(torch.cat([self.act(x)] * 2, 1)) * self.scale

    parts = {
        "inner": Inner(),
        "c": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        "pool": nn.AvgPool2d(3, padding=1, count_include_pad=False),
    }
    with pytest.raises(UnsupportedError) as caught:
        capture(Body(lambda s, x: s.pool(s.c(s.inner(x))) / s.pool(x), **parts), X)
    text = "\n".join(caught.value.problems)
    for part in (
        "inner.act: module GLU",
        "inner.erf: function erf",
        "inner.mul: a product of a constant tensor",
        "c: padding mode 'reflect'",
        "pool: count_include_pad=False",
        "truediv: a division by a tensor",
    ):
        assert part in text
    assert len(caught.value.problems) == 7
    assert all(problem.count(";") >= 2 for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda s, x: x.reshape(x.size(0), 8, 32), "a reshape from"),
        (lambda s, x: torch.cat([x, x], 2), "a concat along dimension 2"),
        (lambda s, x: x + x.mean((2, 3), keepdim=True), "an addition of shapes"),
        (lambda s, x: x.mean(1), "a mean over dimensions"),
        (lambda s, x: x.permute(1, 0, 2, 3), r"axes \[1, 0, 2, 3\] of a tensor of shape"),
        (lambda s, x: F.adaptive_avg_pool2d(x, 3), "adaptive pooling from 8x8 to 3x3"),
        (lambda s, x: F.avg_pool2d(x, 3, 2, ceil_mode=True), "ceil_mode"),
        (lambda s, x: torch.maximum(x, x.mean((2, 3), keepdim=True)), "a maximum or minimum of"),
        (lambda s, x: F.linear(x, s.fc.weight), "a linear layer on a tensor of shape"),
        (lambda s, x: (x, F.relu(x)), "output: not a single tensor"),
        (lambda s, x: F.relu(x) if x.sum() > 0 else x, "control flow"),
        (lambda s, x: s.fc(x.flatten(1)), "the example input of shape"),
        (lambda s, x: s.bn(x), "without running statistics"),
        (lambda s, x: torch.add(x, x, alpha=2), "alpha"),
        (lambda s, x: F.max_pool2d(x, 2, dilation=2), "dilated pooling"),
    ],
)
def test_messages(body: Any, message: str) -> None:
    parts = {"fc": nn.Linear(8, 2), "bn": nn.BatchNorm2d(4, track_running_stats=False)}
    with pytest.raises(UnsupportedError, match=message):
        capture(Body(body, **parts), X)


def test_two_inputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    with pytest.raises(UnsupportedError):
        capture(Two(), X)
