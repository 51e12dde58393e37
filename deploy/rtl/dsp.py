# SPDX-License-Identifier: Apache-2.0
"""Which products go to DSP slices, layer by layer, and how synthesis is told.

Slices go where one saves most LUTs, until the device has no more. A product that is not chosen is
turned into LUTs before the family's own synthesis can find a slice for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...hw_models import Fabric
from .design import Design, Module
from .plan import RtlPlan

LANES, RESCALE, SUMS = "lanes", "rescale", "sums"
"""Products of a layer, of its requantiser, of a sum of tensors."""


@dataclass(frozen=True)
class Product:
    """Equal products of one module.

    Attributes:
        kind: `LANES`, `RESCALE` or `SUMS`.
        slices: DSP slices of all of them.
        bits: products of operand bits of all of them, which LUTs are about proportional to.
        wide: whether synthesis would use a slice for them at all.
    """

    kind: str
    slices: int
    bits: int
    wide: bool


def products(plan: RtlPlan, fabric: Fabric) -> Iterator[Product]:
    """All products of a module, by kind."""
    v = plan.values
    if v.get("combine") == "mac":
        yield _product(LANES, fabric, [(v["pe"] * v["simd"], v["act_bits"], v["weight_bits"])])
    r = v.get("rescale")
    if r and r["form"] == "multiplier":
        yield _product(RESCALE, fabric, [(r["lanes"], r["acc_bits"], r["m_bits"])])
    if v.get("form") == "parallel":
        yield _product(
            SUMS, fabric,
            [(v["lanes"], x, m) for x, m in zip(v["in_bits"], v["m_bits"], strict=True)],
        )  # fmt: skip


def _product(kind: str, fabric: Fabric, sizes: list[tuple[int, int, int]]) -> Product:
    width = fabric.dsp_width
    slices = sum(n * -(-(a - 1) // (width - 1)) * -(-(b - 1) // (width - 1)) for n, a, b in sizes)
    wide = all(a + b >= fabric.dsp_bits and min(a, b) >= 3 for _, a, b in sizes)
    return Product(kind, slices, sum(n * a * b for n, a, b in sizes), wide)


def chosen(plan: RtlPlan, kind: str) -> bool:
    """Whether products of this kind go to slices."""
    v: Mapping[str, Any] = plan.values
    return kind in v.get("dsp", ())


def slices(plan: RtlPlan, fabric: Fabric) -> int:
    """DSP slices of a module."""
    return sum(p.slices for p in products(plan, fabric) if chosen(plan, p.kind))


def with_dsps(design: Design, fabric: Fabric) -> Design:
    """The design with its products given to DSP slices, those that save most per slice first."""
    if not fabric.dsp_synthesis:
        return design
    found = sorted(
        (
            (p.bits / p.slices, -index, p)
            for index, module in enumerate(design.modules)
            for p in products(module.plan, fabric)
            if p.wide
        ),
        key=lambda entry: entry[:2],
        reverse=True,
    )
    left = fabric.dsps
    modules = list(design.modules)
    for _, at, product in found:
        if product.slices <= left:
            left -= product.slices
            modules[-at] = _given(modules[-at], product.kind)
    return replace(design, modules=tuple(modules))


def _given(module: Module, kind: str) -> Module:
    values = dict(module.plan.values)
    values["dsp"] = (*values.get("dsp", ()), kind)
    return replace(module, plan=replace(module.plan, values=values))


def uses_slices(design: Design) -> bool:
    """Whether any product of a design goes to DSP slices."""
    return any(module.plan.values.get("dsp") for module in design.modules)


def steering(design: Design, top: str) -> list[str]:
    """Yosys commands, after all was read, that turn products not chosen into LUTs.

    ``top`` is the design's own top module or one around it. Empty where nothing is chosen: then the
    family's synthesis keeps off slices by itself. Products of a layer's lanes that stay in LUTs
    are adders already (`verilog/product.v.j2`).
    """
    if not uses_slices(design):
        return []
    kept = []
    for module in design.modules:
        v = module.plan.values
        if module.plan.template == "mul":
            kept.append(f"{module.ident}/t:$mul")
        if v.get("form") == "parallel" and not chosen(module.plan, SUMS):
            kept.append(f"{module.ident}/t:$mul")
        r = v.get("rescale")
        if r and r["form"] == "multiplier" and not chosen(module.plan, RESCALE):
            kept.append(f"{module.ident}_rescale/t:$mul")
    if not kept:
        return []
    return [
        f"hierarchy -check -top {top}", "proc", f"select -set in_luts {' '.join(kept)}",
        "alumacc @in_luts", "maccmap",
    ]  # fmt: skip
