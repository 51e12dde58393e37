# SPDX-License-Identifier: Apache-2.0
"""How sums, products, tables and softmax are written as .tflite operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph import Node
from ..ops.add import Add
from ..ops.lookup import Lookup
from ..ops.mul import Mul
from ..ops.requantize import Requantize
from ..ops.softmax import Softmax
from ..ops.tflite_elementwise import TfliteAdd, TfliteMul
from ..ops.tflite_softmax import TfliteSoftmax
from ..ops.upsample import UpsampleBilinear, denominators
from ..requant import Int64, Requant
from ..tflite_softmax import exp_table
from ..types import IntType
from .tflite_constants import activation_limits, product_constants, sum_constants
from .tflite_functions import CODES, PLAIN, RELUS, Grids, leaky, regrid
from .tflite_growing import INT8, File, Write, shift_of

SCALES = "the scales of the tensors say {} and the multipliers {}; they must agree; import or lower\
 the model again"


def refuse_wide(node: Node) -> None:
    """Refuse 16-bit results of this project's own rounding."""
    if node.output.wide:
        raise UnsupportedError(
            ["16-bit activations with this project's rounding; those with TFLite's are supported;"
             " import the model with tflite rounding"]
        )  # fmt: skip


def write_tflite_add(f: File, node: Node) -> None:
    """ADD or SUB whose constants follow from the scales of the tensors."""
    op = node.op
    assert isinstance(op, TfliteAdd)
    infos = [f.info(node, i) for i in (0, 1)]
    sign = -1 if op.m[1] < 0 else 1
    found = sum_constants([info.scale for info in infos], node.output.scale, sign, op.left)
    zeros = (infos[0].zero, infos[1].zero)
    if found != (op.m, op.shift) or op.zeros != zeros or op.z != node.output.zero or (
        op.rounding != "double"
    ):
        raise UnsupportedError([SCALES.format(found, (op.m, op.shift))])
    _sum(f, node, (0, 1), sign, op.lo, op.hi)


def write_add(f: File, node: Node) -> None:
    """ADD or SUB of two tensors; LiteRT has finer multipliers and rounds otherwise."""
    op = node.op
    assert isinstance(op, Add)
    refuse_wide(node)
    rule, infos = op.requant, [f.info(node, i) for i in range(len(node.inputs))]
    if len(infos) != 2:
        raise UnsupportedError(
            [f"a sum of {len(infos)} tensors; two are supported; add two at a time"]
        )
    ratios = [info.scale / node.output.scale for info in infos]
    found = [m / 2**rule.s for m in rule.m]
    if any(abs(abs(a) - r) > 2.0**-rule.s for a, r in zip(found, ratios, strict=True)):
        raise UnsupportedError([SCALES.format(ratios, found)])
    zeros = sum(m * info.zero for m, info in zip(rule.m, infos, strict=True))
    if rule.bias != -zeros or rule.z != node.output.zero or max(rule.m) < 0:
        raise UnsupportedError(
            ["a sum with a constant, or of two negated tensors; sums and differences of two tensors"
             " are supported; add the constant in a layer before it"]
        )  # fmt: skip
    order = (1, 0) if rule.m[0] < 0 else (0, 1)
    _sum(f, node, order, -1 if min(rule.m) < 0 else 1, rule.lo, rule.hi)


def _sum(f: File, node: Node, order: tuple[int, int], sign: int, lo: int, hi: int) -> None:
    name = "SUB" if sign < 0 else "ADD"
    inputs = [f.source(node, i) for i in order]
    wide: dict[str, Any] = {"potScaleInt16": False} if node.output.wide else {}
    f.clamped(node, name, inputs, 3 if wide else 2, f"{name.capitalize()}Options", lo, hi, **wide)


def write_tflite_mul(f: File, node: Node) -> None:
    """MUL whose constants follow from the scales of the tensors."""
    op = node.op
    assert isinstance(op, TfliteMul)
    infos = [f.info(node, i) for i in (0, 1)]
    found = product_constants(infos[0].scale, infos[1].scale, node.output.scale)
    same = (op.zeros, op.z) == ((infos[0].zero, infos[1].zero), node.output.zero)
    if found != (op.m, op.shift) or not same or op.rounding != "double":
        raise UnsupportedError([SCALES.format(found, (op.m, op.shift))])
    inputs = [f.source(node, i) for i in (0, 1)]
    f.clamped(node, "MUL", inputs, 4 if node.output.wide else 2, "MulOptions", op.lo, op.hi)


