# SPDX-License-Identifier: Apache-2.0
"""Reads one fx node: module, function or method call to kind, tensor inputs and attributes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from .records import BatchNorm

Shape = tuple[int, ...]


class Unsupported(Exception):
    """``found; supported; what to do`` of one node; collected by the capture."""


@dataclass
class Call:
    """One node, read but not yet fused."""

    kind: str
    inputs: list[fx.Node]
    attrs: dict[str, Any] = field(default_factory=dict)
    weight: str | None = None
    bias: str | None = None
    bn: BatchNorm | None = None
    clamp: tuple[float, float] = (-inf, inf)


def shape_of(node: fx.Node) -> Shape | None:
    """Shape with the batch, or None where the node is no tensor."""
    meta = node.meta.get("tensor_meta")
    return tuple(meta.shape) if hasattr(meta, "shape") else None


def pair(value: Any) -> tuple[int, int]:
    """An int or a pair as a pair."""
    if isinstance(value, int):
        return value, value
    values = tuple(int(v) for v in value)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def bind(node: fx.Node, signature: str) -> dict[str, Any]:
    """Arguments by name; ``signature`` lists ``name`` or ``name=default`` separated by blanks."""
    bound: dict[str, Any] = {}
    names = []
    for item in signature.split():
        name, _, default = item.partition("=")
        names.append(name)
        if default:
            bound[name] = {"None": None, "True": True, "False": False}.get(
                default, float(default) if default.lstrip("-").replace(".", "").isdigit() else None
            )
    if len(node.args) > len(names):
        raise Unsupported(f"{node.target} with {len(node.args)} arguments; {len(names)} are read; "
                          "use the module form")
    bound.update(zip(names, node.args, strict=False))
    for name, value in node.kwargs.items():
        bound[{"dim": "dim", "start_dim": "start_dim"}.get(name, name)] = value
    return bound


def _path(node: Any) -> str | None:
    if node is None:
        return None
    if isinstance(node, fx.Node) and node.op == "get_attr":
        return str(node.target)
    raise Unsupported("a weight or bias that is computed; parameters of the module are supported; "
                      "compute it once and store it as a parameter")


def _conv_pad(padding: Any, kernel: Any, dilation: Any) -> tuple[int, int, int, int]:
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2
    rows, columns = pair(padding)
    return rows, columns, rows, columns


def _conv(inp: fx.Node, weight: str, bias: str | None, kernel: Any, stride: Any, padding: Any,
          dilation: Any, groups: int) -> Call:
    shape = shape_of(inp)
    if shape is None or len(shape) != 4:
        raise Unsupported("a convolution of an unbatched map; N x C x H x W is supported; add the "
                          "batch dimension")
    dilation = pair(dilation)
    attrs = {"kernel": pair(kernel), "stride": pair(stride), "dilation": dilation,
             "pad": _conv_pad(padding, pair(kernel), dilation), "groups": int(groups),
             "in": shape[1]}
    return Call("conv2d", [inp], attrs, weight, bias)


def _check_linear(inp: fx.Node) -> None:
    shape = shape_of(inp)
    if shape is None or len(shape) != 2:
        raise Unsupported(f"a linear layer on a tensor of shape {shape}; N x F is supported; "
                          "flatten before it")


def _window(kind: str, inp: fx.Node, kernel: Any, stride: Any, padding: Any, dilation: Any,
            ceil_mode: Any, out: Shape | None) -> Call:
    kernel, padding = pair(kernel), pair(padding)
    stride = kernel if stride is None or stride == [] else pair(stride)
    shape = shape_of(inp)
    if pair(dilation) != (1, 1):
        raise Unsupported("a dilated pooling window; dilation 1 is supported; drop the dilation")
    if shape is None or out is None or len(shape) != 4:
        raise Unsupported("a pooling of an unbatched map; N x C x H x W is supported; add the "
                          "batch dimension")
    floor = [(s + 2 * p - k) // t + 1
             for s, p, k, t in zip(shape[2:], padding, kernel, stride, strict=True)]
    if ceil_mode and tuple(floor) != out[2:]:
        raise Unsupported("ceil_mode that adds a partial window; full windows are supported; "
                          "pad the map or use ceil_mode=False")
    attrs = {"kernel": kernel, "stride": stride, "dilation": (1, 1),
             "pad": (*padding, *padding), "in": shape[1]}
    return Call(kind, [inp], attrs)


def _average(inp: fx.Node, kernel: Any, stride: Any, padding: Any, ceil_mode: Any,
             count_pad: Any, divisor: Any, out: Shape | None) -> Call:
    call = _window("avgpool2d", inp, kernel, stride, padding, 1, ceil_mode, out)
    if not count_pad and any(call.attrs["pad"]):
        raise Unsupported("count_include_pad=False with padding; a constant divisor is supported; "
                          "use count_include_pad=True or no padding")
    size = call.attrs["kernel"]
    call.attrs["divisor"] = int(divisor) if divisor else size[0] * size[1]
    return call


def _adaptive(kind: str, inp: fx.Node, out: Shape | None) -> Call:
    shape = shape_of(inp)
    if shape is None or out is None or len(shape) != 4 or len(out) != 4:
        raise Unsupported("an adaptive pooling of an unbatched map; N x C x H x W is supported; "
                          "add the batch dimension")
    if shape[2] % out[2] or shape[3] % out[3]:
        raise Unsupported(f"adaptive pooling from {shape[2]}x{shape[3]} to {out[2]}x{out[3]}; "
                          "outputs that divide the input are supported; use a fixed window")
    kernel = (shape[2] // out[2], shape[3] // out[3])
    call = _window(kind, inp, kernel, kernel, 0, 1, False, out)
    call.attrs["divisor"] = kernel[0] * kernel[1]
    return call


def _mean(inp: fx.Node, dim: Any, out: Shape | None) -> Call:
    shape = shape_of(inp)
    if shape is None or len(shape) != 4 or dim is None:
        raise Unsupported("a mean that is not over H and W; mean over both is supported; use "
                          "x.mean((2, 3))")
    axes = sorted(d % 4 for d in ((dim,) if isinstance(dim, int) else dim))
    if axes != [2, 3]:
        raise Unsupported(f"a mean over dimensions {axes}; H and W together (2, 3) are supported; "
                          "use x.mean((2, 3))")
    call = _window("avgpool2d", inp, shape[2:], shape[2:], 0, 1, False, (*shape[:2], 1, 1))
    call.attrs["divisor"] = shape[2] * shape[3]
    call.attrs["squeeze"] = out is not None and len(out) == 2
    return call


def _reshape(inp: fx.Node, out: Shape | None) -> Call:
    shape = shape_of(inp)
    if shape is not None and out is not None:
        if shape == out:
            return Call("identity", [inp])
        count = 1
        for size in shape[1:]:
            count *= size
        if out == (shape[0], count):
            return Call("flatten", [inp])
    raise Unsupported(f"a reshape from {shape} to {out}; flattening all but the batch is "
                      "supported; reshape outside the network")


def _sum(node: fx.Node, bound: dict[str, Any]) -> Call:
    a, b = bound["input"], bound["other"]
    for side in (a, b):
        if not isinstance(side, fx.Node) or side.op == "get_attr" or shape_of(side) is None:
            raise Unsupported("an addition of a constant; adding two computed tensors is "
                              "supported; put the constant into a bias")
    if bound.get("alpha") not in (None, 1, 1.0):
        raise Unsupported("an addition with alpha; alpha 1 is supported; scale the branch before")
    if shape_of(a) != shape_of(b):
        raise Unsupported(f"an addition of shapes {shape_of(a)} and {shape_of(b)}; equal shapes "
                          "are supported; expand before adding")
    return Call("add", [a, b])


def _concat(bound: dict[str, Any]) -> Call:
    tensors = list(bound["tensors"])
    rank = len(shape_of(tensors[0]) or ())
    if int(bound.get("dim") or 0) % max(rank, 1) != 1:
        raise Unsupported(f"a concat along dimension {bound.get('dim')}; channels (1) are "
                          "supported; permute outside the network")
    return Call("concat", tensors)


def _clamp(inp: fx.Node, low: Any, high: Any) -> Call:
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        raise Unsupported("a clamp to tensors; constant limits are supported; use numbers")
    limits = (-inf if low is None else float(low), inf if high is None else float(high))
    return Call("clamp", [inp], clamp=limits)


def _batch_norm(inp: fx.Node, bn: BatchNorm) -> Call:
    return Call("batchnorm", [inp], bn=bn)


def read_module(node: fx.Node, module: nn.Module) -> Call:
    """Read a ``call_module`` node."""
    path, out = str(node.target), shape_of(node)
    inp = node.args[0] if node.args else node.kwargs.get("input")
    assert isinstance(inp, fx.Node)
    bias = f"{path}.bias" if getattr(module, "bias", None) is not None else None
    match module:
        case nn.Conv2d():
            if module.padding_mode != "zeros":
                raise Unsupported(f"padding mode {module.padding_mode!r}; zeros is supported; use "
                                  "zero padding")
            return _conv(inp, f"{path}.weight", bias, module.kernel_size, module.stride,
                         module.padding, module.dilation, module.groups)
        case nn.Linear():
            _check_linear(inp)
            return Call("linear", [inp], {}, f"{path}.weight", bias)
        case nn.BatchNorm2d() | nn.BatchNorm1d():
            if module.running_mean is None:
                raise Unsupported("a BatchNorm without running statistics; "
                                  "track_running_stats=True is supported; switch it on")
            affine = module.affine
            return _batch_norm(inp, BatchNorm(
                f"{path}.weight" if affine else None, f"{path}.bias" if affine else None,
                f"{path}.running_mean", f"{path}.running_var", module.eps, module.momentum,
                f"{path}.num_batches_tracked"))
        case nn.ReLU():
            return _clamp(inp, 0, None)
        case nn.ReLU6():
            return _clamp(inp, 0, 6)
        case nn.Hardtanh():
            return _clamp(inp, module.min_val, module.max_val)
        case nn.MaxPool2d() if not module.return_indices:
            return _window("maxpool2d", inp, module.kernel_size, module.stride, module.padding,
                           module.dilation, module.ceil_mode, out)
        case nn.AvgPool2d():
            return _average(inp, module.kernel_size, module.stride, module.padding,
                            module.ceil_mode, module.count_include_pad, module.divisor_override,
                            out)
        case nn.AdaptiveAvgPool2d():
            return _adaptive("avgpool2d", inp, out)
        case nn.AdaptiveMaxPool2d() if not module.return_indices:
            return _adaptive("maxpool2d", inp, out)
        case nn.Flatten():
            return _reshape(inp, out)
        case nn.Identity() | nn.Dropout() | nn.Dropout1d() | nn.Dropout2d():
            return Call("identity", [inp])
    raise Unsupported(f"module {type(module).__name__}; {SUPPORTED} are supported; replace it "
                      "or keep it outside the network")


SUPPORTED = ("Conv2d, Linear, BatchNorm, ReLU, ReLU6, Hardtanh, clamp, max and average pooling, "
             "residual add, concat, flatten, mean over H and W, dropout")


def _read_conv2d(n: fx.Node) -> Call:
    b = bind(n, "input weight bias=None stride=1 padding=0 dilation=1 groups=1")
    weight = _path(b["weight"])
    shape = shape_of(b["weight"])
    assert weight is not None and shape is not None
    ints = {k: b[k] if isinstance(b[k], str | tuple | list) else int(b[k])
            for k in ("stride", "padding", "dilation", "groups")}
    return _conv(b["input"], weight, _path(b["bias"]), shape[2:], **ints)


def _read_linear(n: fx.Node) -> Call:
    b = bind(n, "input weight bias=None")
    _check_linear(b["input"])
    return Call("linear", [b["input"]], {}, _path(b["weight"]), _path(b["bias"]))


def _read_batch_norm(n: fx.Node) -> Call:
    b = bind(n, "input running_mean running_var weight=None bias=None training=None momentum=0.1 "
                "eps=0.00001")
    mean, var = _path(b["running_mean"]), _path(b["running_var"])
    if mean is None or var is None:
        raise Unsupported("a batch_norm without running statistics; running statistics are "
                          "supported; pass them")
    return _batch_norm(b["input"], BatchNorm(_path(b["weight"]), _path(b["bias"]), mean, var,
                                             float(b["eps"]), float(b["momentum"])))


def _read_max_pool(n: fx.Node) -> Call:
    b = bind(n, "input kernel_size stride=None padding=None dilation=None ceil_mode=None "
                "return_indices=None")
    return _window("maxpool2d", b["input"], b["kernel_size"], b["stride"], b["padding"] or 0,
                   b["dilation"] or 1, b["ceil_mode"], shape_of(n))


def _read_avg_pool(n: fx.Node) -> Call:
    b = bind(n, "input kernel_size stride=None padding=None ceil_mode=None "
                "count_include_pad=True divisor_override=None")
    return _average(b["input"], b["kernel_size"], b["stride"], b["padding"] or 0, b["ceil_mode"],
                    b["count_include_pad"], b["divisor_override"], shape_of(n))


def _first(n: fx.Node) -> fx.Node:
    inp = n.args[0] if n.args else n.kwargs.get("input")
    assert isinstance(inp, fx.Node)
    return inp


def _read_clamp(n: fx.Node) -> Call:
    b = bind(n, "input min=None max=None")
    return _clamp(b["input"], b["min"], b["max"])


def _read_hardtanh(n: fx.Node) -> Call:
    b = bind(n, "input min_val=-1 max_val=1 inplace=None")
    return _clamp(b["input"], b["min_val"], b["max_val"])


def _relu(n: fx.Node) -> Call:
    return _clamp(_first(n), 0, None)


def _identity(n: fx.Node) -> Call:
    return Call("identity", [_first(n)])


def _shape_call(n: fx.Node) -> Call:
    return _reshape(_first(n), shape_of(n))


def _read_mean(n: fx.Node) -> Call:
    return _mean(_first(n), bind(n, "input dim=None keepdim=None")["dim"], shape_of(n))


def _read_add(n: fx.Node) -> Call:
    return _sum(n, bind(n, "input other alpha=None"))


def _read_concat(n: fx.Node) -> Call:
    return _concat(bind(n, "tensors dim=None"))


def _read_adaptive_avg(n: fx.Node) -> Call:
    return _adaptive("avgpool2d", _first(n), shape_of(n))


CALLS: dict[Any, Callable[[fx.Node], Call]] = {
    **dict.fromkeys([F.conv2d, torch.conv2d], _read_conv2d),
    F.linear: _read_linear,
    **dict.fromkeys([F.batch_norm], _read_batch_norm),
    **dict.fromkeys([F.relu, torch.relu, torch.relu_, F.relu_, "relu", "relu_"], _relu),
    F.relu6: lambda n: _clamp(_first(n), 0, 6),
    F.hardtanh: _read_hardtanh,
    **dict.fromkeys([torch.clamp, torch.clip, "clamp", "clamp_", "clip"], _read_clamp),
    "clamp_min": lambda n: _clamp(_first(n), bind(n, "input min")["min"], None),
    **dict.fromkeys([F.max_pool2d, torch.max_pool2d], _read_max_pool),
    F.avg_pool2d: _read_avg_pool,
    F.adaptive_avg_pool2d: _read_adaptive_avg,
    **dict.fromkeys([torch.flatten, torch.reshape, torch.squeeze, "flatten", "view", "reshape",
                     "squeeze"], _shape_call),
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
        raise Unsupported(f"{'method' if node.op == 'call_method' else 'function'} {name}; "
                          f"{SUPPORTED} are supported; replace it or keep it outside the network")
    return reader(node)
