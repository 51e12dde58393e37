# SPDX-License-Identifier: Apache-2.0
"""Fully connected layers on cores with MVE: eight outputs at a time, then four."""

from __future__ import annotations

from collections.abc import Sequence

from ...hw_models.mve_geometry import steps_of
from ...hw_models.mve_storage import linear_storage
from ..ops.base import CPlan, Op, TensorInfo
from ..ops.weighted import WeightedOp
from . import mve_packing as mve

HEADER = 16
"""Bytes before the column: its sum, the number of outputs."""


def plan(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan:
    """Plan of a fully connected layer, or of a convolution whose window is its whole input."""
    assert isinstance(op, WeightedOp)
    outputs = output.size
    steps = steps_of(inputs[0].size)
    scheme = mve.choose(op, inputs[0].type, lambda counts: linear_storage(steps, counts))
    half = 1 <= outputs % 8 <= 4
    tiles = [8] * (outputs // 8 if half else -(-outputs // 8)) + [4] * half
    values: dict[str, object] = {
        **mve.loop_values(scheme.steps),
        **mve.requant_values(op.requant),
        "depth": scheme.depth,
        "fields": scheme.fields,
        "bits": scheme.bits,
        "factor": scheme.factor,
        "full": outputs > 4,
        "half": half,
        "odd": outputs % 4 != 0,
        "out": output.type.c_name,
    }
    rows = mve.helper("mve_rows", "rows", values)
    append = mve.helper("mve_append", "append", {"flip": scheme.centre})
    return CPlan(
        "linear",
        {
            "rows": mve.tag_of(rows),
            "append": mve.tag_of(append),
            "inputs": inputs[0].size,
            "outputs": outputs,
            "sum_factor": scheme.sum_factor,
        },
        (mve.stream(op, scheme, tiles),),
        (("mve_guard", ()), ("mve_finish", ()), append, rows),
        HEADER + scheme.depth,
        (*op.proof(inputs), *mve.proof(scheme)),
    )
