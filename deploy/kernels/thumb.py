# SPDX-License-Identifier: Apache-2.0
"""Kernels for cores without DSP instructions: ARMv6-M (Cortex-M0, M0+) and ARMv7-M (Cortex-M3).

Both pack several products into one 32-bit multiply; `thumb_forms` says how and proves it. The
assembly of each kernel stands beside a C twin that computes from the same packed constants, which
is what other compilers and cores, and the host executor, run.
"""

from __future__ import annotations

from functools import partial

from .base import KernelFamily, register
from .thumb_conv import plan_conv2d
from .thumb_depthwise import plan_depthwise
from .thumb_forms import V6M, V7M
from .thumb_linear import plan_linear

for _core in (V6M, V7M):
    register(
        KernelFamily(
            _core.name,
            f"c/{_core.name}",
            {
                "conv2d": partial(plan_conv2d, _core),
                "depthwise_conv2d": partial(plan_depthwise, _core),
                "linear": partial(plan_linear, _core),
            },
            (f"{_core.name}/", "thumb/", "helpers/thumb_"),
        )
    )
