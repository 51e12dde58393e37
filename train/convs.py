# SPDX-License-Identifier: Apache-2.0
"""Convolutions and transposed convolutions, of maps and sequences."""

from __future__ import annotations

from typing import Any

from torch import fx

from .nodes import Call, Unsupported, along, is_sequence, shape_of


def _conv_pad(
    padding: Any, kernel: Any, dilation: Any, low: bool
) -> tuple[int, int, int, int]:
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2
    rows, columns = along(padding, low, 0)
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
    """A convolution of N x C x H x W or N x C x L."""
    shape = shape_of(inp)
    if shape is None or len(shape) != 4:
        raise Unsupported(
            "a convolution of an unbatched map; N x C x H x W and N x C x L are supported; add the "
            "batch dimension"
        )
    low = is_sequence(inp)
    dilation, kernel = along(dilation, low), along(kernel, low)
    attrs = {
        "kernel": kernel,
        "stride": along(stride, low),
        "dilation": dilation,
        "pad": _conv_pad(padding, kernel, dilation, low),
        "groups": int(groups),
        "in": shape[1],
    }
    return Call("conv2d", [inp], attrs, weight, bias)


def make_conv_transpose(
    inp: fx.Node,
    weight: str,
    bias: str | None,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    output_padding: Any,
) -> Call:
    """A transposed convolution."""
    call = make_conv(inp, weight, bias, kernel, stride, padding, dilation, groups)
    attrs = call.attrs
    attrs["out_pad"] = along(output_padding, is_sequence(inp), 0)
    if any(
        p > d * (k - 1)
        for p, d, k in zip(attrs["pad"], attrs["dilation"] * 2, attrs["kernel"] * 2, strict=True)
    ):
        raise Unsupported(
            f"padding {attrs['pad'][:2]} beyond the kernel; up to dilation * (kernel - 1) is "
            "supported; use a slice behind it"
        )
    return Call("conv_transpose2d", [inp], attrs, weight, bias)
