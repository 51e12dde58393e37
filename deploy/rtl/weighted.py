# SPDX-License-Identifier: Apache-2.0
"""From operators with windows to jobs of the windowed engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..ops.base import TensorInfo, Window
from ..requant import Int64, Requant
from ..types import IntType
from .engine import Job, lanes_out, plan_window
from .plan import Fold, RtlPlan
from .reloadable import grid_range, plan_reloadable, worst_accumulator
from .rescale import THRESHOLD_BITS, plan_rescale
from .unrolled import plan_unrolled

if TYPE_CHECKING:
    from ..ops.weighted import WeightedOp


def image(info: TensorInfo) -> TensorInfo:
    """A vector as an image of one pixel."""
    shape = info.shape if len(info.shape) == 3 else (1, 1, info.size)
    return TensorInfo(shape, info.type, info.scale, info.zero)


def plan_weighted(
    op: WeightedOp, source: TensorInfo, output: TensorInfo, fold: Fold, *, window: Window,
    groups: int, pad: int, lanewise: bool = False,
) -> RtlPlan:
    """A convolution, depthwise convolution or linear layer.

    Args:
        op: the operator with its weights and requantiser.
        source: its input.
        output: its output.
        fold: how much works at once.
        window: geometry; 1x1 for a linear layer.
        groups: channel groups.
        pad: code outside the image.
        lanewise: every lane reads its own channel.
    """
    source, output = image(source), image(output)
    if fold.unrolled:
        return plan_unrolled(
            op, source, output, fold, window=window, pad=pad, lanewise=lanewise
        )
    low, high = op.accumulator(source.type)
    weights = op.weights.values.reshape(output.shape[2], *window.kernel, -1)
    grid = None
    if fold.reload:
        low, high = worst_accumulator(
            op.weights, source.type, output.shape[2], weights[0].size
        )
        grid = (*grid_range(op.weights), op.weights.step == 2)
    multiplied = lanewise and output.shape[2] != source.shape[2]
    job = Job(
        op.kind, "mac", not lanewise, source, output, window, groups, pad, weights,
        (min(0, int(low.min())), max(0, int(high.max()))), 1 if multiplied else fold.pe,
        1 if lanewise else fold.simd, _serial(fold, op.requant, output), op.proof([source]),
        fold.deep, fold.ahead, grid, fold.reload,
    )  # fmt: skip
    if not fold.reload:
        return _plan(job, op.requant, low, high)
    lanes = lanes_out(job)
    rescale, roms = plan_reloadable(
        op.requant, low, high, output.type, lanes, output.shape[2], fold.deep, fold.widths
    )
    return plan_window(job, rescale, lanes, roms)


def plan_pool(
    kind: str, combine: str, source: TensorInfo, output: TensorInfo, window: Window, pad: int,
    fold: Fold, rule: Requant | None, proof: tuple[str, ...] = (),
) -> RtlPlan:
    """A pool; ``combine`` is "max" (no rule) or "sum"."""
    type_ = source.type
    count = window.kernel[0] * window.kernel[1] if combine == "sum" else 1
    low, high = _constant(type_, count)
    job = Job(
        kind, combine, False, source, output, window, 1, pad, None, (int(low[0]), int(high[0])),
        fold.pe, 1, _serial(fold, rule, output), proof, fold.deep, fold.ahead,
    )  # fmt: skip
    return _plan(job, rule, low, high)


def _serial(fold: Fold, rule: Requant | None, output: TensorInfo) -> bool:
    """Whether there is a multiplication that can go bit by bit."""
    if fold.reload or rule is None:
        return False
    return fold.serial and output.type.bits > THRESHOLD_BITS


def _constant(type_: IntType, count: int) -> tuple[Int64, Int64]:
    return np.array([count * type_.lo]), np.array([count * type_.hi])


def _plan(job: Job, rule: Requant | None, low: Int64, high: Int64) -> RtlPlan:
    lanes = lanes_out(job)
    rescale = (
        plan_rescale(rule, low, high, job.output.type, lanes, job.output.shape[2], job.serial,
                     job.deep)
        if rule is not None
        else None
    )
    return plan_window(job, rescale, lanes)
