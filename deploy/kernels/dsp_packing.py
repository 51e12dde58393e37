# SPDX-License-Identifier: Apache-2.0
"""How the DSP kernels hold weights, columns and constants: the one place that decides layouts.

Three schemes, all on 32-bit words and unsigned activations (a signed code ``a`` is held as
``a - lowest``; the difference goes into the bias):

* bytes: four signed bytes a word, taken apart by SXTB16; columns are pairs of 16-bit values.
* fields: unsigned codes at every ``bits`` of both half-words, one AND with a shifted operand each;
  columns as above. 16 // bits fields a half-word.
* products: unsigned codes at every ``bits`` of every byte, columns are the four activation bytes as
  they are. One SMLAD then makes four products: with half-words ``w0 + 256*w1`` and
  ``x1 + 256*x0`` the middle byte of the sum is ``w0*x0 + w1*x1`` of both half-words. The sum of a
  group must stay below 256, so that neither it nor the bytes beside it carry.

The multiplier of the requantisation is held as ``M = m << (32 - s)``: SMMLAR (Arm DDI 0403E, A7.7)
then computes ``((t*m + 2^(s-1)) >> s) + z`` in one instruction.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from ...hw_models.dsp_column import Column
from ...hw_models.dsp_form import (
    BYTE_MAX,
    HALF_MAX,
    Packing,
    cheapest,
    cheapest_rows,
    group_length,
    masked_sums,
    product_group,
)
from ..ops.base import Helper
from ..ops.weighted import WeightedOp, Weights
from ..requant import Int64, Requant
from ..types import IntType

WORD = 1 << 32


@dataclass(frozen=True, eq=False)
class Scheme:
    """A layer's stored codes and how the kernel takes them apart.

    Attributes:
        mode: "bytes", "fields" or "products".
        bits: distance of two fields.
        fields: column words that one weight word covers.
        group: column words of one product group; 0 in other modes.
        codes: stored codes, int64 ``[outputs, K]``.
        step: a weight is ``step*code + offset``.
        offset: see step; where it is not 0 the kernel needs the sum of every column.
        act: type of the activations.
        shift: left shift of the sum of code products: the layer's p and the step.
        late: whether the sum is shifted after it is complete, not in the columns.
    """

    mode: str
    bits: int
    fields: int
    group: int
    codes: Int64
    step: int
    offset: int
    act: IntType
    shift: int
    late: bool

    @property
    def column_shift(self) -> int:
        """Left shift of the activations in a column."""
        return 0 if self.late else self.shift

    @property
    def sums(self) -> bool:
        """Whether the kernel needs the sum of every column."""
        return self.offset != 0

    @property
    def packing(self) -> Packing:
        """What the kernels' loops follow from."""
        return Packing(self.mode, self.fields, self.group, self.sums)

    @property
    def words_per_block(self) -> int:
        """Column words of four activations."""
        return self.packing.words_per_block


def choose(op: WeightedOp, act: IntType, column: Column) -> Scheme:
    """The scheme that needs the fewest instructions for a convolution.

    Args:
        op: the layer.
        act: type of its input.
        column: what one output pixel reads.
    """
    found = _schemes(op, act, whole_sums=False)
    outputs = op.weights.codes.shape[0] // getattr(op, "groups", 1)
    packings = [scheme.packing for scheme in found]
    masked = masked_sums(act.bits, act.signed)
    return found[cheapest(packings, outputs, column, masked=masked)]


def choose_rows(op: WeightedOp, act: IntType) -> Scheme:
    """The same for a fully connected layer, which keeps sums of product groups in whole words."""
    found = _schemes(op, act, whole_sums=True)
    rows = op.weights.rows().shape
    return found[cheapest_rows([scheme.packing for scheme in found], *rows)]


def _schemes(op: WeightedOp, act: IntType, *, whole_sums: bool) -> list[Scheme]:
    """The schemes that hold for these weights and activations, the densest first.

    whole_sums: sums of product groups are kept in whole words, not in half-words, and groups have
    four accumulations at most.
    """
    weights, p = op.weights, op.requant.p
    codes = weights.rows().astype(np.int64)
    shift = p + weights.step.bit_length() - 1
    late = ((1 << act.bits) - 1) << shift > HALF_MAX
    schemes = [_products(codes, weights, act, shift, whole_sums)]
    if weights.bits <= 5:
        fields = 16 // weights.bits
        schemes.append(Scheme("fields", weights.bits, fields, 0, codes, weights.step,
                              weights.offset, act, shift, late))  # fmt: skip
    schemes.append(_bytes(codes, weights, act, p))
    return [scheme for scheme in schemes if scheme is not None]


def _bytes(codes: Int64, weights: Weights, act: IntType, p: int) -> Scheme:
    top = (1 << act.bits) - 1
    values = weights.values.reshape(codes.shape)
    if values.min() >= -128 and values.max() <= 127:
        return Scheme("bytes", 8, 2, 0, values, 1, 0, act, p, top << p > HALF_MAX)
    shift = p + weights.step.bit_length() - 1
    offset = weights.offset + 128 * weights.step
    return Scheme("bytes", 8, 2, 0, codes - 128, weights.step, offset, act, shift,
                  top << shift > HALF_MAX)  # fmt: skip


