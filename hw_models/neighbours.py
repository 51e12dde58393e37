# SPDX-License-Identifier: Apache-2.0
"""Prices of work that no measured layer of some widths had, from the nearest widths that had it.

Which loops a layer runs depends on its widths and on its size, so at some widths a few of a kind's
loops occur in none of the measured shapes. They are the same loops at the widths next to them.
"""

from __future__ import annotations

from collections.abc import Sequence

from .table import Row


def with_neighbours(rows: Sequence[Row]) -> list[Row]:
    """Every row with the prices of all features of its kind.

    A feature that a row lacks is priced as in the row of the kind with the nearest widths: the sum
    of the differences of the mean weight and activation bits, the same signs first.

    Args:
        rows: of one table.
    """
    return [_completed(row, [other for other in rows if other.kind == row.kind]) for row in rows]


def _completed(row: Row, kind: Sequence[Row]) -> Row:
    lacking = {name for other in kind for name in other.features} - set(row.features)
    if not lacking:
        return row
    nearest = sorted(kind, key=lambda other: _distance(row, other))
    features = dict(row.features)
    for name in sorted(lacking):
        features[name] = next(o.features[name] for o in nearest if name in o.features)
    return row.model_copy(update={"features": features})


def _distance(row: Row, other: Row) -> tuple[float, bool]:
    bits = zip((row.weight_bits, row.act_bits), (other.weight_bits, other.act_bits), strict=True)
    apart = sum(abs(sum(a) / len(a) - sum(b) / len(b)) for a, b in bits)
    return apart, set(row.act_signed) != set(other.act_signed)
