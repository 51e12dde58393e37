# SPDX-License-Identifier: Apache-2.0
"""The kernel family for Armv8.1-M with the vector extension (MVE, Helium): Cortex-M55."""

from __future__ import annotations

from . import mve_conv2d, mve_depthwise, mve_elementwise, mve_linear
from .base import KernelFamily, register

register(
    KernelFamily(
        "mve",
        "c/mve",
        {
            "add": mve_elementwise.plan_add,
            "avgpool2d": mve_elementwise.plan_avgpool,
            "concat": mve_elementwise.plan_concat,
            "conv2d": mve_conv2d.plan,
            "depthwise_conv2d": mve_depthwise.plan,
            "linear": mve_linear.plan,
            "maxpool2d": mve_elementwise.plan_maxpool,
            "requantize": mve_elementwise.plan_requantize,
        },
        ("mve/", "helpers/mve_", "helpers/_mve"),
    )
)
