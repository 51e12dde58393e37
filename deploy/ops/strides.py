# SPDX-License-Identifier: Apache-2.0
"""Strides of dense row-major tensors, for the operators that only move codes."""

from __future__ import annotations


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Elements from one index to the next, per axis."""
    found, step = [], 1
    for size in reversed(shape):
        found.append(step)
        step *= size
    return tuple(reversed(found))


def as_rank(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """The shape with ones in front."""
    return (*[1] * (rank - len(shape)), *shape)
