# SPDX-License-Identifier: Apache-2.0
"""Pooling: windows, averages, adaptive pools and means."""

from __future__ import annotations

from typing import Any

from torch import fx

from .nodes import Call, Shape, Unsupported, along, is_sequence, real_shape, shape_of


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
    low = is_sequence(inp)
    kernel, padding = along(kernel, low), along(padding, low, 0)
    stride = kernel if stride is None or stride == [] else along(stride, low)
    shape = shape_of(inp)
    if along(dilation, low) != (1, 1):
        raise Unsupported("a dilated pooling window; dilation 1 is supported; drop the dilation")
    if shape is None or out is None or len(shape) != 4:
        raise Unsupported(
            "a pooling of an unbatched map; N x C x H x W is supported; add the batch dimension"
        )
    floor = [
        (s + 2 * p - k) // t + 1
        for s, p, k, t in zip(shape[2:], padding, kernel, stride, strict=True)
    ]
    more = [0, 0]
    if ceil_mode and tuple(floor) != out[2:]:
        if kind != "maxpool2d":
            raise Unsupported(
                "ceil_mode that adds a partial window to an average; full windows are supported; "
                "pad the map or use ceil_mode=False"
            )
        # the last window hangs over the end; padding never wins
        more = [
            max(0, (o - 1) * t + k - s - 2 * p)
            for o, s, p, k, t in zip(out[2:], shape[2:], padding, kernel, stride, strict=True)
        ]
    attrs = {
        "kernel": kernel,
        "stride": stride,
        "dilation": (1, 1),
        "pad": (*padding, padding[0] + more[0], padding[1] + more[1]),
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
    if not (out[2] % shape[2] or out[3] % shape[3]) and out != shape:
        return Call("upsample_nearest", [inp], {"size": (out[2], out[3])})
    if shape[2] % out[2] or shape[3] % out[3]:
        raise Unsupported(
            f"adaptive pooling from {shape[2]}x{shape[3]} to {out[2]}x{out[3]}; "
            "outputs that divide the input, or the other way round, are supported; use a "
            "fixed window"
        )
    kernel = (shape[2] // out[2], shape[3] // out[3])
    call = make_window(kind, inp, kernel, kernel, 0, 1, False, out)
    call.attrs["divisor"] = kernel[0] * kernel[1]
    return call


def make_mean(node: fx.Node, inp: fx.Node, dim: Any) -> Call:
    """A mean over H, W or both (or L): an average pool."""
    shape, out, real = shape_of(inp), real_shape(node), real_shape(inp)
    if shape is None or len(shape) != 4 or dim is None or real is None or out is None:
        raise Unsupported(
            "a mean that is not over H and W; means over H, W or both are supported; use "
            "x.mean((2, 3))"
        )
    axes = sorted(d % len(real) for d in ((dim,) if isinstance(dim, int) else dim))
    axes = [3 if len(real) == 3 and axis == 2 else axis for axis in axes]
    if not axes or not set(axes) <= {2, 3}:
        raise Unsupported(
            f"a mean over dimensions {axes}; H and W, (2, 3), are supported; use x.mean((2, 3))"
        )
    kernel = (shape[2] if 2 in axes else 1, shape[3] if 3 in axes else 1)
    kept = (*shape[:2], shape[2] // kernel[0], shape[3] // kernel[1])
    if len(out) == 3 and (*out[:2], 1, out[2]) != kept:
        raise Unsupported(
            f"a mean over dimension {axes} that drops it; keepdim=True is supported there"
        )
    call = make_window("avgpool2d", inp, kernel, kernel, 0, 1, False, kept)
    call.attrs["divisor"] = kernel[0] * kernel[1]
    call.attrs["squeeze"] = len(out) == 2
    return call
