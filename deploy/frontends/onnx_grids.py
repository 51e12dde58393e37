# SPDX-License-Identifier: Apache-2.0
"""Readers of quantisers: QuantizeLinear, DequantizeLinear, Quant, BipolarQuant, Trunc, Floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..requant import Float64
from ..types import IntType
from .onnx_file import OnnxNode
from .onnx_input import TYPES
from .onnx_quantizers import ROUNDINGS, code_type, looked_up, quantise
from .onnx_rule import read_floor, read_round
from .onnx_values import Const, FloatInput, Pending, Sum, Table, Tensor, Unreadable

if TYPE_CHECKING:
    from .onnx import Builder


def one(b: Builder, node: OnnxNode, position: int, what: str, default: float = 0.0) -> float:
    """A constant with one value.

    Raises:
        Unreadable: computed, missing values, or several.
    """
    if not node.has(position):
        return default
    found = b.const(node, position, what).data
    if found.size != 1:
        raise Unreadable(
            f"{what} with {found.size} values; one for the whole activation is supported (one per"
            " channel for weights); quantise per tensor"
        )
    return float(np.asarray(found, np.float64).reshape(()))


def whole(value: float, what: str) -> int:
    """A number that must be whole."""
    if not np.isfinite(value) or value != round(value):
        raise Unreadable(f"{what} {value}; whole numbers are supported; calibrate again")
    return round(value)


def width(b: Builder, node: OnnxNode, position: int) -> int:
    """A bit-width; biases may have up to 32 bits."""
    bits = whole(one(b, node, position, "a bit-width"), "bit-width")
    if not 1 <= bits <= 32:
        raise Unreadable(f"bit-width {bits}; 1 to 32 are supported; export again")
    return bits


def type_name(data: NDArray[Any]) -> str:
    """ONNX's name of an array's element type."""
    return str(data.dtype)


def read_quantize_linear(b: Builder, node: OnnxNode) -> Tensor:
    """QuantizeLinear; the type of the zero point is that of the codes."""
    kind = "uint8"
    if node.has(2):
        kind = type_name(b.const(node, 2, "a zero point").data)
    if kind not in TYPES:
        raise Unreadable(
            f"{kind} codes; {', '.join(TYPES)} are supported; quantise to 8 bits"
        )
    found, type_ = b.tensor(node), TYPES[kind]
    if isinstance(found, Const):
        scale, zero = along(b, node, found.data)
        ints = np.rint(found.reals / scale) + zero
        codes = np.clip(ints, type_.lo, type_.hi).astype(np.int64)
        return Const(codes.astype(type_.dtype))
    scale_one = one(b, node, 1, "a scale")
    return quantise(b, found, scale_one, whole(one(b, node, 2, "zero point"), "zero point"), type_)


def along(b: Builder, node: OnnxNode, data: NDArray[Any]) -> tuple[Float64, Float64]:
    """(scale, zero point) of a constant, with its rank; per channel along the axis attribute."""
    if node.attr("block_size", 0):
        raise Unreadable(
            "scales per block; one scale, or one per channel, is supported; quantise per channel"
        )
    found = []
    for position, default in ((1, 1.0), (2, 0.0)):
        values = np.asarray(default)
        if node.has(position):
            values = b.const(node, position, "a scale or zero point").reals
        if values.size > 1:
            axis = node.attr("axis", 1) % data.ndim
            if values.size != data.shape[axis]:
                raise Unreadable(
                    f"{values.size} scales for {data.shape[axis]} channels; one, or one per"
                    " channel, is supported; export again"
                )
            values = values.reshape([-1 if i == axis else 1 for i in range(data.ndim)])
        else:
            values = values.reshape([1] * data.ndim)
        found.append(values)
    return found[0], found[1]


def read_dequantize_linear(b: Builder, node: OnnxNode) -> Tensor:
    """DequantizeLinear of codes or of a constant."""
    found = b.tensor(node)
    if isinstance(found, Const):
        return _dequantised(b, node, found)
    table = b.table(node)
    scale, zero = one(b, node, 1, "a scale"), one(b, node, 2, "a zero point")
    if not (np.isfinite(scale) and scale > 0):
        raise Unreadable(f"scale {scale}; positive finite scales are supported; calibrate again")
    return Table(table.codes, (table.real - zero) * scale)


def _dequantised(b: Builder, node: OnnxNode, found: Const) -> Const:
    scale, zero = along(b, node, found.data)
    ints = found.data.astype(np.int64) - zero.astype(np.int64)
    grid = None
    kind = type_name(found.data)
    if kind in TYPES and (zero == zero.flat[0]).all():
        grid = (TYPES[kind].bits, 1, TYPES[kind].lo - int(zero.flat[0]))
    return Const((ints * scale).astype(np.float32), ints, scale, grid)


def read_quant(b: Builder, node: OnnxNode) -> Tensor:
    """QONNX Quant, of constants (weights, biases) or activations."""
    signed, narrow = bool(node.attr("signed", 1)), bool(node.attr("narrow", 0))
    mode = str(node.attr("rounding_mode", "ROUND")).upper()
    bits = width(b, node, 3)
    if bits == 1 and signed:  # the definition of QONNX
        return read_bipolar(b, node)
    lo = -(2 ** (bits - 1)) + narrow if signed else 0
    hi = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    found = b.tensor(node)
    if isinstance(found, Const):
        return _quantised_constant(b, node, found, (bits, lo, hi), mode)
    scale, zero = one(b, node, 1, "a scale"), one(b, node, 2, "a zero point")
    if bits == 1 and not signed and zero == 1:
        # -1 and 0: one signed bit here, while QONNX takes that for -1 and +1
        signed, zero, lo, hi = True, 0.0, -1, 0
    type_ = code_type(bits, signed)
    table = quantise(b, found, scale, whole(zero, "zero point"), type_, (lo, hi), mode)
    return Table(table.codes, (table.real - zero) * scale)


def _quantised_constant(
    b: Builder, node: OnnxNode, found: Const, grid: tuple[int, int, int], mode: str
) -> Const:
    bits, lo, hi = grid
    if mode not in ROUNDINGS:
        raise Unreadable(f"rounding mode {mode}; {', '.join(ROUNDINGS)} are supported; use ROUND")
    rank = max(found.data.ndim, 1)
    # float32, as the executor of QONNX computes it
    scale, zero = (b.const(node, i, "a scale or zero point").data for i in (1, 2))
    codes = np.clip(ROUNDINGS[mode](found.data / scale + zero), lo, hi)
    wide = scale.astype(np.float64)
    wide = wide.reshape([1] * (rank - wide.ndim) + list(wide.shape))
    zeros = np.broadcast_to(zero, codes.shape).astype(np.float64)
    double = bool((zeros != np.rint(zeros)).any())  # zero-free grids: halves as zero points
    step = 2 if double else 1
    ints = np.rint(step * (codes - zeros)).astype(np.int64)
    shared = bits <= 8 and bool((zeros == zeros.flat[0]).all())
    first = float(zeros.flat[0])
    low = -(2 ** (bits - 1)) if lo < 0 else 0
    return Const(
        (ints * (wide / step)).astype(np.float32), ints, wide / step,
        (bits, step, round(step * (low - first))) if shared else None,
    )  # fmt: skip


def read_bipolar(b: Builder, node: OnnxNode) -> Tensor:
    """QONNX BipolarQuant: -scale below zero, else +scale; the code is one bit."""
    found = b.tensor(node)
    if isinstance(found, Const):
        ints = np.where(found.data >= 0, 1, -1).astype(np.int64)
        units = b.const(node, 1, "a scale").reals
        spread = units.reshape([1] * (max(ints.ndim, 1) - units.ndim) + list(units.shape))
        return Const((ints * spread).astype(np.float32), ints, spread, (1, 2, -1))
    scale = one(b, node, 1, "a scale")
    type_ = IntType(1, False)
    if isinstance(found, Table):
        table = looked_up(b, found.codes, (found.real >= 0).astype(np.int64), type_, scale, 0)
    elif isinstance(found, Pending | Sum):
        gains = np.abs(found.gain if isinstance(found, Pending) else np.array(found.gains))
        wide = 4 * float(gains.max())  # any grid whose border between codes 0 and 1 is zero
        shifted: Pending | Sum
        if isinstance(found, Pending):
            shifted = replace(found, offset=found.offset + wide / 2)
        else:
            shifted = replace(found, offset=found.offset + wide / 2)
        table = quantise(b, shifted, wide, 0, type_)
    else:
        raise Unreadable(
            f"a sign of {'the real input' if isinstance(found, FloatInput) else 'this tensor'};"
            " layers and codes are supported in front; use Quant"
        )
    return Table(table.codes, (2 * table.real - 1) * scale)


def read_trunc(b: Builder, node: OnnxNode) -> Tensor:
    """QONNX Trunc: drops low bits (behind average pools); both versions of the operator."""
    second = node.has(5)
    scale, zero = one(b, node, 1, "a scale"), one(b, node, 2, "a zero point")
    before, after = width(b, node, 3), width(b, node, 5 if second else 4)
    if second:
        ratio = one(b, node, 4, "an output scale") / scale
        if not 2.0**-32 <= ratio <= 2.0**32:
            raise Unreadable(f"output scale {ratio:g} times the scale; powers of two are supported")
        step = 2.0 ** round(np.log2(ratio))
        signed = bool(node.attr("signed", 1))
    else:
        step = 2.0 ** (before - after)
        signed = _may_be_negative(b.active(node))
    mode = str(node.attr("rounding_mode", "FLOOR")).upper()
    moved = zero / step
    type_ = code_type(after, signed)
    found = b.active(node)
    if isinstance(found, Table):  # whole before the shift, whatever float made of it
        found = Table(found.codes, np.rint(found.real / scale) * scale)
    lo = type_.lo + (1 if second and signed and node.attr("narrow", 0) else 0)
    table = quantise(
        b, found, scale * step, whole(moved, "zero point"), type_, (lo, type_.hi), mode
    )
    # version 1 keeps the scale and lets the value shrink, version 2 has its own
    real = (table.real - moved) * scale * step if second else (table.real - zero) * scale
    return Table(table.codes, real)


def _may_be_negative(t: Tensor) -> bool:
    if isinstance(t, Table):
        return bool(t.real.min() < 0)
    if isinstance(t, Pending):
        if t.limits[0] >= 0:
            return False
        ends = (t.gain * t.low + t.offset, t.gain * t.high + t.offset)
        return bool(min(ends[0].min(), ends[1].min()) < 0)
    return True


GRIDS: dict[str, Callable[[Builder, OnnxNode], Tensor]] = {
    "BipolarQuant": read_bipolar,
    "DequantizeLinear": read_dequantize_linear,
    "Floor": read_floor,
    "Quant": read_quant,
    "QuantizeLinear": read_quantize_linear,
    "Round": read_round,
    "Trunc": read_trunc,
}
"""How each operator is read, by its ONNX name."""