def write_mul(f: File, node: Node) -> None:
    """MUL of two tensors."""
    op = node.op
    assert isinstance(op, Mul)
    refuse_wide(node)
    infos = [f.info(node, i) for i in (0, 1)]
    _check_ratio(op.requant, infos[0].scale * infos[1].scale / node.output.scale, 0, node)
    if op.zeros != (infos[0].zero, infos[1].zero):
        raise UnsupportedError(
            [f"a product less {op.zeros}; the tensors' zero points are supported; lower the model"
             " again"]
        )  # fmt: skip
    inputs = [f.source(node, i) for i in (0, 1)]
    f.clamped(node, "MUL", inputs, 2, "MulOptions", op.requant.lo, op.requant.hi)


def _check_ratio(rule: Requant, ratio: float, offset: float, node: Node) -> None:
    """Refuse one set of constants that are not ``ratio * acc + offset`` and the zero point."""
    found = np.ldexp(float(rule.m[0]), rule.p - int(rule.s[0]))
    moved = np.ldexp(float(rule.bias[0]), -rule.p) * found
    if abs(found - ratio) > ratio * 2.0**-14 or abs(moved - offset) > 2.0**-6 or (
        rule.z[0] != node.output.zero
    ):
        raise UnsupportedError([SCALES.format(ratio, found)])


def write_lookup(f: File, node: Node) -> None:
    """A table."""
    assert isinstance(node.op, Lookup)
    write_table(f, node, node.op.table)


def write_requantize(f: File, node: Node) -> None:
    """Another grid per channel, as a table."""
    op = node.op
    assert isinstance(op, Requantize)
    type_ = f.info(node).type
    if f.info(node).wide or node.output.wide:
        raise UnsupportedError(
            ["a change of scale of 16-bit codes with this project's rounding; TFLite's is"
             " supported; import the model with tflite rounding"]
        )  # fmt: skip
    codes = np.arange(type_.lo, type_.hi + 1, dtype=np.int64)[:, None]
    table = op.requant.apply(np.repeat(codes, len(op.requant.m), axis=1)).T
    rows = table[:1] if (table == table[:1]).all() else table
    write_table(f, node, rows)


def write_scaling(f: File, node: Node, lo: int, hi: int) -> None:
    """QUANTIZE, or a RELU where the codes are limited too."""
    output = node.output
    scale, zero = output.scale, output.zero + shift_of(output)
    if (lo, hi) == (output.type.lo, output.type.hi):
        f.op("QUANTIZE", [f.source(node)], f.result(node), 2, "QuantizeOptions")
        return
    for name, number in RELUS.items():
        if (lo, hi) == activation_limits(number, output.type, scale, zero):
            f.op(name, [f.source(node)], f.result(node), 2)
            return
    raise UnsupportedError(
        [f"codes limited to {lo}..{hi}; RELU, RELU_N1_TO_1 and RELU6 are supported; requantise to"
         " 8 bits"]
    )  # fmt: skip


def write_table(f: File, node: Node, table: Int64) -> None:
    """The .tflite function with exactly this table where there is one, else GATHER.

    Args:
        f: the file.
        node: the node of the table.
        table: ``[1 or C, 2^bits]`` graph codes by graph code.
    """
    info, output = f.info(node), node.output
    zero = info.zero + shift_of(info)
    grids = Grids(np.float32(info.scale), np.float32(output.scale), output.zero + shift_of(output))
    first = info.type.lo + shift_of(info) + 128
    size = table.shape[1]
    wanted = table + shift_of(output)
    for name, entries, fields in _functions(grids, zero, wanted[0], first):
        found = np.clip(entries, INT8.lo, INT8.hi)[first : first + size]
        if len(wanted) == 1 and np.array_equal(found, wanted[0]):
            options = {"LEAKY_RELU": "LeakyReluOptions", "QUANTIZE": "QuantizeOptions"}
            version = 1 if name in ("HARD_SWISH", "RELU_N1_TO_1") else 2
            f.op(name, [f.source(node)], f.result(node), version, options.get(name, ""), **fields)
            return
    full = np.zeros((len(wanted), 256), np.int8)
    full[:, first : first + size] = wanted
    shape = [1, *info.shape]
    wide = f.op("CAST", [f.source(node)], f.tensor(f"{node.name}/wide", shape, "int32"), 1,
                "CastOptions", inDataType=f.schema.TensorType.INT8,
                outDataType=f.schema.TensorType.INT32)  # fmt: skip
    start = f.ints(f"{node.name}/start", 128 + 256 * np.arange(len(wanted)))
    index = f.op("ADD", [wide, start], f.tensor(f"{node.name}/index", shape, "int32"), 1,
                 "AddOptions")  # fmt: skip
    stored = f.tensor(f"{node.name}/table", (full.size,), scale=output.scale,
                       zero=output.zero + shift_of(output), data=full)  # fmt: skip
    f.op("GATHER", [stored, index], f.result(node), 2, "GatherOptions", axis=0)


