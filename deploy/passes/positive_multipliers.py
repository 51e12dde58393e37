# SPDX-License-Identifier: Apache-2.0
"""Makes multipliers positive, so that targets need only the cheaper requantisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Graph, Node
from ..ops.weighted import WeightedOp, Weights
from ..requant import Requant


def positive_multipliers(graph: Graph) -> Graph:
    """Negate weights, bias and multiplier of channels with a negative multiplier.

    Before: ``(t * m) >> s`` with m < 0; after: ``((-t) * (-m)) >> s``. Exact because the product is
    the same integer. A channel keeps its sign where a negated weight has no code, as the -128 of a
    symmetric 8-bit grid, so a layer may keep some negative multipliers.
    """
    return graph.with_nodes(tuple(_positive(node) for node in graph.nodes))


def _positive(node: Node) -> Node:
    op = node.op
    if not isinstance(op, WeightedOp) or not (op.requant.m < 0).any():
        return node
    weights, rule = op.weights, op.requant
    # step*q' + offset = -(step*q + offset)  <=>  q' = -q - 2*offset/step
    if (2 * weights.offset) % weights.step:
        return node
    negated = -weights.codes.astype(np.int64) - 2 * weights.offset // weights.step
    rows = negated.reshape(len(negated), -1)
    fits = (rows.min(axis=1) >= 0) & (rows.max(axis=1) < (1 << weights.bits))
    flip = fits & (rule.m < 0)
    wide = flip.reshape(-1, *[1] * (weights.codes.ndim - 1))
    codes = np.where(wide, negated, weights.codes).astype(np.uint8)
    sign = np.where(flip, -1, 1)
    changed = replace(
        op,
        weights=Weights(codes, weights.bits, weights.step, weights.offset),
        requant=Requant(rule.p, rule.bias * sign, rule.m * sign, rule.s, rule.z, rule.lo, rule.hi),
    )
    return replace(node, op=changed)
