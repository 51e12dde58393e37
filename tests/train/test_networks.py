# SPDX-License-Identifier: Apache-2.0
"""Whole networks: torch exact mode = simulator = host C, at W8A8 and at random mixed widths."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_networks import Excite, Folded, Tcn, Turned, UNet, trained

from adaqat.deploy import UnsupportedError, dequantize_output, lower, quantize_input, simulate
from adaqat.deploy.emit import layout
from adaqat.deploy.targets import get
from adaqat.deploy.vectors import make_inputs
from adaqat.deploy.verification import compare_host
from adaqat.train import calibrate, exact, prepare
from adaqat.train.vision import torchvision

NETWORKS = {
    "unet_transposed": (lambda: UNet("transposed"), (3, 12, 8)),
    "unet_nearest": (lambda: UNet("nearest"), (3, 8, 12)),
    "unet_bilinear": (lambda: UNet("bilinear"), (3, 8, 8)),
    "unet_corners": (lambda: UNet("corners"), (3, 8, 8)),
    "tcn_steps": (lambda: Tcn(steps=True), (4, 23)),
    "tcn_one": (lambda: Tcn(steps=False), (4, 16)),
    "excite": (Excite, (3, 10, 12)),
    "turned": (Turned, (12, 5)),
    "folded": (Folded, (3, 5, 6)),
}
ZOO = (
    "resnet18", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1",
    "mnasnet0_5", "efficientnet_b0", "regnet_y_400mf", "densenet121",
)  # fmt: skip
TIMM = (
    "resnet18", "mobilenetv2_100", "mobilenetv3_small_100", "mnasnet_small", "efficientnet_b0",
    "regnety_004", "densenet121",
)  # fmt: skip
MORE = (
    "torchvision/googlenet", "torchvision/alexnet", "timm/ghostnet_100", "timm/efficientnet_lite0",
    "timm/hardcorenas_a", "timm/tinynet_e", "timm/lcnet_050", "timm/mobilenetv4_conv_small",
    "timm/repvgg_a0", "timm/fbnetc_100",
)  # fmt: skip


def prove(model: nn.Module, x: Tensor, *, mixed: bool, host: bool = True) -> float:
    """Lower (which compares every node with exact mode) and compare with C; relative error."""
    module = prepare(model, x, join_bits=None if mixed else 8).eval()
    if mixed:
        rng = random.Random(7)
        for width in module.widths:
            if not width.fixed:
                width.n = float(rng.randint(2, 8))
    calibrate(module, [x])
    graph = lower(module, x)
    far = torch.cat([x * 40, -x * 40])
    codes = quantize_input(graph, far.double().numpy())
    with torch.no_grad():
        wanted, real = exact(module)(far).numpy(), model(x)
        found = dequantize_output(graph, simulate(graph, codes))
        if found.ndim == 4:
            found = np.moveaxis(found, -1, 1).reshape(wanted.shape)
        assert np.array_equal(wanted, found)
        error = (exact(module)(x) - real).norm() / real.norm()
    if host:
        result = compare_host(layout(graph, get("c99"), "net"), make_inputs(graph, samples=12))
        assert result.mismatches == 0, result.first
    return float(error)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_own_networks(name: str, mixed: bool) -> None:
    torch.manual_seed(3)
    make, shape = NETWORKS[name]
    x = torch.randn(6, *shape)
    error = prove(trained(make(), x), x, mixed=mixed)
    # calibration alone is a usable baseline at 8 bits
    assert error < (4.0 if mixed else 0.12)


def settled(model: nn.Module, x: Tensor) -> nn.Module:
    """Running statistics that fit the random weights."""
    model.train()
    with torch.no_grad():
        for _ in range(8):
            model(x)
    return model.eval()


@pytest.mark.sweep
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", ZOO)
def test_torchvision(name: str, mixed: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 64, 64)
    model = torchvision().models.get_model(name, weights=None, num_classes=10)
    error = prove(settled(model, x), x, mixed=mixed)
    assert mixed or error < 0.15


@pytest.mark.sweep
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", TIMM)
def test_timm(name: str, mixed: bool) -> None:
    torchvision()  # timm imports it, and CPU torch needs its stubs
    timm = pytest.importorskip("timm", reason="pip install adaqat-deploy[zoo]")
    torch.manual_seed(0)
    x = torch.randn(4, 3, 64, 64)
    model = timm.create_model(name, pretrained=False, num_classes=10)
    error = prove(settled(model, x), x, mixed=mixed)
    assert mixed or error < 0.25


@pytest.mark.sweep
@pytest.mark.parametrize("name", MORE)
def test_more_networks(name: str) -> None:
    source = torchvision()
    torch.manual_seed(0)
    library, _, kind = name.partition("/")
    x = torch.randn(2, 3, 64, 64)
    if library == "torchvision":
        options = {"aux_logits": False, "init_weights": True} if kind == "googlenet" else {}
        model = source.models.get_model(kind, weights=None, num_classes=10, **options)
    else:
        timm = pytest.importorskip("timm", reason="pip install adaqat-deploy[zoo]")
        model = timm.create_model(kind, pretrained=False, num_classes=10)
    prove(settled(model, x), x, mixed=False)


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("name", "size", "obstacles"),
    [
        ("convnext_atto", 64, ("function layer_norm", "a product of shapes")),
        ("vit_tiny_patch16_224", 224, ("scaled_dot_product", "layer_norm", "unbind with several")),
        ("mobilevit_xxs", 64, ("scaled_dot_product_attention", "layer_norm", "a reshape from")),
    ],
)
def test_what_is_out_of_reach_is_listed(name: str, size: int, obstacles: tuple[str, ...]) -> None:
    """All obstacles at once, each with its module, what is supported and what to do."""
    torchvision()
    timm = pytest.importorskip("timm", reason="pip install adaqat-deploy[zoo]")
    model = timm.create_model(name, pretrained=False, num_classes=10)
    with pytest.raises(UnsupportedError) as caught:
        prepare(model, torch.randn(1, 3, size, size))
    text = "\n".join(caught.value.problems)
    assert all(obstacle in text for obstacle in obstacles)
    assert len(caught.value.problems) > 10
    assert all(problem.count(";") >= 2 for problem in caught.value.problems)
    paths = [problem.partition(":")[0] for problem in caught.value.problems]
    assert len(set(paths)) > 10 and any(path.count(".") >= 3 for path in paths)
    assert "no tensor" not in text, "results of a node that was told already are not told again"


@pytest.mark.parametrize("name", ["excite", "unet_bilinear", "tcn_one"])
def test_gradients_reach_every_parameter(name: str) -> None:
    torch.manual_seed(3)
    make, shape = NETWORKS[name]
    x = torch.randn(6, *shape)
    module = prepare(trained(make(), x), x, weight_bits=4, act_bits=5)
    calibrate(module, [x])
    module.train()
    module(x).square().mean().backward()
    assert all(
        p.grad is not None and torch.isfinite(p.grad).all() for p in module.network_parameters()
    )


def test_cost_of_a_network_with_operators_that_no_table_prices_yet() -> None:
    from adaqat.train.pricing import TABLE_KIND, network_cost

    torch.manual_seed(3)
    x = torch.randn(4, 3, 10, 12)
    module = prepare(trained(Excite(), x), x)
    calibrate(module, [x])
    cost = network_cost(module, "cortex-m4")
    kinds = {TABLE_KIND.get(module.records[t.name].kind, module.records[t.name].kind)
             for t in cost.terms}  # fmt: skip
    assert {"conv2d", "linear"} <= kinds
    assert cost.total("cycles") > 0
