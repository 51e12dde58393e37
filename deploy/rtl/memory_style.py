# SPDX-License-Identifier: Apache-2.0
"""Which constants are built from LUTs because the device's block memories are all taken.

The weights that keep block memories are told so: synthesis would build wide memories of few words
from LUTs, which no prediction counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...hw_models import Fabric
from .cost import BLOCK, LOGIC, blocks, design_resources
from .design import Design, Module
from .plan import RtlPlan


def with_fitting_memories(design: Design, fabric: Fabric) -> Design:
    """The design with as many constants in LUTs as it has block memories too many.

    Those with the fewest bits for each block memory go first. Where all of them are not enough, the
    design stays too large, and place and route says so.
    """
    while design_resources(design, fabric).bram > fabric.brams:
        found = min(
            ((bits / count, index, name) for index, module in enumerate(design.modules)
             for name, bits, count in _constants(module.plan, fabric)),
            default=None,
        )  # fmt: skip
        if found is None:
            break
        _, index, name = found
        modules = list(design.modules)
        modules[index] = _in_luts(modules[index], name)
        design = replace(design, modules=tuple(modules))
    return replace(design, modules=tuple(_in_blocks(m, fabric) for m in design.modules))


def _constants(plan: RtlPlan, fabric: Fabric) -> Iterator[tuple[str, int, int]]:
    """(name, bits, block memories) of every constant memory in block memories."""
    v = plan.values
    if v.get("reload"):
        return  # memories that are written
    for rom in plan.roms:
        count = rom.copies * blocks(rom.width, rom.depth, fabric)
        if count and v["rom_style"] != LOGIC:
            yield "rom", rom.bits, count
    r = v.get("rescale")
    if r and r["form"] == "serial":
        for name in ("starts", "turns"):
            table = r[name]
            count = blocks(table.width, table.depth, fabric)
            if count and not r[f"{name}_style"]:
                yield name, table.width * table.depth, count


def _in_blocks(module: Module, fabric: Fabric) -> Module:
    v = module.plan.values
    if v.get("rom_style") != "" or not any(
        blocks(rom.width, rom.depth, fabric) for rom in module.plan.roms if rom.name == "weights"
    ):
        return module
    plan = replace(module.plan, values={**v, "rom_style": BLOCK})
    return replace(module, plan=plan)


def _in_luts(module: Module, name: str) -> Module:
    values = dict(module.plan.values)
    if name == "rom":
        values["rom_style"] = LOGIC
    else:
        values["rescale"] = {**values["rescale"], f"{name}_style": LOGIC}
    return replace(module, plan=replace(module.plan, values=values))
