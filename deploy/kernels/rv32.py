# SPDX-License-Identifier: Apache-2.0
"""Kernels for RV32IMC in plain C: the forms of the cores without DSP, on more registers.

The planners, packings and proofs are those of `thumb`; what differs is that the code is the
definition itself, with several channels a pass so that loads are shared, a requantisation by the
upper half of a product, and a clamp without branches: what a layer costs does not depend on its
data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ...hw_models.thumb_core import RV32
from ..ops.base import CPlan, Op, TensorInfo
from .base import KernelFamily, Planner, register
from .thumb import plan_convolution
from .thumb_depthwise import plan_depthwise
from .thumb_linear import plan_linear
from .thumb_simple import plan_add, plan_pool

OWN = {
    "thumb_apart": "rv32_apart",
    "thumb_mulhi": "rv32_mulhi",
    "thumb_add": "rv32_add",
    "thumb_plane": "rv32_plane",
    "thumb_planes": "rv32_planes",
    "thumb_spread_lanes": "rv32_spread_lanes",
}
"""Shared functions that have a form of their own here."""


def _own(
    planner: Planner, op: Op, inputs: Sequence[TensorInfo], output: TensorInfo
) -> CPlan | None:
    """The plan with the shared functions of this family."""
    plan = planner(op, inputs, output)
    return None if plan is None else with_own_helpers(plan)


def with_own_helpers(plan: CPlan) -> CPlan:
    """A plan of `thumb` with the functions of this family in place of the assembly."""
    suffix = f"_{RV32.name}"
    helpers = tuple(
        (OWN.get(name, name.removesuffix(suffix).replace("thumb_", "rv32_")
                 if name.endswith(suffix) else name), values)
        for name, values in plan.helpers
    )  # fmt: skip
    # these kernels always add 0x8000 before a split
    proof = tuple(
        line.replace("-32767..32767, carry restores the borrow", "-32768..32767, 0x8000 is added")
        for line in plan.proof
    )
    return replace(plan, helpers=helpers, proof=proof)


def _add(op: Op, inputs: Sequence[TensorInfo], output: TensorInfo) -> CPlan | None:
    """The plan of a sum, with the clamp of this family."""
    plan = plan_add(RV32, op, inputs, output)
    if plan is None:
        return None
    apart, *others = plan.helpers
    return replace(plan, helpers=(apart, ("thumb_mulhi", ()), *others))


register(
    KernelFamily(
        RV32.name,
        f"c/{RV32.name}",
        {
            "conv2d": partial(_own, partial(plan_convolution, RV32)),
            "depthwise_conv2d": partial(_own, partial(plan_depthwise, RV32)),
            "linear": partial(_own, partial(plan_linear, RV32)),
            "add": partial(_own, _add),
            "maxpool2d": partial(_own, partial(plan_pool, RV32)),
            "avgpool2d": partial(_own, partial(plan_pool, RV32)),
        },
        ("rv32/", "thumb/", "helpers/rv32_", "helpers/thumb_"),
    )
)
