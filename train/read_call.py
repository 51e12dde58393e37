# SPDX-License-Identifier: Apache-2.0
"""Reads calls of functions, methods and operators."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from .nodes import (
    SUPPORTED,
    Call,
    Unsupported,
    bind,
    first_input,
    make_adaptive,
    make_average,
    make_batch_norm,
    make_clamp,
    make_concat,
    make_conv,
    make_linear,
    make_mean,
    make_reshape,
    make_sum,
    make_window,
    parameter_path,
    shape_of,
)
from .read_module import read_module
from .records import BatchNorm


def _read_conv2d(n: fx.Node) -> Call:
    b = bind(n, "input weight bias=None stride=1 padding=0 dilation=1 groups=1")
    weight = parameter_path(b["weight"])
    shape = shape_of(b["weight"])
    assert weight is not None and shape is not None
    ints = {
        k: b[k] if isinstance(b[k], str | tuple | list) else int(b[k])
        for k in ("stride", "padding", "dilation", "groups")
    }
    return make_conv(b["input"], weight, parameter_path(b["bias"]), shape[2:], **ints)


def _read_linear(n: fx.Node) -> Call:
    b = bind(n, "input weight bias=None")
    return make_linear(b["input"], parameter_path(b["weight"]), parameter_path(b["bias"]))


def _read_batch_norm(n: fx.Node) -> Call:
    b = bind(
        n,
        "input running_mean running_var weight=None bias=None training=None momentum=0.1 "
        "eps=0.00001",
    )
    mean, var = parameter_path(b["running_mean"]), parameter_path(b["running_var"])
    if mean is None or var is None:
        raise Unsupported(
            "a batch_norm without running statistics; running statistics are supported; pass them"
        )
    return make_batch_norm(
        b["input"],
        BatchNorm(
            parameter_path(b["weight"]),
            parameter_path(b["bias"]),
            mean,
            var,
            float(b["eps"]),
            float(b["momentum"]),
        ),
    )


def _read_max_pool(n: fx.Node) -> Call:
    b = bind(
        n,
        "input kernel_size stride=None padding=None dilation=None ceil_mode=None "
        "return_indices=None",
    )
    return make_window(
        "maxpool2d",
        b["input"],
        b["kernel_size"],
        b["stride"],
        b["padding"] or 0,
        b["dilation"] or 1,
        b["ceil_mode"],
        shape_of(n),
    )


def _read_avg_pool(n: fx.Node) -> Call:
    b = bind(
        n,
        "input kernel_size stride=None padding=None ceil_mode=None "
        "count_include_pad=True divisor_override=None",
    )
    return make_average(
        b["input"],
        b["kernel_size"],
        b["stride"],
        b["padding"] or 0,
        b["ceil_mode"],
        b["count_include_pad"],
        b["divisor_override"],
        shape_of(n),
    )


def _read_clamp(n: fx.Node) -> Call:
    b = bind(n, "input min=None max=None")
    return make_clamp(b["input"], b["min"], b["max"])


def _read_hardtanh(n: fx.Node) -> Call:
    b = bind(n, "input min_val=-1 max_val=1 inplace=None")
    return make_clamp(b["input"], b["min_val"], b["max_val"])


def _relu(n: fx.Node) -> Call:
    return make_clamp(first_input(n), 0, None)


def _identity(n: fx.Node) -> Call:
    return Call("identity", [first_input(n)])


def _shape_call(n: fx.Node) -> Call:
    return make_reshape(first_input(n), shape_of(n))


def _read_mean(n: fx.Node) -> Call:
    return make_mean(first_input(n), bind(n, "input dim=None keepdim=None")["dim"], shape_of(n))


def _read_add(n: fx.Node) -> Call:
    return make_sum(n, bind(n, "input other alpha=None"))


def _read_concat(n: fx.Node) -> Call:
    return make_concat(bind(n, "tensors dim=None"))


def _read_adaptive_avg(n: fx.Node) -> Call:
    return make_adaptive("avgpool2d", first_input(n), shape_of(n))


CALLS: dict[Any, Callable[[fx.Node], Call]] = {
    **dict.fromkeys([F.conv2d, torch.conv2d], _read_conv2d),
    F.linear: _read_linear,
    **dict.fromkeys([F.batch_norm], _read_batch_norm),
    **dict.fromkeys([F.relu, torch.relu, torch.relu_, F.relu_, "relu", "relu_"], _relu),
    F.relu6: lambda n: make_clamp(first_input(n), 0, 6),
    F.hardtanh: _read_hardtanh,
    **dict.fromkeys([torch.clamp, torch.clip, "clamp", "clamp_", "clip"], _read_clamp),
    "clamp_min": lambda n: make_clamp(first_input(n), bind(n, "input min")["min"], None),
    **dict.fromkeys([F.max_pool2d, torch.max_pool2d], _read_max_pool),
    F.avg_pool2d: _read_avg_pool,
    F.adaptive_avg_pool2d: _read_adaptive_avg,
    **dict.fromkeys(
        [torch.flatten, torch.reshape, torch.squeeze, "flatten", "view", "reshape", "squeeze"],
        _shape_call,
    ),
    **dict.fromkeys([torch.mean, "mean"], _read_mean),
    **dict.fromkeys([torch.add, operator.add, operator.iadd, "add", "add_"], _read_add),
    **dict.fromkeys([torch.cat, torch.concat, torch.concatenate], _read_concat),
    **dict.fromkeys([F.dropout, F.dropout2d, "contiguous"], _identity),
}


def read_node(node: fx.Node, module: nn.Module | None) -> Call:
    """Read any call node.

    Raises:
        Unsupported: with ``found; supported; what to do``.
    """
    if module is not None:
        return read_module(node, module)
    reader = CALLS.get(node.target)
    if reader is None:
        target = node.target
        name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        raise Unsupported(
            f"{'method' if node.op == 'call_method' else 'function'} {name}; "
            f"{SUPPORTED} are supported; replace it or keep it outside the network"
        )
    return reader(node)