def _products(
    codes: Int64, weights: Weights, act: IntType, shift: int, whole_sums: bool
) -> Scheme | None:
    if weights.bits > 6:
        return None
    top = (1 << act.bits) - 1
    fields = 8 // weights.bits
    longest = group_length(int(codes.max()), top)
    if longest < 1:
        return None
    # sums in half-words are shifted by a signed multiplication
    if not whole_sums and (shift > 14 or int(codes.sum(axis=1).max()) * top > HALF_MAX):
        return None
    longest = min(longest, 4) if whole_sums else longest
    group = product_group(weights.bits, longest)
    return Scheme(
        "products", weights.bits, fields, group, codes, weights.step, weights.offset, act, shift,
        True,
    )  # fmt: skip


def proof(scheme: Scheme, row: int, *, whole_sums: bool = False) -> tuple[str, ...]:
    """What bounds the packed sums, as comment lines."""
    top = (1 << scheme.act.bits) - 1
    if scheme.mode != "products":
        return (f"columns hold activations up to {top << scheme.column_shift} <= {HALF_MAX}",)
    code = int(scheme.codes.max())
    worst = scheme.group * 4 * code * top
    total = int(scheme.codes.sum(axis=1).max()) * top
    limit = (1 << 31) - 1 if whole_sums else HALF_MAX
    return (
        f"product groups: {scheme.group} accumulations of 4 products of codes up to {code} and"
        f" activations up to {top}: {worst} <= {BYTE_MAX}",
        f"sum of code products of a whole row of {row}: {total} <= {limit}",
    )


def pack_words(codes: Int64, scheme: Scheme) -> Int64:
    """Weight words ``[outputs, words]`` of codes ``[outputs, K]``, K a multiple of 4."""
    outputs, length = codes.shape
    blocks = codes.reshape(outputs, length // 4, 4)
    columns = length // 4 * scheme.words_per_block
    words = -(-columns // scheme.fields)
    packed = np.zeros((outputs, words), np.int64)
    for column in range(columns):
        word, field = divmod(column, scheme.fields)
        block = blocks[:, column // scheme.words_per_block]
        if scheme.mode == "bytes":
            lanes = [(field, 8 * field), (field + 2, 16 + 8 * field)]
        elif scheme.mode == "fields":
            low = scheme.bits * field
            odd = column % 2
            lanes = [(odd, low), (odd + 2, 16 + low)]
        else:
            low = scheme.bits * field
            lanes = [(1, low), (0, 8 + low), (3, 16 + low), (2, 24 + low)]
        mask = BYTE_MAX
        for k, shift in lanes:
            packed[:, word] |= (block[:, k] & mask) << shift
    return packed


def field_mask(scheme: Scheme) -> int:
    """Mask that keeps the lowest field of every lane."""
    one = (1 << scheme.bits) - 1
    lanes = (0, 8, 16, 24) if scheme.mode == "products" else (0, 16)
    return sum(one << lane for lane in lanes)


def constants(op: WeightedOp, scheme: Scheme) -> tuple[Int64, Int64, Int64]:
    """(bias, M, z) of every output channel as the kernels add and multiply them."""
    rule = op.requant
    total = op.weights.values.reshape(len(rule.bias), -1).sum(axis=1)
    bias = rule.bias + ((scheme.act.lo * total) << rule.p)
    return bias % WORD, (rule.m << (32 - rule.s)) % WORD, rule.z


def same_zero(rule: Requant) -> int | None:
    """The output zero point, or None where channels differ (constant channels)."""
    return int(rule.z[0]) if (rule.z == rule.z[0]).all() else None


def unpack_values(scheme: Scheme) -> dict[str, object]:
    """What a kernel prints about taking words apart."""
    return {
        "mode": scheme.mode,
        "bits": scheme.bits,
        "fields": scheme.fields,
        "group": scheme.group,
        # a lone field in a byte needs no mask
        "mask": field_mask(scheme) if scheme.fields > 1 and scheme.mode != "bytes" else 0,
        "shift": scheme.shift if scheme.late else 0,
        "late": scheme.late,
        "sums": scheme.sums,
    }


def requant_values(rule: Requant, channels: int) -> dict[str, object]:
    """What a kernel of so many channels at a time prints about requantising."""
    zero = same_zero(rule)
    return {
        **clamp_values(rule.lo, rule.hi),
        "zero": zero,
        "constant_words": channels if zero is not None else 2 * channels,
    }


def clamp_values(lo: int, hi: int) -> dict[str, object]:
    """What a kernel prints about clamping: USAT, SSAT, or both ends one after the other."""
    sat, sat_bits, base, top = "", 31, lo, hi - lo
    if lo == 0 and hi & (hi + 1) == 0:
        sat, sat_bits, base, top = "usat", hi.bit_length(), 0, hi
    elif -lo == hi + 1 and hi & (hi + 1) == 0:
        sat, sat_bits, base, top = "ssat", hi.bit_length() + 1, 0, hi
    return {"lo": lo, "hi": hi, "sat": sat, "sat_bits": sat_bits, "base": base, "top": top}


def helper(template: str, stem: str, values: dict[str, object]) -> Helper:
    """A shared C function; equal values give one function, its name says so."""
    mark = zlib.crc32(repr(sorted(values.items())).encode())
    return template, (("v", {**values, "tag": f"{stem}_{mark:08x}"}),)


def tag_of(made: Helper) -> str:
    """Name of a helper's C function after the model's prefix."""
    return str(made[1][0][1]["tag"])
