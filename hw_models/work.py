# SPDX-License-Identifier: Apache-2.0
"""How much of which work one operator does: the features that cost tables price.

The same functions serve the training cost (``adaqat.train.cost``) and the report
(``adaqat.deploy.ops``), so a prediction and a training step can never count differently. A table
row gives a price per unit of each feature; a node's cost is the sum of count times price. Counts
follow from shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

GROUP = 8
"""Weight codes per packing group: 8 codes of b bits fill exactly b bytes."""


@dataclass(frozen=True)
class Work:
    """Work of one node.

    Attributes:
        kind: operator kind, the key of a cost table row.
        weight_bits: 1..8, or 0 where the operator has no weights.
        act_bits: bits of the (first) input tensor.
        act_signed: whether the (first) input tensor is signed.
        features: count per feature name.
        const_bytes: bytes of weights and constants in flash.
        macs: multiply-accumulates as the literature counts them (no packing padding).
        form: which variant of the operator's code is emitted; forms differ in code size.
        stored: units of constants that the table prices in bytes, where ``const_bytes`` cannot be
            told from the shape alone (a kernel family packs by what the widths allow).
    """

    kind: str
    weight_bits: int
    act_bits: int
    act_signed: bool
    features: Mapping[str, int] = field(default_factory=dict)
    const_bytes: int = 0
    macs: int = 0
    form: str = "plain"
    stored: Mapping[str, int] = field(default_factory=dict)


FEW = 3
"""Channels of an input of a concatenation whose copy has no loop."""
UNROLLED_ELEMENTS = 4
"""Elements of a pass of the loop of a requantisation with the DSP extension."""

Kernels = Sequence[str]
"""Names of kernel families, most specific first; the portable kernels come last."""

SPECIAL: dict[tuple[str, str], Callable[..., Work | None]] = {}
"""How a kernel family counts a kind, by (family, kind): the arguments of the kind's own function,
None where the family leaves the shape to the next one. the families' ``*_work`` modules fill it."""


def special_work(kernels: Kernels, kind: str, *shape: object) -> Work | None:
    """Work as the first kernel family counts it that takes the shape; None for portable C."""
    counts = (SPECIAL[family, kind] for family in kernels if (family, kind) in SPECIAL)
    return next((work for count in counts if (work := count(*shape)) is not None), None)


def padded(count: int) -> int:
    """Codes of one packed row: rounded up to whole groups."""
    return (count + GROUP - 1) // GROUP * GROUP


def packed_bytes(rows: int, row_length: int, bits: int) -> int:
    """Flash bytes of ``rows`` rows of ``row_length`` weight codes of ``bits`` bits."""
    return rows * padded(row_length) // 8 * bits


def requant_bytes(channels: int) -> int:
    """Flash bytes of the per-channel constants: bias (4), multiplier (2), shift (1)."""
    return 7 * channels


def inside(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    """Taps along one axis that fall inside the input, summed over all output positions."""
    return sum(
        1
        for o in range(out)
        for k in range(kernel)
        if 0 <= o * stride + k * dilation - before < size
    )


def window_taps(
    in_hw: tuple[int, int],
    out_hw: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int, int, int],
) -> tuple[int, int]:
    """(inside, outside) kernel taps over all output pixels; pad is (top, left, bottom, right)."""
    rows = inside(in_hw[0], out_hw[0], kernel[0], stride[0], dilation[0], pad[0])
    columns = inside(in_hw[1], out_hw[1], kernel[1], stride[1], dilation[1], pad[1])
    total = out_hw[0] * out_hw[1] * kernel[0] * kernel[1]
    return rows * columns, total - rows * columns


def conv_is_direct(
    kernel: tuple[int, int], pad: tuple[int, int, int, int], groups: int, channels: int
) -> bool:
    """Whether a convolution reads its input in place: one tap, no border, whole groups of codes."""
    return kernel == (1, 1) and not any(pad) and groups == 1 and channels % GROUP == 0


def _products(outputs: int, row: int) -> dict[str, int]:
    """Products and results of dot products; a row of one group needs no loop, so it is apart."""
    if padded(row) == GROUP:
        return {"short_output": outputs}
    return {"mac": outputs * padded(row), "output": outputs}


