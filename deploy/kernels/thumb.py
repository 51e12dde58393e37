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

from ..ops.base import CPlan, Op, TensorInfo
from ..ops.conv2d import Conv2d
from ..ops.linear import Linear
from .base import KernelFamily, register
from .thumb_conv import plan_conv2d
from .thumb_depthwise import plan_depthwise
from .thumb_forms import V6M, V7M, Core
from .thumb_linear import plan_linear


def _conv2d(
    core: Core, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """A convolution; one whose window is the whole image is a linear layer."""
    assert isinstance(op, Conv2d)
    source = inputs[0]
    if op.groups == 1 and op.window.kernel == source.shape[:2] and not any(op.window.pad):
        weights = replace(op.weights, codes=op.weights.rows())
        linear = Linear(weights, op.requant, op.out_type)
        planned = plan_linear(core, linear, [replace(source, shape=(source.size,))], output)
        if planned is not None:
            return planned
    return plan_conv2d(core, op, inputs, output)


for _core in (V6M, V7M):
    register(
        KernelFamily(
            _core.name,
            f"c/{_core.name}",
            {
                "conv2d": partial(_conv2d, _core),
                "depthwise_conv2d": partial(plan_depthwise, _core),
                "linear": partial(plan_linear, _core),
            },
            (f"{_core.name}/", "thumb/", "helpers/thumb_"),
        )
    )
