# SPDX-License-Identifier: Apache-2.0
"""The common form of a network's operations, with the rules each must keep to be expressible."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

from torch import fx

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
    shape = getattr(node.meta.get("tensor_meta"), "shape", None)
    return None if shape is None else tuple(shape)


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
        raise Unsupported(
            f"{node.target} with {len(node.args)} arguments; {len(names)} are read; "
            "use the module form"
        )
    bound.update(zip(names, node.args, strict=False))
    for name, value in node.kwargs.items():
        bound["dim" if name == "axis" else name] = value
    return bound


def parameter_path(node: Any) -> str | None:
    """Path of a parameter read by a functional call."""
    if node is None:
        return None
    if isinstance(node, fx.Node) and node.op == "get_attr":
        return str(node.target)
    raise Unsupported(
        "a weight or bias that is computed; parameters of the module are supported; "
        "compute it once and store it as a parameter"
    )


def _conv_pad(padding: Any, kernel: Any, dilation: Any) -> tuple[int, int, int, int]:
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2
    rows, columns = pair(padding)
    return rows, columns, rows, columns


def make_conv(
    inp: fx.Node,
    weight: str,
    bias: str | None,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Call:
    """A convolution of N x C x H x W."""
    shape = shape_of(inp)
    if shape is None or len(shape) != 4:
        raise Unsupported(
            "a convolution of an unbatched map; N x C x H x W is supported; add the batch dimension"
        )
    dilation = pair(dilation)
    attrs = {
        "kernel": pair(kernel),
        "stride": pair(stride),
        "dilation": dilation,
        "pad": _conv_pad(padding, pair(kernel), dilation),
        "groups": int(groups),
        "in": shape[1],
    }
    return Call("conv2d", [inp], attrs, weight, bias)


def make_linear(inp: fx.Node, weight: str | None, bias: str | None) -> Call:
    """A linear layer on N x F."""
    shape = shape_of(inp)
    if shape is None or len(shape) != 2:
        raise Unsupported(
            f"a linear layer on a tensor of shape {shape}; N x F is supported; flatten before it"
        )
    return Call("linear", [inp], {}, weight, bias)


def make_window(
    kind: str,
    inp: fx.Node,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
    out: Shape | None,
) -> Call:
    """A sliding window: a pool."""
    kernel, padding = pair(kernel), pair(padding)
    stride = kernel if stride is None or stride == [] else pair(stride)
    shape = shape_of(inp)
    if pair(dilation) != (1, 1):
        raise Unsupported("a dilated pooling window; dilation 1 is supported; drop the dilation")
    if shape is None or out is None or len(shape) != 4:
        raise Unsupported(
            "a pooling of an unbatched map; N x C x H x W is supported; add the batch dimension"
        )
    floor = [
        (s + 2 * p - k) // t + 1
        for s, p, k, t in zip(shape[2:], padding, kernel, stride, strict=True)
    ]
    if ceil_mode and tuple(floor) != out[2:]:
        raise Unsupported(
            "ceil_mode that adds a partial window; full windows are supported; "
            "pad the map or use ceil_mode=False"
        )
    attrs = {
        "kernel": kernel,
        "stride": stride,
        "dilation": (1, 1),
        "pad": (*padding, *padding),
        "in": shape[1],
    }
    return Call(kind, [inp], attrs)


def make_average(
    inp: fx.Node,
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil_mode: Any,
    count_pad: Any,
    divisor: Any,
    out: Shape | None,
) -> Call:
    """An average pool with a constant divisor."""
    call = make_window("avgpool2d", inp, kernel, stride, padding, 1, ceil_mode, out)
    if not count_pad and any(call.attrs["pad"]):
        raise Unsupported(
            "count_include_pad=False with padding; a constant divisor is supported; "
            "use count_include_pad=True or no padding"
        )
    size = call.attrs["kernel"]
    call.attrs["divisor"] = int(divisor) if divisor else size[0] * size[1]
    return call


def make_adaptive(kind: str, inp: fx.Node, out: Shape | None) -> Call:
    """An adaptive pool whose windows are all alike."""
    shape = shape_of(inp)
    if shape is None or out is None or len(shape) != 4 or len(out) != 4:
        raise Unsupported(
            "an adaptive pooling of an unbatched map; N x C x H x W is supported; "
            "add the batch dimension"
        )
    if shape[2] % out[2] or shape[3] % out[3]:
        raise Unsupported(
            f"adaptive pooling from {shape[2]}x{shape[3]} to {out[2]}x{out[3]}; "
            "outputs that divide the input are supported; use a fixed window"
        )
    kernel = (shape[2] // out[2], shape[3] // out[3])
    call = make_window(kind, inp, kernel, kernel, 0, 1, False, out)
    call.attrs["divisor"] = kernel[0] * kernel[1]
    return call


def make_mean(inp: fx.Node, dim: Any, out: Shape | None) -> Call:
    """A mean over H and W: a global average pool."""
    shape = shape_of(inp)
    if shape is None or len(shape) != 4 or dim is None:
        raise Unsupported(
            "a mean that is not over H and W; mean over both is supported; use x.mean((2, 3))"
        )
    axes = sorted(d % 4 for d in ((dim,) if isinstance(dim, int) else dim))
    if axes != [2, 3]:
        raise Unsupported(
            f"a mean over dimensions {axes}; H and W together (2, 3) are supported; "
            "use x.mean((2, 3))"
        )
    call = make_window("avgpool2d", inp, shape[2:], shape[2:], 0, 1, False, (*shape[:2], 1, 1))
    call.attrs["divisor"] = shape[2] * shape[3]
    call.attrs["squeeze"] = out is not None and len(out) == 2
    return call


def make_reshape(inp: fx.Node, out: Shape | None) -> Call:
    """A flatten, or nothing at all, told from the shapes."""
    shape = shape_of(inp)
    if shape is not None and out is not None:
        if shape == out:
            return Call("identity", [inp])
        count = 1
        for size in shape[1:]:
            count *= size
        if out == (shape[0], count):
            return Call("flatten", [inp])
    raise Unsupported(
        f"a reshape from {shape} to {out}; flattening all but the batch is "
        "supported; reshape outside the network"
    )


def make_sum(node: fx.Node, bound: dict[str, Any]) -> Call:
    """An addition of two computed tensors."""
    a, b = bound["input"], bound["other"]
    for side in (a, b):
        if not isinstance(side, fx.Node) or side.op == "get_attr" or shape_of(side) is None:
            raise Unsupported(
                "an addition of a constant; adding two computed tensors is "
                "supported; put the constant into a bias"
            )
    if bound.get("alpha") not in (None, 1, 1.0):
        raise Unsupported("an addition with alpha; alpha 1 is supported; scale the branch before")
    if shape_of(a) != shape_of(b):
        raise Unsupported(
            f"an addition of shapes {shape_of(a)} and {shape_of(b)}; equal shapes "
            "are supported; expand before adding"
        )
    return Call("add", [a, b])


def make_concat(bound: dict[str, Any]) -> Call:
    """A concat along channels."""
    tensors = list(bound["tensors"])
    rank = len(shape_of(tensors[0]) or ())
    if int(bound.get("dim") or 0) % max(rank, 1) != 1:
        raise Unsupported(
            f"a concat along dimension {bound.get('dim')}; channels (1) are "
            "supported; permute outside the network"
        )
    return Call("concat", tensors)


def make_clamp(inp: fx.Node, low: Any, high: Any) -> Call:
    """A clamp to constant limits."""
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        raise Unsupported("a clamp to tensors; constant limits are supported; use numbers")
    limits = (-inf if low is None else float(low), inf if high is None else float(high))
    return Call("clamp", [inp], clamp=limits)


def make_batch_norm(inp: fx.Node, bn: BatchNorm) -> Call:
    """A batch normalisation."""
    return Call("batchnorm", [inp], bn=bn)


def first_input(n: fx.Node) -> fx.Node:
    """The tensor a node reads first."""
    inp = n.args[0] if n.args else n.kwargs.get("input")
    assert isinstance(inp, fx.Node)
    return inp


SUPPORTED = "convolution, linear, batch norm, ReLU and other clamps, pooling, add, concat, flatten"