def conv2d_work(
    in_shape: tuple[int, int, int],
    out_shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int, int, int],
    groups: int,
    weight_bits: int,
    act_bits: int,
    act_signed: bool,
    kernels: Kernels = (),
) -> Work:
    """Work of a convolution; shapes are (H, W, C), pad is (top, left, bottom, right)."""
    special = special_work(
        kernels, "conv2d", in_shape, out_shape, kernel, stride, dilation, pad, groups,
        weight_bits, act_bits, act_signed,
    )  # fmt: skip
    if special is not None:
        return special
    row = kernel[0] * kernel[1] * (in_shape[2] // groups)
    pixels = out_shape[0] * out_shape[1]
    taps_in, taps_out = window_taps(in_shape[:2], out_shape[:2], kernel, stride, dilation, pad)
    outputs = pixels * out_shape[2]
    form = "grouped" if groups > 1 else "border" if any(pad) else "inside"
    if conv_is_direct(kernel, pad, groups, in_shape[2]):
        form, reading = "direct", {"sum": pixels * row}
    else:
        reading = {"gather": pixels * row * groups, "tap": (taps_in + taps_out) * groups}
    return Work(
        "conv2d",
        weight_bits,
        act_bits,
        act_signed,
        {
            **_products(outputs, row),
            **reading,
            "pixel": pixels * groups,
            "layer": 1,
        },
        packed_bytes(out_shape[2], row, weight_bits) + requant_bytes(out_shape[2]),
        outputs * row,
        form,
    )


def depthwise_conv2d_work(
    in_shape: tuple[int, int, int],
    out_shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int, int, int],
    weight_bits: int,
    act_bits: int,
    act_signed: bool,
    kernels: Kernels = (),
) -> Work:
    """Work of a depthwise convolution; shapes are (H, W, C), pad is (top, left, bottom, right)."""
    special = special_work(
        kernels, "depthwise_conv2d", in_shape, out_shape, kernel, stride, dilation, pad,
        weight_bits, act_bits, act_signed,
    )  # fmt: skip
    if special is not None:
        return special
    taps = kernel[0] * kernel[1]
    pixels = out_shape[0] * out_shape[1]
    taps_in, _ = window_taps(in_shape[:2], out_shape[:2], kernel, stride, dilation, pad)
    channels = out_shape[2]
    rows = inside(in_shape[0], out_shape[0], kernel[0], stride[0], dilation[0], pad[0])
    # A border brings a test of every tap; without one the loops are other code altogether.
    if any(pad):
        reading = {
            "mac": taps_in * channels,
            "test": rows * out_shape[1] * kernel[1] * channels,
            "row": rows * out_shape[1] * channels,
        }
    else:
        reading = {"plain_mac": taps_in * channels, "plain_row": rows * out_shape[1] * channels}
    return Work(
        "depthwise_conv2d",
        weight_bits,
        act_bits,
        act_signed,
        {
            **reading,
            "output": pixels * channels,
            "unpack": channels * padded(taps),
            "channel": channels,
            "layer": 1,
        },
        packed_bytes(channels, taps, weight_bits) + requant_bytes(channels),
        pixels * channels * taps,
        "border" if any(pad) else "inside",
    )


def linear_work(
    inputs: int,
    outputs: int,
    weight_bits: int,
    act_bits: int,
    act_signed: bool,
    kernels: Kernels = (),
) -> Work:
    """Work of a fully connected layer."""
    special = special_work(kernels, "linear", inputs, outputs, weight_bits, act_bits, act_signed)
    if special is not None:
        return special
    return Work(
        "linear",
        weight_bits,
        act_bits,
        act_signed,
        {
            **_products(outputs, inputs),
            "gather": inputs,
            "layer": 1,
        },
        packed_bytes(outputs, inputs, weight_bits) + requant_bytes(outputs),
        inputs * outputs,
        "copied" if inputs % GROUP else "direct",
    )


def elementwise_work(
    kind: str,
    elements: int,
    inputs: int,
    act_bits: int,
    act_signed: bool,
    const_bytes: int = 0,
    channels: int = 1,
    kernels: Kernels = (),
) -> Work:
    """Work of an operator that visits every element once (add, concat, requantize).

    Args:
        kind: of operator.
        elements: of the output.
        inputs: how many tensors are read.
        act_bits: bits of the first input.
        act_signed: whether it is signed.
        const_bytes: bytes of constants in flash.
        channels: of the output, its last axis.
        kernels: families, most specific first.
    """
    special = special_work(kernels, kind, elements, inputs, channels, act_bits, act_signed)
    if special is not None:
        return special
    features = {"element": elements, "layer": 1}
    if kind == "concat":
        # compilers unroll the copies of a few channels
        few = "few_" if channels <= FEW * inputs else ""
        features = {f"{few}element": elements, f"{few}part": elements // channels * inputs,
                    "layer": 1}  # fmt: skip
    return Work(kind, 0, act_bits, act_signed, features, const_bytes)
