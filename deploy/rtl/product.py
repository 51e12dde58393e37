# SPDX-License-Identifier: Apache-2.0
"""The plan of a product of two tensors; the second may be smaller and is then given repeatedly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..ops.base import TensorInfo
from .elementwise import dividing, pixels, port, queue, store_of
from .movement import repeated
from .plan import Fold, MapTiming, Port, RtlPlan, signed_bits
from .rescale import plan_rescale

if TYPE_CHECKING:
    from ..ops.mul import Mul


def plan_mul(
    op: Mul, inputs: Sequence[TensorInfo], output: TensorInfo, fold: Fold,
    product: tuple[int, int], proof: tuple[str, ...],
) -> RtlPlan:
    """Codes less their zero points, their product, the requantisation rule.

    Args:
        op: the operator.
        inputs: both tensors.
        output: the result.
        fold: lanes.
        product: lowest and highest product.
        proof: lines about bounds.
    """
    channels = output.shape[-1]
    lanes = dividing(fold.pe, channels)
    second = _second(inputs[0], inputs[1], lanes)
    # one set of constants serves every channel
    rescale = plan_rescale(
        op.requant, np.array([product[0]]), np.array([product[1]]), output.type, lanes, lanes,
        deep=fold.deep,
    )
    latency = 1 + rescale.latency
    depth = queue(latency)
    bits = [
        max(signed_bits(info.type.lo - zero, info.type.hi - zero), info.type.bits + 1)
        for info, zero in zip(inputs, op.zeros, strict=True)
    ]
    values = {
        "lanes": lanes, "shared": second.lanes < lanes, "zeros": list(op.zeros),
        "signed": [info.type.signed for info in inputs],
        "in_bits": [info.type.bits for info in inputs], "wide": bits,
        "rescale": rescale.values, "depth": depth, "store": store_of(depth),
        "out_bits": output.type.bits,
    }  # fmt: skip
    target = port(output, lanes)
    timing = MapTiming(((0, 1),), target.beats, 1, latency, depth)
    return RtlPlan("mul", values, (port(inputs[0], lanes), second), target, timing, (), proof)


def _second(first: TensorInfo, second: TensorInfo, lanes: int) -> Port:
    """The stream of the second tensor, a beat for every beat of the first."""
    channels = first.shape[-1]
    if second.shape == first.shape:
        return port(second, lanes)
    if second.size == 1:
        return repeated(second, 1, 1, pixels(first) * channels // lanes)
    if second.shape[-1] == channels and channels > 1:
        return repeated(second, lanes, channels // lanes, pixels(first))
    return repeated(second, 1, 1, channels // lanes)
