# SPDX-License-Identifier: Apache-2.0
"""Reads calls of functions, methods and operators."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from .classes import make_argmax, make_softmax
from .convs import make_conv, make_conv_transpose
from .joins import make_concat, make_extremum, make_product, make_quotient, make_reshape, make_sum
from .moves import (
    INTERPOLATE,
    ITEM,
    make_narrow,
    make_pad,
    make_shuffle,
    make_upsample,
    read_permute,
)
from .nodes import (
    SUPPORTED,
    Call,
    Unsupported,
    bind,
    called,
    first_input,
    make_batch_norm,
    make_clamp,
    make_linear,
    parameter_path,
    shape_of,
)
from .pools import make_adaptive, make_average, make_mean, make_window
from .read_module import read_module
from .read_pointwise import POINTWISE
from .records import BatchNorm
from .shuffles import TRANSPOSES


def _numbers(b: dict[str, Any], *names: str) -> dict[str, Any]:
    """Integer arguments; defaults come as floats."""
    return {k: b[k] if isinstance(b[k], str | tuple | list) else int(b[k]) for k in names}


def _read_conv_transpose(n: fx.Node) -> Call:
    b = bind(n, "input weight bias=None stride=1 padding=0 output_padding=0 groups=1 dilation=1")
    weight, shape = parameter_path(b["weight"]), shape_of(b["weight"])
    assert weight is not None and shape is not None
    ints = _numbers(b, "stride", "padding", "dilation", "groups", "output_padding")
    return make_conv_transpose(b["input"], weight, parameter_path(b["bias"]), shape[2:], **ints)


def _read_conv2d(n: fx.Node) -> Call:
    b = bind(n, "input weight bias=None stride=1 padding=0 dilation=1 groups=1")
    weight = parameter_path(b["weight"])
    shape = shape_of(b["weight"])
    assert weight is not None and shape is not None
    ints = _numbers(b, "stride", "padding", "dilation", "groups")
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
    return make_reshape(n, first_input(n))


def _read_mean(n: fx.Node) -> Call:
    return make_mean(n, first_input(n), bind(n, "input dim=None keepdim=None")["dim"])


def _read_sum(n: fx.Node, sign: int) -> Call:
    b = bind(n, "input other alpha=None")
    return make_sum(n, b["input"], b["other"], b["alpha"], sign)


def _read_extremum(n: fx.Node, largest: int) -> Call:
    b = bind(n, "input other")
    return make_extremum(n, b["input"], b["other"], largest)


def _read_mul(n: fx.Node) -> Call:
    b = bind(n, "input other")
    return make_product(n, b["input"], b["other"])


def _read_div(n: fx.Node) -> Call:
    b = bind(n, "input other")
    return make_quotient(n, b["input"], b["other"])


def _read_pad(n: fx.Node) -> Call:
    b = bind(n, "input pad mode=None value=None")
    return make_pad(b["input"], b["pad"], b["mode"], b["value"])


def _read_interpolate(n: fx.Node) -> Call:
    b = bind(n, "input size=None scale_factor=None mode=None align_corners=None "
             "recompute_scale_factor=None antialias=None")  # fmt: skip
    if b["antialias"]:
        raise Unsupported("upsampling with antialias; plain upsampling is supported; switch it off")
    mode = b["mode"] or "nearest"
    return make_upsample(b["input"], shape_of(n), mode, b["align_corners"], b["scale_factor"])


def _read_narrow(n: fx.Node) -> Call:
    b = bind(n, "input dim start length")
    return make_narrow(b["input"], int(b["dim"]), int(b["start"]))


def _read_shuffle(n: fx.Node) -> Call:
    return make_shuffle(first_input(n), int(bind(n, "input groups")["groups"]))


def _read_concat(n: fx.Node) -> Call:
    return make_concat(bind(n, "tensors dim=None"))


def _read_adaptive_avg(n: fx.Node) -> Call:
    return make_adaptive("avgpool2d", first_input(n), shape_of(n))


def _read_softmax(n: fx.Node) -> Call:
    b = bind(n, "input dim=None _stacklevel=None dtype=None")
    return make_softmax(b["input"], b["dim"])


def _read_argmax(n: fx.Node) -> Call:
    b = bind(n, "input dim=None keepdim=None")
    return make_argmax(n, b["input"], b["dim"], b["keepdim"])


def _drop_path(n: fx.Node) -> Call:
    """Stochastic depth: nothing at inference."""
    return Call("identity", [first_input(n)])


CALLS: dict[Any, Callable[[fx.Node], Call]] = {
    **dict.fromkeys([F.conv2d, torch.conv2d, F.conv1d, torch.conv1d], _read_conv2d),
    **dict.fromkeys(
        [F.conv_transpose2d, F.conv_transpose1d, torch.conv_transpose2d], _read_conv_transpose
    ),
    F.linear: _read_linear,
    **dict.fromkeys([F.batch_norm], _read_batch_norm),
    **dict.fromkeys([F.relu, torch.relu, torch.relu_, F.relu_, "relu", "relu_"], _relu),
    F.relu6: lambda n: make_clamp(first_input(n), 0, 6),
    F.hardtanh: _read_hardtanh,
    **dict.fromkeys([torch.clamp, torch.clip, "clamp", "clamp_", "clip"], _read_clamp),
    "clamp_min": lambda n: make_clamp(first_input(n), bind(n, "input min")["min"], None),
    **dict.fromkeys([F.max_pool2d, torch.max_pool2d, F.max_pool1d], _read_max_pool),
    F.adaptive_max_pool2d: lambda n: make_adaptive("maxpool2d", first_input(n), shape_of(n)),
    **dict.fromkeys([F.avg_pool2d, F.avg_pool1d], _read_avg_pool),
    **dict.fromkeys([F.adaptive_avg_pool2d, F.adaptive_avg_pool1d], _read_adaptive_avg),
    **dict.fromkeys(
        [torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, "flatten", "view",
         "reshape", "squeeze", "unsqueeze"],
        _shape_call,
    ),
    **dict.fromkeys([torch.mean, "mean"], _read_mean),
    **dict.fromkeys(
        [torch.add, operator.add, operator.iadd, "add", "add_"], lambda n: _read_sum(n, 1)
    ),
    **dict.fromkeys(
        [torch.sub, operator.sub, operator.isub, "sub", "sub_"], lambda n: _read_sum(n, -1)
    ),
    **dict.fromkeys([torch.mul, operator.mul, operator.imul, "mul", "mul_"], _read_mul),
    **dict.fromkeys([torch.div, operator.truediv, "div", "div_"], _read_div),
    **dict.fromkeys([torch.maximum, "maximum"], lambda n: _read_extremum(n, 1)),
    **dict.fromkeys([torch.minimum, "minimum"], lambda n: _read_extremum(n, 0)),
    **POINTWISE,
    F.pad: _read_pad,
    **dict.fromkeys(INTERPOLATE, _read_interpolate),
    **dict.fromkeys([torch.narrow, "narrow"], _read_narrow),
    F.channel_shuffle: _read_shuffle,
    **dict.fromkeys([F.softmax, torch.softmax, "softmax"], _read_softmax),
    **dict.fromkeys([torch.argmax, "argmax"], _read_argmax),
    **ITEM,
    **dict.fromkeys(TRANSPOSES, read_permute),
    **dict.fromkeys([torch.cat, torch.concat, torch.concatenate], _read_concat),
    **dict.fromkeys(
        [F.dropout, F.dropout1d, F.dropout2d, "contiguous", "clone", "detach"], _identity
    ),
}


DROP_PATHS = ("stochastic_depth", "drop_path")
"""Names of functions that skip whole branches in training and do nothing otherwise."""


def read_node(node: fx.Node, module: nn.Module | None) -> Call:
    """Read any call node.

    Raises:
        Unsupported: with ``found; supported; what to do``.
    """
    if module is not None:
        return read_module(node, module)
    reader = CALLS.get(node.target)
    if reader is None and getattr(node.target, "__name__", "") in DROP_PATHS:
        reader = _drop_path
    if reader is None:
        raise Unsupported(
            f"{called(node)}; "
            f"{SUPPORTED} are supported; replace it or keep it outside the network"
        )
    return reader(node)
