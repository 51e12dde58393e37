# SPDX-License-Identifier: Apache-2.0
"""Real parameters of a prepared network to integer constants: the only place where that happens.

`exact` and ``lower`` both read the result, so the two integer implementations share constants and
nothing else. BatchNorm is never folded into weights: with g = gamma / sqrt(var + eps) its factor
goes into the multiplier and its shift into the bias (Jacob et al., CVPR 2018, section 3.2, without
the fold), and the weights keep the grid they were trained on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..deploy.errors import UnsupportedError
from ..deploy.requant import AddRequant, Requant, snap, snap_add
from ..deploy.types import IntType
from .classes import SOFTMAX_ONE
from .interpolation import bilinear_matrix
from .module import QuantModule
from .operations import out_first
from .pointwise import evaluate
from .records import GRID_KINDS, Record

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Constants:
    """Integer constants of one record.

    Attributes:
        type: type of the output codes.
        scale: real size of one output code (float64 of the trained float32 number).
        requant: rule of weighted records, average pools and affine records.
        add: rule of additions.
        codes: unsigned weight codes, int64, PyTorch layout (O, I/groups, KH, KW) or (O, I).
        weight_bits: width of a code.
        step: a weight means ``step*code + offset``.
        offset: see ``step``.
        table: output codes of a pointwise function, ``[1 or C, 2^bits]``; exponentials of a
            softmax, ``[1, 2^bits]``, by difference to the largest code.
        matrices: whole-number weights of a bilinear upsampling, rows ``[OH, H]`` and columns.
    """

    type: IntType
    scale: float
    requant: Requant | None = None
    add: AddRequant | None = None
    codes: Int64 | None = None
    weight_bits: int = 0
    step: int = 1
    offset: int = 0
    table: Int64 | None = None
    matrices: tuple[Int64, Int64] | None = None


def snap_network(module: QuantModule) -> dict[str, Constants]:
    """Constants of every record, by name.

    Raises:
        UnsupportedError: scales that the integer rule cannot express, all of them at once.
    """
    constants: dict[str, Constants] = {}
    problems: list[str] = []
    for record in module.network.records:
        try:
            constants[record.name] = _constants(module, record, constants)
        except UnsupportedError as error:
            problems += error.problems
            constants[record.name] = _grid(module, record)
    if problems:
        raise UnsupportedError(problems)
    return constants


def _grid(module: QuantModule, record: Record) -> Constants:
    quantizer = module.act_quantizer(record.name)
    scale = float(quantizer.scale().detach())
    return Constants(IntType(quantizer.width.bits, quantizer.signed), scale)


def _constants(module: QuantModule, record: Record, done: dict[str, Constants]) -> Constants:
    grid = _grid(module, record)
    if record.kind not in GRID_KINDS or record.kind == "input":
        return grid
    lo, hi = module.act_quantizer(record.name).limits(record.clamp)
    inputs = [done[name] for name in record.inputs]
    if record.kind == "add":
        add_rule = snap_add(
            [s * i.scale / grid.scale for s, i in zip(record.attrs["signs"], inputs, strict=True)],
            [(i.type.lo, i.type.hi) for i in inputs],
            input_zeros=[0] * len(inputs),
            zero=0,
            lo=lo,
            hi=hi,
            name=record.source,
        )
        return Constants(grid.type, grid.scale, add=add_rule)
    source = inputs[0]
    if record.kind == "pointwise":
        return replace(grid, table=_table(module, record, source, grid, lo, hi))
    if record.kind == "softmax":
        steps = np.arange(1 << source.type.bits)
        table = np.floor(SOFTMAX_ONE * np.exp(-steps * source.scale) + 0.5)
        return replace(grid, table=table.astype(np.int64)[None])
    if record.kind == "argmax":
        return grid
    if record.kind == "mul":
        products = [a * b for a in (source.type.lo, source.type.hi)
                    for b in (inputs[1].type.lo, inputs[1].type.hi)]  # fmt: skip
        unit = source.scale * inputs[1].scale / grid.scale
        rule = _single(unit, min(products), max(products), lo, hi, record.source)
        return replace(grid, requant=rule)
    if record.kind == "upsample_bilinear":
        before = module.records[record.inputs[0]].shape
        rows, columns = (
            bilinear_matrix(before[1 + axis], record.attrs["size"][axis], record.attrs["corners"])
            for axis in (0, 1)
        )
        parts = int(rows[0].sum() * columns[0].sum())
        rule = _single(
            source.scale / (parts * grid.scale), source.type.lo * parts, source.type.hi * parts,
            lo, hi, record.source,
        )  # fmt: skip
        return replace(grid, requant=rule, matrices=(rows, columns))
    if record.kind == "avgpool2d":
        count = int(np.prod(record.attrs["kernel"]))
        unit = source.scale / (record.attrs["divisor"] * grid.scale)
        rule = _single(
            unit, count * source.type.lo, count * source.type.hi, lo, hi, record.source
        )
        return replace(grid, requant=rule)
    factor, shift = _batch_norm(module, record)
    if record.kind == "affine":
        low, high = (np.full(record.channels, end) for end in (source.type.lo, source.type.hi))
        requant = snap(
            source.scale * factor / grid.scale,
            shift / grid.scale,
            low,
            high,
            zero=0,
            lo=lo,
            hi=hi,
            name=record.source,
        )
        return Constants(grid.type, grid.scale, requant)
    assert record.weight is not None
    quantizer = module.weight_quantizer(record)
    codes = quantizer.codes(out_first(record, module.tensor(record.weight))).cpu().numpy()
    step, offset = quantizer.grid
    steps = quantizer.scale().detach().double().cpu().numpy()
    values = (step * codes + offset).reshape(len(codes), -1)
    ends = np.stack([values * source.type.lo, values * source.type.hi])
    requant = snap(
        steps * source.scale * factor / grid.scale,
        shift / grid.scale,
        ends.min(axis=0).sum(axis=1),
        ends.max(axis=0).sum(axis=1),
        zero=0,
        lo=lo,
        hi=hi,
        name=record.source,
    )
    return Constants(
        grid.type, grid.scale, requant, None, codes, quantizer.width.bits, step, offset
    )


def _single(ratio: float, low: int, high: int, lo: int, hi: int, name: str) -> Requant:
    """A rule with one set of constants and no offset."""
    return snap(np.array([ratio]), np.zeros(1), np.array([low]), np.array([high]), zero=0, lo=lo,
                hi=hi, name=name)  # fmt: skip


def _table(
    module: QuantModule, record: Record, source: Constants, grid: Constants, lo: int, hi: int
) -> Int64:
    """Output code of every input code: clamp(floor(f(code * scale) / scale' + 0.5))."""
    codes = torch.arange(source.type.lo, source.type.hi + 1, dtype=torch.float64)
    path = record.attrs.get("slopes")
    slopes = None if path is None else module.tensor(path).detach().cpu()
    several = any(isinstance(v, tuple) and len(v) > 1 for v in record.attrs.values())
    rows = record.channels if several or slopes is not None else 1
    real = evaluate(record.attrs, (codes * source.scale).expand(rows, -1).T, slopes).T
    table = torch.floor(real / grid.scale + 0.5).clamp(lo, hi)
    return np.ascontiguousarray(table.numpy().astype(np.int64))


def _batch_norm(module: QuantModule, record: Record) -> tuple[Float64, Float64]:
    """(factor, shift) per channel, float64, of bias and BatchNorm together."""

    def read(path: str | None, default: float) -> Float64:
        if path is None:
            return np.full(record.channels, default)
        return np.asarray(_double(module.tensor(path)), np.float64)

    bias = read(record.bias, 0.0)
    bn = record.bn
    if bn is None:
        return np.ones(record.channels), bias
    factor = read(bn.weight, 1.0) / np.sqrt(read(bn.var, 1.0) + bn.eps)
    return factor, (bias - read(bn.mean, 0.0)) * factor + read(bn.bias, 0.0)


def _double(tensor: Tensor) -> Float64:
    values: Float64 = tensor.detach().to(torch.float64).cpu().numpy()
    return values
