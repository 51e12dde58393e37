# SPDX-License-Identifier: Apache-2.0
"""Fully connected layers on cores with the DSP extension: four rows by one column.

Product groups need a register more per row, so they take two rows at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...hw_models.dsp_form import Loop, loop_shape
from ..ops.base import CPlan, Helper, Op, TensorInfo
from ..ops.linear import Linear
from ..ops.weighted import WeightedOp
from . import dsp_columns as columns_of
from . import dsp_loops
from . import dsp_packing as dsp


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """Plan of a fully connected layer."""
    assert isinstance(op, Linear)
    return plan_rows(op, inputs, output)


def plan_rows(op: WeightedOp, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of any layer whose every output weighs the whole input in its own order."""
    source = inputs[0]
    scheme = dsp.choose_rows(op, source.type)
    row = source.size
    blocks, left = divmod(row, 4)
    padded = -(-row // 4)
    columns = padded * scheme.words_per_block
    loop = loop_shape(columns, scheme.fields, scheme.packing.rows_word())
    rows = rows_helper(op, scheme, loop, output)
    early = scheme.sums and not scheme.late
    values = {
        "tile": dsp.tag_of(rows),
        "blocks": blocks,
        "left": left,
        "first": int(early),
        "sums_at": 0 if early else columns,
        **columns_of.column_values(op, scheme),
    }
    codes = np.zeros((len(scheme.codes), 4 * padded), np.int64)
    codes[:, :row] = scheme.codes
    arrays = (dsp_loops.stream(op, scheme, codes, rows_at_once(scheme), loop, 4),)
    proofs = (*op.proof(inputs), *dsp.proof(scheme, row, whole_sums=True))
    scratch = 4 * (columns + int(scheme.sums))
    return CPlan("linear", values, arrays, columns_of.helpers(scheme, rows), scratch, proofs)


def rows_at_once(scheme: dsp.Scheme) -> int:
    """Rows of a tile."""
    return 2 if scheme.mode == "products" else 4


def rows_helper(
    op: WeightedOp, scheme: dsp.Scheme, loop: Loop, output: TensorInfo
) -> Helper:
    """The row function; layers that need the same one share it."""
    rows = rows_at_once(scheme)
    values: dict[str, object] = {
        **dsp.unpack_values(scheme),
        **loop.values(),
        "rows": rows,
        "early_bytes": 4 if scheme.sums and not scheme.late else 0,
        "left": output.size % rows,
        "out": output.type.c_name,
        **dsp.requant_values(op.requant, rows),
    }
    return dsp.helper("dsp_rows", f"rows_{scheme.mode}{scheme.bits}", values)
