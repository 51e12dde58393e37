# SPDX-License-Identifier: Apache-2.0
"""Kernels for cores without DSP instructions: ARMv6-M (Cortex-M0, M0+) and ARMv7-M (Cortex-M3).

Both pack several products into one 32-bit multiply; `thumb_forms` says how and proves it. The
assembly of each kernel stands beside a C twin that computes from the same packed constants, which
is what other compilers and cores, and the host executor, run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ...hw_models.thumb_choice import goes_by_plane
from ...hw_models.thumb_core import V6M, V7M, Core
from ..ops.base import CPlan, Op, TensorInfo
from ..ops.conv2d import Conv2d
from ..ops.depthwise_conv2d import DepthwiseConv2d
from ..ops.linear import Linear
from .base import KernelFamily, register
from .thumb_conv import plan_conv2d, reading
from .thumb_depthwise import geometry_of, plan_depthwise
from .thumb_forms import grid_of
from .thumb_linear import plan_linear
from .thumb_simple import plan_add, plan_pool


def plan_convolution(
    core: Core, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """A convolution; one whose window is the whole image is a linear layer.

    One that reads a single channel for every output is depthwise, if that takes fewer instructions.
    """
    assert isinstance(op, Conv2d)
    source = inputs[0]
    if op.groups == 1 and op.window.kernel == source.shape[:2] and not any(op.window.pad):
        weights = replace(op.weights, codes=op.weights.rows())
        linear = Linear(weights, op.requant, op.out_type)
        planned = plan_linear(core, linear, [replace(source, shape=(source.size,))], output)
        if planned is not None:
            return planned
    if op.groups == source.shape[2]:
        plane = geometry_of(op.window, source.shape, output.shape)
        _, runs, run = reading(op, source)
        pixels, outputs = output.shape[0] * output.shape[1], output.shape[2] // op.groups
        grid = grid_of(op.weights, source.type)
        if goes_by_plane(core, grid, plane, pixels, op.groups, outputs, runs, run):
            single = DepthwiseConv2d(
                op.weights, op.requant, op.out_type, op.window, op.pad_value
            )
            return plan_depthwise(core, single, inputs, output)
    return plan_conv2d(core, op, inputs, output)


for _core in (V6M, V7M):
    register(
        KernelFamily(
            _core.name,
            f"c/{_core.name}",
            {
                "conv2d": partial(plan_convolution, _core),
                "depthwise_conv2d": partial(plan_depthwise, _core),
                "linear": partial(plan_linear, _core),
                "add": partial(plan_add, _core),
                "maxpool2d": partial(plan_pool, _core),
                "avgpool2d": partial(plan_pool, _core),
            },
            (f"{_core.name}/", "thumb/", "helpers/thumb_"),
        )
    )
