# SPDX-License-Identifier: Apache-2.0
"""Readers of the .tflite operators without weights: pools, sums, products, softmax, grids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph import Node
from ..ops.add import Add
from ..ops.base import Window
from ..ops.concat import Concat
from ..ops.lookup import Lookup
from ..ops.pool2d import AvgPool2d, MaxPool2d
from ..ops.tflite_avgpool2d import TfliteAvgPool2d
from ..ops.tflite_elementwise import LEFT, TfliteAdd, TfliteMul
from ..ops.tflite_softmax import TfliteSoftmax
from ..requant import snap, snap_add
from ..tflite_rule import quantize_multiplier
from ..tflite_rule import scale as rescale
from ..tflite_softmax import exp_table
from .tflite import INT16, Builder, Unreadable
from .tflite_constants import product_constants, sum_constants
from .tflite_file import TfOperator
from .tflite_wide import add_scaling
from .tflite_window import pool_window

Reader = Callable[[Builder, TfOperator], None]


def read_avgpool(b: Builder, op: TfOperator) -> None:
    """AVERAGE_POOL_2D; the padding does not count."""
    source, tensor = b.source(op), b.tensor(op.outputs[0])
    _same_grid(b, op, source)
    window = pool_window(op, source)
    lo, hi = b.limits(op.option(5, "b"), tensor)
    if b.exact or any(window.pad):
        b.add(op, TfliteAvgPool2d(window, lo, hi), (source,))
        return
    count = window.kernel[0] * window.kernel[1]
    type_, zero = source.output.type, source.output.zero
    rule = snap(
        np.array([1 / count]), np.array([-float(zero)]), np.array([count * type_.lo]),
        np.array([count * type_.hi]), zero=zero, lo=lo, hi=hi, name=tensor.name,
    )  # fmt: skip
    b.add(op, AvgPool2d(window, rule, type_), (source,))


def read_maxpool(b: Builder, op: TfOperator) -> None:
    """MAX_POOL_2D, with its activation as a table."""
    source = b.source(op)
    _same_grid(b, op, source)
    pool = MaxPool2d(pool_window(op, source))
    limits = b.limits(op.option(5, "b"), b.tensor(op.outputs[0]))
    if limits == (source.output.type.lo, source.output.type.hi):
        b.add(op, pool, (source,))
        return
    out = source.output
    node = b.step(f"maxpool2d_{op.outputs[0]}", pool, (source,), out.scale, out.zero, source.source)
    if out.type == INT16:  # a table would have 65,536 entries
        b.add(op, TfliteAvgPool2d(Window((1, 1)), *limits), (node,))
        return
    codes = np.clip(np.arange(-128, 128), *limits)[None]
    b.add(op, Lookup(codes.astype(np.int64), out.type), (node,))


def read_add(b: Builder, op: TfOperator) -> None:
    """ADD and SUB of two computed tensors."""
    sign = -1 if op.name == "SUB" else 1
    sources = (b.source(op), b.source(op, 1))
    if sign > 0 and sources[1].output.size > sources[0].output.size:
        sources = (sources[1], sources[0])
    tensor = b.tensor(op.outputs[0])
    type_, out_scale, zero = b.grid(tensor)
    lo, hi = b.limits(op.option(0, "b"), tensor)
    scales = [source.output.scale for source in sources]
    zeros = (sources[0].output.zero, sources[1].output.zero)
    if not b.exact:
        if sources[0].output.shape != sources[1].output.shape:
            raise Unreadable("a broadcast sum; equal shapes are supported with native rounding")
        ranges = [(s.output.type.lo, s.output.type.hi) for s in sources]
        rule = snap_add(
            [scales[0] / out_scale, sign * scales[1] / out_scale], ranges, input_zeros=zeros,
            zero=zero, lo=lo, hi=hi, name=tensor.name,
        )  # fmt: skip
        b.add(op, Add(rule, type_), sources)
        return
    if type_ == INT16 and op.option(1, "b", 1) and all(
        np.frexp(np.float32(s))[0] == 0.5 for s in (*scales, out_scale)
    ):
        raise Unreadable(
            "a 16-bit sum whose scales are all powers of two, with pot_scale_int16 set; sums with"
            " general scales are supported; clear pot_scale_int16"
        )
    m, shifts = sum_constants(scales, out_scale, sign, LEFT[type_.container_bits])
    b.add(op, TfliteAdd(zeros, m, shifts, zero, lo, hi, "double", type_), sources)


def read_mul(b: Builder, op: TfOperator) -> None:
    """MUL of two computed tensors."""
    sources = (b.source(op), b.source(op, 1))
    if sources[1].output.size > sources[0].output.size:
        sources = (sources[1], sources[0])
    tensor = b.tensor(op.outputs[0])
    type_, out_scale, zero = b.grid(tensor)
    lo, hi = b.limits(op.option(0, "b"), tensor)
    scales = (sources[0].output.scale, sources[1].output.scale)
    m, shift = product_constants(*scales, out_scale)
    zeros = (sources[0].output.zero, sources[1].output.zero)
    b.add(op, TfliteMul(zeros, m, shift, zero, lo, hi, "double", type_), sources)


def read_softmax(b: Builder, op: TfOperator) -> None:
    """SOFTMAX over the last axis."""
    source = b.source(op)
    _, out_scale, zero = b.grid(b.tensor(op.outputs[0]))
    if (out_scale, zero) != (1 / 256, -128):
        raise Unreadable(
            f"output scale {out_scale} and zero point {zero}; 1/256 and -128 are supported; export"
            " the model again"
        )
    beta = op.options.real(0) if op.options is not None else 1.0
    if beta <= 0:
        raise Unreadable(f"beta {beta}; positive numbers are supported")
    b.add(op, TfliteSoftmax(exp_table(source.output.scale, beta)), (source,))


def read_quantize(b: Builder, op: TfOperator) -> None:
    """QUANTIZE: from the float input (nothing is computed), or between two grids."""
    source = b.source(op)
    if op.outputs[0] in b.at:
        return
    type_, out_scale, zero = b.grid(b.tensor(op.outputs[0]), any_sign=True)
    ratio = np.float64(source.output.scale) / np.float64(out_scale)
    m, shift = quantize_multiplier(float(ratio))
    info = source.output
    if INT16 in (info.type, type_):
        add_scaling(b, op, (type_.lo, type_.hi))
        return
    codes = np.arange(info.type.lo, info.type.hi + 1, dtype=np.int64) - info.zero
    entries = np.clip(rescale(codes, m, shift, "double") + zero, type_.lo, type_.hi)
    b.add(op, Lookup(entries[None], type_), (source,))


def read_dequantize(b: Builder, op: TfOperator) -> None:
    """DEQUANTIZE of the output: scale and zero point say it all."""
    if op.outputs != b.model.outputs:
        raise Unreadable("float tensors inside the network; a full-integer model is supported")
    b.at[op.outputs[0]] = b.source(op)


def read_concat(b: Builder, op: TfOperator) -> None:
    """CONCATENATION along channels; an input on another grid is requantised first."""
    tensor = b.tensor(op.outputs[0])
    type_, out_scale, zero = b.grid(tensor)
    axis = op.option(0) % len(tensor.shape)
    if axis != len(tensor.shape) - 1 or op.option(1, "b"):
        raise Unreadable(
            f"axis {axis} or a fused activation; channels without activation are supported"
        )
    parts = []
    for position in range(len(op.inputs)):
        source = b.source(op, position)
        info = source.output
        if (info.scale, info.zero) != (out_scale, zero):
            if info.type == INT16:
                raise Unreadable("16-bit inputs on other scales; equal scales are supported")
            codes = np.arange(info.type.lo, info.type.hi + 1, dtype=np.float64) - info.zero
            real = np.float32(info.scale) / np.float32(out_scale)
            entries = np.clip(np.floor(codes * float(real) + 0.5) + zero, type_.lo, type_.hi)
            table = Lookup(entries[None].astype(np.int64), type_)
            name = f"regrid_{tensor.index}_{position}"
            source = b.step(name, table, (source,), out_scale, zero, tensor.name)
        parts.append(source)
    b.add(op, Concat(), tuple(parts))


def _same_grid(b: Builder, op: TfOperator, source: Node) -> None:
    _, out_scale, zero = b.grid(b.tensor(op.outputs[0]))
    if (source.output.scale, source.output.zero) != (out_scale, zero):
        raise Unreadable("another scale behind than before it; equal ones are supported")


ELEMENTWISE: dict[str, Reader] = {
    "ADD": read_add,
    "AVERAGE_POOL_2D": read_avgpool,
    "CONCATENATION": read_concat,
    "DEQUANTIZE": read_dequantize,
    "MAX_POOL_2D": read_maxpool,
    "MUL": read_mul,
    "QUANTIZE": read_quantize,
    "SOFTMAX": read_softmax,
    "SUB": read_add,
}
"""How each operator is read, by its name in the schema."""
