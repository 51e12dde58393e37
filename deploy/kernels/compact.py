# SPDX-License-Identifier: Apache-2.0
"""Kernels for the settings size and ram: one function for all layers of a kind and width.

A layer is a constant record that its function reads, so a further layer costs the record and a
call, not a loop nest of its own. Three flavours differ in what a core can do; the lean families
beside them never copy a column and so need no scratch memory.
"""

from __future__ import annotations

from functools import partial

from .base import KernelFamily, register
from .compact_layer import Flavour
from .compact_plain import plan_add, plan_pool, plan_requantize
from .compact_weighted import plan_conv, plan_depthwise

FLAVOURS = (
    Flavour("compact", simd=False, values=True),
    Flavour("compact_dsp", simd=True, values=True),
    Flavour("compact_armv6m", simd=False, values=False),
)
TEMPLATES = ("compact/", "helpers/compact_")

for _flavour in FLAVOURS:
    for _lean in (False, True):
        _conv = partial(plan_conv, _flavour, _lean)
        register(
            KernelFamily(
                f"{_flavour.name}_lean" if _lean else _flavour.name,
                "c/compact",
                {
                    "add": plan_add,
                    "avgpool2d": partial(plan_pool, _flavour),
                    "conv2d": _conv,
                    "depthwise_conv2d": partial(plan_depthwise, _flavour),
                    "linear": _conv,
                    "maxpool2d": partial(plan_pool, _flavour),
                    "requantize": partial(plan_requantize, _flavour),
                },
                TEMPLATES,
            )
        )
