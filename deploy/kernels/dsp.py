# SPDX-License-Identifier: Apache-2.0
"""The kernel family for ARMv7E-M and ARMv8-M with the DSP extension: Cortex-M4, M7, M33."""

from __future__ import annotations

from . import dsp_add, dsp_conv2d, dsp_depthwise, dsp_linear, dsp_pool, dsp_requantize
from .base import KernelFamily, register

register(
    KernelFamily(
        "dsp",
        "c/dsp",
        {
            "add": dsp_add.plan,
            "conv2d": dsp_conv2d.plan,
            "depthwise_conv2d": dsp_depthwise.plan,
            "linear": dsp_linear.plan,
            "maxpool2d": dsp_pool.plan,
            "avgpool2d": dsp_pool.plan,
            "requantize": dsp_requantize.plan,
        },
        ("dsp/", "helpers/dsp_", "helpers/_dsp"),
    )
)
