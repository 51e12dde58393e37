# SPDX-License-Identifier: Apache-2.0
"""Readers of the .tflite operators that `export_tflite` makes of tables and narrow clamps.

CAST to int32, ADD of constants and GATHER from a constant vector together are a table.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ops.extremum import Extremum
from ..ops.lookup import Lookup
from ..requant import Int64
from .tflite import INT8, Builder, Unreadable
from .tflite_elementwise import read_add as read_sum
from .tflite_file import TfOperator

ONLY = "only as indices of a GATHER, CAST to int32 and ADD of constants are supported"


def read_cast(b: Builder, op: TfOperator) -> None:
    """CAST of codes to int32 indices; nothing is computed until the GATHER."""
    if b.tensor(op.outputs[0]).type != "int32":
        raise Unreadable(f"a cast to {b.tensor(op.outputs[0]).type}; {ONLY}")
    b.indices[op.outputs[0]] = (b.source(op), np.zeros(1, np.int64))


def read_add(b: Builder, op: TfOperator) -> None:
    """ADD: of indices and constants here, of codes elsewhere."""
    if op.inputs[0] not in b.indices:
        read_sum(b, op)
        return
    source, start = b.indices[op.inputs[0]]
    data = b.constant(op, 1).data
    channels = source.output.shape[-1]
    if data is None or data.dtype.kind != "i" or data.shape[-1:] not in ((), (1,), (channels,)) or (
        data.size not in (1, channels)
    ):
        raise Unreadable(f"another addend than one, or one per channel; {ONLY}")
    b.indices[op.outputs[0]] = (source, start + data.reshape(-1).astype(np.int64))


def read_gather(b: Builder, op: TfOperator) -> None:
    """GATHER from a constant vector: a table, for all channels or for each."""
    entries = b.constant(op, 0)
    if op.inputs[1] not in b.indices or entries.data is None or entries.data.ndim != 1:
        raise Unreadable(
            "a gather of activations; a constant vector with computed indices is supported; use"
            " SLICE"
        )
    source, start = b.indices[op.inputs[1]]
    type_, _, _ = b.grid(b.tensor(op.outputs[0]))
    codes = np.arange(source.output.type.lo, source.output.type.hi + 1, dtype=np.int64)
    index: Int64 = start[:, None] + codes
    if index.min() < 0 or index.max() >= entries.data.size:
        raise Unreadable(
            f"indices {index.min()}..{index.max()} of {entries.data.size} entries; indices inside"
            " the vector are supported; export the model again"
        )
    table = entries.data.astype(np.int64)[index]
    b.add(op, Lookup(table, type_), (source,))


def read_limit(b: Builder, op: TfOperator) -> None:
    """MINIMUM and MAXIMUM with one constant code, or of two tensors on one scale."""
    if op.inputs[1] in b.at:
        sources = (b.source(op), b.source(op, 1))
        grids = {b.grid(b.tensor(i)) for i in (*op.inputs, *op.outputs)}
        if len(grids) != 1 or sources[0].output.shape != sources[1].output.shape:
            raise Unreadable(
                "inputs of other shapes or scales; equal ones are supported; requantise before it"
            )
        b.add(op, Extremum(int(op.name == "MAXIMUM")), sources)
        return
    source, data = b.source(op), b.constant(op, 1).data
    type_, scale, zero = b.grid(b.tensor(op.outputs[0]))
    same = (source.output.scale, source.output.zero, source.output.type) == (scale, zero, type_)
    if data is None or data.size != 1 or not same or type_ != INT8:
        raise Unreadable(
            "several limits, or another scale behind; one constant on the input's scale is"
            " supported; requantise before it"
        )
    codes = np.arange(type_.lo, type_.hi + 1, dtype=np.int64)
    limit = np.minimum if op.name == "MINIMUM" else np.maximum
    b.add(op, Lookup(limit(codes, int(data.reshape(())))[None], type_), (source,))


TABLES: dict[str, Callable[[Builder, TfOperator], None]] = {
    "ADD": read_add,
    "CAST": read_cast,
    "GATHER": read_gather,
    "MAXIMUM": read_limit,
    "MINIMUM": read_limit,
}
"""How each operator is read, by its name in the schema."""
