# SPDX-License-Identifier: Apache-2.0
"""Grids, groups and options of a prepared network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaqat.deploy import UsageError, lower
from adaqat.train import QuantModule, calibrate, prepare

Make = Callable[[], nn.Module]


def bits(module: QuantModule) -> dict[str, int]:
    return {group.name: group.bits for group in module.groups()}


def test_groups_tell_what_is_fixed_and_why(residual: Make, images: Tensor) -> None:
    groups = {g.name: g for g in prepare(residual(), images).groups()}
    reasons = {name: g.reason for name, g in groups.items() if g.fixed}
    assert reasons == {
        "w:conv": "first layer",
        "w:fc": "last layer",
        "a:x": "network input",
        "a:mean": "read by the last layer",
        "a:fc": "network output",
        "join:add": "feeds only an add",
        "join:add_1": "feeds only an add",
    }
    assert groups["join:add"].members == ("conv1",), "the skip itself is read elsewhere too"
    assert groups["join:add_1"].members == ("conv2", "short")
    free = {name for name, g in groups.items() if not g.fixed}
    assert free == {"w:conv1", "w:conv2", "w:short", "a:conv", "a:add", "a:add_1"}


def test_a_skip_that_is_used_elsewhere_keeps_its_own_width(residual: Make, images: Tensor) -> None:
    module = prepare(residual(), images)
    assert module.act_quantizer("conv").width.name == "a:conv"
    assert not module.act_quantizer("conv").width.fixed


def test_float_names_and_weights_survive(residual: Make, images: Tensor) -> None:
    model = residual()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    module = prepare(model, images)
    own = module.state_dict()
    assert all(torch.equal(own[name], value) for name, value in before.items())
    module.load_state_dict(before, strict=False)
    with torch.no_grad():
        module.tensor("fc.weight").zero_()
    assert torch.equal(model.state_dict()["fc.weight"], before["fc.weight"]), "a copy was prepared"


def test_start_widths_and_network_granularity(residual: Make, images: Tensor) -> None:
    module = prepare(residual(), images, granularity="network", weight_bits=4, act_bits=5)
    free = {w.name: w.integer for w in module.widths if not w.fixed}
    assert free == {"weights": 4, "activations": 5}


def test_fixed_patterns(residual: Make, images: Tensor) -> None:
    module = prepare(
        residual(), images, fixed={"w:conv1": 4, "short": 3, "a:add*": 6}, first_last_bits=None,
        join_bits=None,
    )  # fmt: skip
    assert bits(module)["w:conv1"] == 4
    assert bits(module)["w:short"] == 3 and bits(module)["a:short"] == 3
    assert bits(module)["a:add"] == 6
    assert not next(g for g in module.groups() if g.name == "w:fc").fixed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fixed": {"nowhere": 4}}, "nothing matches nowhere; the widths are w:conv"),
        ({"granularity": "channel"}, "granularity: 'channel' found; layer, network"),
        ({"weight_quantizer": "x"}, "weight_quantizer: 'x' found; lsq, dorefa"),
        ({"act_quantizer": "x"}, "act_quantizer"),
        ({"on_width_change": "x"}, "on_width_change: 'x' found; refit, keep"),
        ({"weight_bits": 9}, "weight_bits: 9 bits found; 1 to 8"),
        ({"fixed": {"conv": 0}}, "conv: 0 bits found"),
    ],
)
def test_bad_options(residual: Make, images: Tensor, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(residual(), images, **options)


class Concat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, 3, 3, padding=1)
        self.b = nn.Conv2d(2, 3, 3, padding=1)
        self.c = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.cat([F.relu(self.a(x)), F.max_pool2d(self.b(x), 3, 1, 1), x], 1))


def test_concat_shares_one_grid_and_never_the_inputs(images: Tensor) -> None:
    module = prepare(Concat(), images)
    calibrate(module, [images])
    cat = module.act_quantizer("cat")
    assert cat is module.act_quantizer("a") is module.act_quantizer("b")
    assert module.records["cat"].inputs[2] == "cat_in2"
    assert module.records["cat_in2"].kind == "affine"
    assert cat is not module.act_quantizer("x")
    assert cat.signed, "one signed tensor makes the shared grid signed"


def test_signs_follow_the_data(residual: Make, images: Tensor) -> None:
    signed, unsigned = prepare(residual(), images), prepare(residual(), images)
    calibrate(signed, [images])
    calibrate(unsigned, [images.abs()])
    assert signed.act_quantizer("x").signed and not unsigned.act_quantizer("x").signed
    assert not signed.act_quantizer("conv").signed and not signed.act_quantizer("mean").signed
    assert signed.act_quantizer("conv2").signed and signed.act_quantizer("fc").signed
    forced = prepare(residual(), images, input_signed=True)
    calibrate(forced, [images.abs()])
    assert forced.act_quantizer("x").signed


def test_eight_bits_hardly_change_the_network(residual: Make, images: Tensor) -> None:
    model = residual()
    module = prepare(model, images).eval()
    calibrate(module, images.split(8))
    error = (module(images) - model(images)).norm() / model(images).norm()
    assert float(error.detach()) < 0.03


def test_uncalibrated_and_empty_calibration(residual: Make, images: Tensor) -> None:
    module = prepare(residual(), images)
    with pytest.raises(UsageError, match="not calibrated"):
        module(images)
    with pytest.raises(UsageError, match="no batches found"):
        calibrate(module, [])
    with pytest.raises(UsageError, match="not finite"):
        calibrate(module, [images / 0])


def test_from_scratch_trains(images: Tensor) -> None:
    torch.manual_seed(0)
    module = prepare(Concat(), images, weight_bits=4, act_bits=4, first_last_bits=None)
    calibrate(module, [images])
    module.train()
    goal = images * 0.5
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = F.mse_loss(module(images), goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


class Awkward(nn.Module):
    """Parts called like attributes of the prepared network, a dead layer, BatchNorm kept frozen."""

    def __init__(self, extra: str = "network") -> None:
        super().__init__()
        self.add_module(extra, nn.Conv2d(2, 3, 3))
        self.extra = extra
        self.records = nn.BatchNorm2d(3)
        self.grids = nn.Conv2d(3, 3, 1)
        self.tensor = nn.Parameter(torch.randn(2, 3, 1, 1))
        with torch.no_grad():
            self.grids.weight.zero_()
            assert self.grids.bias is not None
            self.grids.bias.fill_(-1.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.records(getattr(self, self.extra)(x))
        return F.conv2d(F.relu(self.grids(x)), self.tensor)


def test_awkward_names_and_dead_layers(images: Tensor) -> None:
    model = Awkward().train()
    model.records.eval()
    module = prepare(model, images)
    assert model.training and not model.records.training, "the user's modes are left alone"
    calibrate(module, [images])
    assert set(model.state_dict()) <= set(module.state_dict())
    lower(module.eval(), images)
    module.train()(images).sum().backward()
    module.load_state_dict(module.state_dict())
    with pytest.raises(UsageError, match="mode: a part of the network called like a setting"):
        prepare(Awkward("mode"), images)
