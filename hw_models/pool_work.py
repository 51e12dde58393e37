# SPDX-License-Identifier: Apache-2.0
"""How much work a pool does: the features that cost tables price."""

from __future__ import annotations

from .work import Kernels, Work, special_work, window_taps


def pool2d_work(
    kind: str,
    in_shape: tuple[int, int, int],
    out_shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int, int, int],
    act_bits: int,
    act_signed: bool,
    kernels: Kernels = (),
) -> Work:
    """Work of a max or average pool; shapes are (H, W, C), pad is (top, left, bottom, right)."""
    special = special_work(
        kernels, kind, in_shape, out_shape, kernel, stride, pad, act_bits, act_signed
    )
    if special is not None:
        return special
    taps_in, taps_out = window_taps(in_shape[:2], out_shape[:2], kernel, stride, (1, 1), pad)
    pixels = out_shape[0] * out_shape[1]
    channels = out_shape[2]
    # Compilers unroll windows of two, and drop the loops over a single output pixel; each form
    # has its own prices.
    if any(pad):
        form = "border"
    elif pixels == 1:
        form = "global"
    else:
        form = "small" if max(kernel) <= 2 else "plain"
    prefix = "" if form == "plain" else f"{form}_"
    return Work(
        kind,
        0,
        act_bits,
        act_signed,
        {
            f"{prefix}tap": (taps_in + taps_out) * channels,
            f"{prefix}row": pixels * kernel[0] * channels,
            f"{prefix}output": pixels * channels,
            "layer": 1,
        },
        form=form,
    )