def _functions(
    grids: Grids, zero: int, wanted: Int64, first: int
) -> Iterator[tuple[str, Int64, dict[str, float]]]:
    """(operator, its table from code -128 on, its options) of all functions that may do."""
    x = CODES - zero
    yield "QUANTIZE", regrid(grids, x), {}
    for name, codes in PLAIN.items():
        grid = (float(grids.last), grids.zero)
        ends = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
        if ends.get(name, grid) == grid:
            yield name, codes(grids, x), {}
    lowest = int(x[first])
    if lowest < 0:
        slope = float((wanted[0] - grids.zero) * grids.last / (lowest * grids.first))
        for digits in range(1, 5):
            yield "LEAKY_RELU", leaky(grids, x, round(slope, digits)), {
                "alpha": round(slope, digits)
            }


def write_tflite_softmax(f: File, node: Node) -> None:
    """SOFTMAX; its factor beta is found again from the table."""
    op = node.op
    assert isinstance(op, TfliteSoftmax)
    scale = f.info(node).scale
    guess = 1.0
    if len(op.table) > 1 and op.table[1] > 0:
        guess = float(np.log(op.table[0] / op.table[1]) / scale)
    for beta in (1.0, *(round(guess, digits) for digits in range(1, 7))):
        if beta > 0 and np.array_equal(exp_table(scale, float(np.float32(beta))), op.table):
            _softmax(f, node, beta)
            return
    raise UnsupportedError(
        [f"a softmax whose table does not follow from the scale {scale:.9g}; tables of imported"
         " models are supported; import it with native rounding"]
    )  # fmt: skip


def write_softmax(f: File, node: Node) -> None:
    """SOFTMAX of 8 bits; LiteRT computes its exponential in fixed point."""
    op = node.op
    assert isinstance(op, Softmax)
    usual = Softmax.of(f.info(node))
    if op.out_type != IntType(8, False) or not np.array_equal(op.table, usual.table):
        raise UnsupportedError(
            [f"a softmax of {op.out_type} results or of a table of its own; 8 bits and the"
             " exponential of the input's scale are supported; use 8 bits"]
        )  # fmt: skip
    _softmax(f, node, 1.0)


def _softmax(f: File, node: Node, beta: float) -> None:
    info = replace(node.output, scale=1 / 256)
    f.at[node.name] = f.like(node.name, info)
    f.op("SOFTMAX", [f.source(node)], f.at[node.name], 2, "SoftmaxOptions", beta=beta)


def write_bilinear(f: File, node: Node) -> None:
    """RESIZE_BILINEAR, then QUANTIZE onto another grid; positions have 10 fractional bits."""
    op = node.op
    assert isinstance(op, UpsampleBilinear)
    info, output = f.info(node), node.output
    total = denominators(info.shape, op.size, bool(op.corners))
    ratio = info.scale / output.scale / total
    _check_ratio(op.requant, ratio, -info.zero * info.scale / output.scale, node)
    sizes = f.ints(f"{node.name}/size", op.size)
    inputs, version, options = [f.source(node), sizes], 3, "ResizeBilinearOptions"
    same = (info.scale, info.zero, info.type) == (output.scale, output.zero, output.type)
    fields: dict[str, Any] = {"alignCorners": bool(op.corners), "halfPixelCenters": not op.corners}
    name = "RESIZE_BILINEAR"
    if not same:
        x = f.like(f"{node.name}/resized", info, output.shape)
        f.op(name, inputs, x, version, options, **fields)
        name, inputs, version, options, fields = "QUANTIZE", [x], 2, "QuantizeOptions", {}
    f.clamped(node, name, inputs, version, options, op.requant.lo, op.requant.hi, fused=False,
              **fields)  # fmt: skip


POINTWISE: dict[str, Write] = {
    "add": write_add,
    "lookup": write_lookup,
    "mul": write_mul,
    "requantize": write_requantize,
    "softmax": write_softmax,
    "tflite_add": write_tflite_add,
    "tflite_mul": write_tflite_mul,
    "tflite_softmax": write_tflite_softmax,
    "upsample_bilinear": write_bilinear,
}
"""How each operator is written, by kind."""
